"""What a notebook shows of a result or a suggestion in the last line of a cell."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from contextlib import suppress
from html import escape

from lrfinder._errors import NoSuggestionError
from lrfinder._result import RangeTestResult
from lrfinder.suggestion import METHODS, Suggestion, diagnose

_SIZE = (6.4, 4.0)  # inches, of which a browser shows 96 pixels each
_PIXELS_PER_INCH = 144  # sharp on screens that have more than one pixel for each of those

Row = Sequence[str]


def result_html(result: RangeTestResult) -> str:
    """Return the picture of a result over a table of what each rule reads off it."""
    rates = _table([("rule", "learning rate", "why"), *_rates(result)])
    return f"<div>{_picture(result)}{_facts(result)}{rates}</div>"


def suggestion_html(suggestion: Suggestion) -> str:
    """Return a table of the rate, its reason and its bounds."""
    rows = [
        ("learning rate", f"{suggestion.lr:.2e}"),
        ("rule", suggestion.method),
        ("why", suggestion.why),
        ("bounds", f"{suggestion.min_lr:.2e} to {suggestion.max_lr:.2e}"),
    ]
    low, high = suggestion.interval or (suggestion.lr, suggestion.lr)
    if low < high:
        rows.append(("interval", f"{low:.2e} to {high:.2e}"))
    if len(suggestion.lrs) > 1:
        rows.append(("groups", ", ".join(f"{lr:.2e}" for lr in suggestion.lrs)))
    if suggestion.confidence is not None:
        rows.append(("confidence", suggestion.confidence.value))
    rows += [("note", str(finding)) for finding in suggestion.findings]
    return _table(rows)


def _facts(result: RangeTestResult) -> str:
    """Return why the sweep ended, how sure its suggestion is, and what there is to know."""
    facts = [f"{len(result)} steps. {result.stop_reason.sentence}"]
    with suppress(NoSuggestionError):
        confidence = result.suggest().confidence
        facts += [] if confidence is None else [f"Confidence: {confidence.value}."]
    facts += [str(finding) for finding in diagnose(result)]
    return f"<p>{'<br>'.join(map(escape, facts))}</p>"


def _rates(result: RangeTestResult) -> list[Row]:
    """Return what each rule says; those that say the same share a row."""
    methods: dict[tuple[str, str], list[str]] = {}
    for method in METHODS:
        methods.setdefault(_answer(result, method), []).append(method)
    return [(", ".join(names), *answer) for answer, names in methods.items()]


def _answer(result: RangeTestResult, method: str) -> tuple[str, str]:
    try:
        suggestion = result.suggest(method)
    except NoSuggestionError as error:
        return "none", str(error)
    return f"{suggestion.lr:.2e}", suggestion.why


def _picture(result: RangeTestResult) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=_SIZE, layout="constrained")
    result.plot(ax=figure.subplots())
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=_PIXELS_PER_INCH)
    data = base64.b64encode(png.getvalue()).decode("ascii")
    style = f"width:{96 * _SIZE[0]:.0f}px;max-width:100%"
    image = f"data:image/png;base64,{data}"
    return f'<img alt="loss against learning rate" style="{style}" src="{image}">'


def _table(rows: Sequence[Row]) -> str:
    """Return a table whose first column names its rows."""
    return f"<table>{''.join(map(_row, rows))}</table>"


def _row(cells: Row) -> str:
    name, *rest = (escape(cell) for cell in cells)
    left = 'style="text-align:left"'  # notebooks put numbers to the right
    return f"<tr><th {left}>{name}</th>{''.join(f'<td {left}>{cell}</td>' for cell in rest)}</tr>"

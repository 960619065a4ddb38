"""What a notebook shows of a result or a suggestion in the last line of a cell."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping
from html import escape

from lrfinder._errors import NoSuggestionError
from lrfinder._result import RangeTestResult
from lrfinder.suggestion import METHODS, Suggestion

_WIDTH, _HEIGHT = 6.4, 4.0  # inches, of which a browser shows 96 pixels each
_PIXELS_PER_INCH = 192  # sharp on screens with two pixels for one


def result_html(result: RangeTestResult) -> str:
    """Return the picture of a result over a table of what each rule reads off it."""
    facts = {f"{len(result)} steps": result.stop_reason.sentence}
    return f"<div>{_picture(result)}{_table(_rates(result) | facts)}</div>"


def suggestion_html(suggestion: Suggestion) -> str:
    """Return a table of the rate, its reason and its bounds."""
    rows = {
        "learning rate": f"{suggestion.lr:.2e}",
        "rule": suggestion.method,
        "why": suggestion.why,
        "bounds": f"{suggestion.min_lr:.2e} to {suggestion.max_lr:.2e}",
    }
    if len(suggestion.lrs) > 1:
        rows["groups"] = ", ".join(f"{lr:.2e}" for lr in suggestion.lrs)
    return _table(rows)


def _rates(result: RangeTestResult) -> dict[str, str]:
    """Return what each rule says; one row if all refuse for the same reason."""
    answers = {method: _answer(result, method) for method in METHODS}
    if len(set(answers.values())) == 1 and len(answers) > 1:
        return {"every rule": next(iter(answers.values()))}
    return answers


def _answer(result: RangeTestResult, method: str) -> str:
    try:
        suggestion = result.suggest(method)
    except NoSuggestionError as error:
        return f"none: {error}"
    return f"{suggestion.lr:.2e}, {suggestion.why}"


def _picture(result: RangeTestResult) -> str:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(_WIDTH, _HEIGHT), layout="constrained")
    result.plot(ax=figure.subplots())
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=_PIXELS_PER_INCH)
    data = base64.b64encode(png.getvalue()).decode("ascii")
    return (
        f'<img alt="loss against learning rate" width="{96 * _WIDTH:.0f}" '
        f'src="data:image/png;base64,{data}">'
    )


def _table(rows: Mapping[str, str]) -> str:
    cells = "".join(
        f'<tr><th style="text-align:left">{escape(name)}</th>'
        f'<td style="text-align:left">{escape(text)}</td></tr>'
        for name, text in rows.items()
    )
    return f"<table>{cells}</table>"

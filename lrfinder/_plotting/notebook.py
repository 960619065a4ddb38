"""What a notebook shows of a result in the last line of a cell."""

from __future__ import annotations

import base64
import io
from html import escape
from typing import TYPE_CHECKING

from lrfinder._errors import NoSuggestionError
from lrfinder._plotting.curves import Picture, figure_of
from lrfinder.suggestion import METHODS, Descent, Suggestion
from lrfinder.suggestion._diagnosis import diagnose
from lrfinder.suggestion._suggest import suggest
from lrfinder.suggestion._suggestion import html_table

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_PIXELS_PER_INCH = 144  # sharp on screens with more than the usual 96


def result_html(picture: Picture) -> str:
    """Return the picture of a range test over a table of what each rule reads off it."""
    descent = picture.validation or picture.training
    table = html_table([("rule", "learning rate", "why"), *_answers(descent)])
    return f"<div>{figure_html(figure_of(picture))}{_facts(picture, descent)}{table}</div>"


def _facts(picture: Picture, descent: Descent) -> str:
    """Return why the sweep ended, how sure its suggestion is, and what there is to know."""
    curve, suggestion = picture.curve, picture.suggestion
    facts = [f"{curve.steps} steps. {curve.stop_reason.sentence}"]
    if isinstance(suggestion, Suggestion) and suggestion.confidence is not None:
        facts.append(f"Confidence: {suggestion.confidence.value}.")
    facts += [str(finding) for finding in diagnose(descent)]
    return f"<p>{'<br>'.join(map(escape, facts))}</p>"


def _answers(descent: Descent) -> list[tuple[str, str, str]]:
    """Return what each rule says; those that say the same share a row."""
    methods: dict[tuple[str, str], list[str]] = {}
    for method in METHODS:
        methods.setdefault(_answer(descent, method), []).append(method)
    return [(", ".join(names), *answer) for answer, names in methods.items()]


def _answer(descent: Descent, method: str) -> tuple[str, str]:
    try:
        suggestion = suggest(descent, method)
    except NoSuggestionError as error:
        return "none", str(error)
    return f"{suggestion.lr:.2e}", suggestion.why


def figure_html(figure: Figure) -> str:
    """Return a figure as an HTML image."""
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=_PIXELS_PER_INCH)
    data = base64.b64encode(png.getvalue()).decode("ascii")
    style = f"width:{96 * figure.get_figwidth():.0f}px;max-width:100%"
    image = f"data:image/png;base64,{data}"
    return f'<img alt="loss against learning rate" style="{style}" src="{image}">'

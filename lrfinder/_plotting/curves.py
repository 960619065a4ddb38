"""The picture of one or several range tests; matplotlib is imported late, nothing is ever shown."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from lrfinder._errors import InvalidInputError, NoSuggestionError
from lrfinder._plotting import marks
from lrfinder._plotting.lines import Line, line_of, visible_rates, y_limits
from lrfinder._sweep.checks import is_number, whole_number
from lrfinder._sweep.stopping import StopReason
from lrfinder.suggestion import Curve, Descent, Suggestion

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

# Inches, of which a browser shows 96 pixels each.
SIZE = (6.4, 4.0)


@dataclass(frozen=True)
class Picture:
    """What is drawn of one range test.

    Attributes:
        training: the analysed training loss.
        validation: the analysed validation loss; None where there is none.
        suggestion: the rate to mark, or the reason why there is none.
        maximized: the optimizer maximizes, and what is drawn is minus the loss.
    """

    training: Descent
    validation: Descent | None
    suggestion: Suggestion | NoSuggestionError
    maximized: bool = False

    @property
    def curve(self) -> Curve:
        """The training loss of every step."""
        return self.training.curve


def draw_pictures(
    pictures: Mapping[str, Picture],
    skip_start: int = 0,
    skip_end: int = 0,
    *,
    log_lr: bool | None = None,
    show_lr: Suggestion | float | None = None,
    ax: Axes | None = None,
    with_labels: bool = False,
) -> Axes:
    """Draw one range test in full, or several with a label each; see `lrfinder.plot`."""
    if not pictures:
        raise InvalidInputError("expected at least one result to draw, got an empty mapping")
    skip_start = whole_number("skip_start", skip_start, at_least=0)
    skip_end = whole_number("skip_end", skip_end, at_least=0)
    if isinstance(show_lr, Suggestion):
        show_lr = show_lr.lr
    if show_lr is not None and not (is_number(show_lr) and 0 < show_lr < math.inf):
        raise InvalidInputError(f"show_lr must be positive and finite, got {show_lr!r}")
    lines = {label: _lines(each, skip_start, skip_end) for label, each in pictures.items()}
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.subplots(layout="constrained")[1]
    _scale(ax, list(pictures.values()), [line for each in lines.values() for line in each], log_lr)
    reason = ""
    if with_labels:
        for label, colour in zip(pictures, cycle(marks.COLOURS), strict=False):
            _draw_labelled(ax, label, pictures[label], lines[label], colour)
    else:
        (label,) = pictures
        reason = _draw_single(ax, pictures[label], lines[label])
    if show_lr is not None:
        label = f"lr = {show_lr:.2e}"
        ax.axvline(show_lr, color=marks.GREY, linestyle="--", linewidth=1.2, label=label)
    curves = [picture.curve for picture in pictures.values()]
    differ = any(not np.array_equal(lr, curve.lr) for curve in curves for lr in curve.group_lrs)
    xlabel = "learning rate of the largest swept group" if differ else "learning rate"
    maximized = all(picture.maximized for picture in pictures.values())
    marks.describe(ax, xlabel, "minus the loss" if maximized else "loss", reason)
    return ax


def figure_of(picture: Picture) -> Figure:
    """Return a figure of a range test that pyplot does not know of."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    draw_pictures({"": picture}, ax=figure.subplots())
    return figure


def _lines(picture: Picture, skip_start: int, skip_end: int) -> list[Line]:
    """Return the lines of a picture; a rule reads the last of them."""
    seen = visible_rates(picture.curve, skip_start, skip_end)
    curves = [picture.training, *([picture.validation] if picture.validation else [])]
    return [line_of(curve, *seen) for curve in curves]


def _draw_single(ax: Axes, picture: Picture, lines: list[Line]) -> str:
    """Draw one range test in full; return why there is no suggestion, if there is none."""
    sweeps = len(picture.curve.repeats)
    label = "training loss" if sweeps < 2 else f"training loss, mean and range of {sweeps} sweeps"
    marks.draw_line(ax, lines[0], label, marks.BLUE)
    if picture.validation is not None:
        marks.draw_line(ax, lines[1], "validation loss", marks.VERMILLION, "--")
    if _shows_stop(picture, lines[0]):
        reason = picture.curve.stop_reason.value
        label = f"stopped at {picture.curve.lr[-1]:.1e}: {reason}"
        marks.draw_stop(ax, lines[0], marks.BLUE, label)
    suggestion = picture.suggestion
    if isinstance(suggestion, NoSuggestionError):
        return f"no suggestion: {suggestion}"
    marks.draw_span(ax, "bounds", suggestion.min_lr, suggestion.max_lr)
    label = f"suggestion ({suggestion.method})"
    marks.draw_suggestion(ax, lines[-1], suggestion.lr, marks.GREEN, label)
    marks.write_value(ax, lines[-1], suggestion.lr, marks.GREEN)
    return ""


def _draw_labelled(ax: Axes, label: str, picture: Picture, lines: list[Line], colour: str) -> None:
    """Draw one of several range tests in a colour of its own, its suggestion in the legend."""
    suggestion = picture.suggestion
    value = f"{suggestion.lr:.2e}" if isinstance(suggestion, Suggestion) else "no suggestion"
    marks.draw_line(ax, lines[0], f"{label}: {value}", colour)
    if picture.validation is not None:
        marks.draw_line(ax, lines[1], f"{label}, validation", colour, "--")
    if _shows_stop(picture, lines[0]):
        marks.draw_stop(ax, lines[0], colour)
    if isinstance(suggestion, Suggestion):
        marks.draw_suggestion(ax, lines[-1], suggestion.lr, colour)


def _shows_stop(picture: Picture, line: Line) -> bool:
    """Return whether the sweep ended before its last rate, within the picture."""
    seen = len(line.lr) > 0 and line.lr[-1] == picture.curve.lr[-1]
    return bool(seen) and picture.curve.stop_reason is not StopReason.COMPLETED


def _scale(ax: Axes, pictures: list[Picture], lines: list[Line], log_lr: bool | None) -> None:
    if log_lr is None:
        log_lr = all(picture.curve.step_mode == "exp" for picture in pictures)
    ax.set_xscale("log" if log_lr else "linear")
    if log_lr:
        marks.label_decades(ax, [lr for line in lines for lr in line.lr])
    limits = y_limits(lines)
    if limits is None:
        return
    if ax.has_data():  # what is on the axes already stays in sight
        bottom, top = ax.get_ylim()
        limits = min(limits[0], bottom), max(limits[1], top)
    ax.set_ylim(limits)

"""The picture of one or several range tests; matplotlib is imported late, nothing is ever shown."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Mapping
from itertools import cycle
from typing import TYPE_CHECKING

from lrfinder._errors import InvalidInputError, NoSuggestionError
from lrfinder._plotting import marks
from lrfinder._plotting.lines import Line, training_line, validation_line, y_limits
from lrfinder._result import RangeTestResult
from lrfinder._sweep.checks import check_count
from lrfinder._sweep.stopping import StopReason

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from lrfinder.suggestion import Suggestion


def plot(
    results: RangeTestResult | Mapping[str, RangeTestResult],
    skip_start: int = 0,
    skip_end: int = 0,
    *,
    log_lr: bool | None = None,
    show_lr: float | None = None,
    ax: Axes | None = None,
    suggestion: Suggestion | None = None,
) -> Axes:
    """Draw the curve of a range test, or of several on the same axes, and mark the suggested rate.

    Faint points are the raw losses; the line is the curve that the rules read, smoothed without
    lag. Nothing is shown: save the picture with `ax.figure.savefig(path)`.

    Args:
        results: one result, or several as a mapping from label to result.
        skip_start: points to leave out of the picture at the start, >= 0. Skips that would leave
            fewer than 5 points are ignored. The suggestion is read off the whole curve.
        skip_end: points to leave out at the end, >= 0.
        log_lr: logarithmic axis of rates; None for a logarithmic one after exponential sweeps.
        show_lr: a further rate to mark, > 0.
        ax: axes to draw on; None for those of a new figure.
        suggestion: what to mark on a single result; None for what its `suggest()` returns. Where
            that finds none, the reason stands in the picture.

    Returns:
        The axes.

    Raises:
        InvalidInputError: if there is nothing to draw, a skip is negative, `show_lr` is not
            positive, or one suggestion is given for several results.

    Example:
        >>> import matplotlib; matplotlib.use("agg")
        >>> sweep = RangeTestResult(
        ...     lr=(0.001, 0.01, 0.1, 1.0, 10.0), loss=(2.3, 2.2, 1.4, 0.9, 3.0), step_mode="exp",
        ...     smooth_f=0.05, stop_reason=StopReason.COMPLETED)
        >>> axes = plot({"SGD": sweep}, show_lr=0.05)
        >>> axes.get_xlabel(), axes.get_xscale()
        ('learning rate', 'log')
    """
    _check(results, skip_start, skip_end, show_lr, suggestion)
    labelled = results if isinstance(results, Mapping) else {"": results}
    pictures = [_Picture(*item, skip_start, skip_end) for item in labelled.items()]
    ax = _new_axes() if ax is None else ax
    _scale(ax, pictures, log_lr)
    if isinstance(results, Mapping):
        reason = ""
        _draw_several(ax, pictures)
    else:
        reason = _draw_single(ax, pictures[0], suggestion)
    if show_lr is not None:
        marks.draw_rate(ax, show_lr)
    _describe(ax, pictures, reason)
    return ax


class _Picture:
    """One result with its lines as they are seen.

    Args:
        label: name of the result among several.
        result: what the range test recorded.
        skip_start: points to leave out at the start, >= 0.
        skip_end: points to leave out at the end, >= 0.
    """

    def __init__(self, label: str, result: RangeTestResult, skip_start: int, skip_end: int) -> None:
        self.label, self.result = label, result
        self.training = training_line(result, skip_start, skip_end)
        self.validation = validation_line(result, skip_start, skip_end)

    @property
    def lines(self) -> list[Line]:
        """The lines there are; a rule reads the last of them."""
        return [self.training] if self.validation is None else [self.training, self.validation]

    @property
    def stopped(self) -> bool:
        """The sweep ended before its last rate, and the picture reaches that far."""
        seen = len(self.training.lr) > 0 and self.training.lr[-1] == self.result.lr[-1]
        return seen and self.result.stop_reason is not StopReason.COMPLETED

    def suggest(self) -> Suggestion | str:
        """Return the suggestion, or the reason why there is none."""
        try:
            return self.result.suggest()
        except NoSuggestionError as error:
            return f"no suggestion: {error}"


def _draw_single(ax: Axes, picture: _Picture, given: Suggestion | None) -> str:
    """Draw one result in full; return why there is no suggestion, if there is none."""
    sweeps = len(picture.result.repeats)
    label = "training loss" if sweeps < 2 else f"training loss, mean and range of {sweeps} sweeps"
    marks.draw_line(ax, picture.training, label, marks.BLUE)
    if picture.validation is not None:
        marks.draw_line(ax, picture.validation, "validation loss", marks.VERMILLION, "--")
    if picture.stopped:
        stopped = f"stopped at {picture.result.lr[-1]:.1e}: {picture.result.stop_reason.value}"
        marks.draw_stop(ax, picture.training, marks.BLUE, stopped)
    suggestion = picture.suggest() if given is None else given
    if isinstance(suggestion, str):
        return suggestion
    lr, line = suggestion.lr, picture.lines[-1]
    marks.draw_bounds(ax, suggestion.min_lr, suggestion.max_lr)
    marks.draw_suggestion(ax, line, lr, marks.GREEN, f"suggestion ({suggestion.method})")
    marks.write_value(ax, line, lr, marks.GREEN)
    return ""


def _draw_several(ax: Axes, pictures: list[_Picture]) -> None:
    """Draw each result in a colour of its own, with its suggestion in the legend."""
    for picture, colour in zip(pictures, cycle(marks.COLOURS), strict=False):
        suggestion = picture.suggest()
        value = "no suggestion" if isinstance(suggestion, str) else f"{suggestion.lr:.2e}"
        marks.draw_line(ax, picture.training, f"{picture.label}: {value}", colour)
        if picture.validation is not None:
            marks.draw_line(ax, picture.validation, f"{picture.label}, validation", colour, "--")
        if picture.stopped:
            marks.draw_stop(ax, picture.training, colour)
        if not isinstance(suggestion, str):
            marks.draw_suggestion(ax, picture.lines[-1], suggestion.lr, colour)


def _new_axes() -> Axes:
    from matplotlib import pyplot

    return pyplot.subplots(layout="constrained")[1]


def _scale(ax: Axes, pictures: list[_Picture], log_lr: bool | None) -> None:
    if log_lr is None:
        log_lr = all(picture.result.step_mode == "exp" for picture in pictures)
    ax.set_xscale("log" if log_lr else "linear")
    if log_lr:
        marks.label_decades(ax, [lr for picture in pictures for lr in picture.training.lr])
    limits = y_limits([line for picture in pictures for line in picture.lines])
    if limits is None:
        return
    if ax.has_data():  # what is on the axes already stays in sight
        bottom, top = ax.get_ylim()
        limits = min(limits[0], bottom), max(limits[1], top)
    ax.set_ylim(limits)


def _describe(ax: Axes, pictures: list[_Picture], reason: str) -> None:
    groups = any(_rates_differ(picture.result) for picture in pictures)
    ax.set_xlabel("learning rate of the largest group" if groups else "learning rate")
    ax.set_ylabel("loss")
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.legend(
        title=textwrap.fill(reason, 48) or None,
        title_fontsize="small",
        fontsize="small",
        alignment="left",
        framealpha=0.85,
        edgecolor="none",
    )


def _rates_differ(result: RangeTestResult) -> bool:
    return any(rates != result.lr for rates in result.group_lrs)


def _check(
    results: RangeTestResult | Mapping[str, RangeTestResult],
    skip_start: int,
    skip_end: int,
    show_lr: float | None,
    suggestion: Suggestion | None,
) -> None:
    if isinstance(results, Mapping) and not results:
        raise InvalidInputError("expected at least one result to draw, got an empty mapping")
    check_count("skip_start", skip_start, at_least=0)
    check_count("skip_end", skip_end, at_least=0)
    if show_lr is not None and not (math.isfinite(show_lr) and show_lr > 0):
        raise InvalidInputError(f"expected a positive, finite show_lr, got {show_lr!r}")
    if suggestion is not None and isinstance(results, Mapping):
        raise InvalidInputError(
            "expected a single result beside a suggestion, got a mapping of results; leave the "
            "suggestion out: each result is marked with its own"
        )

"""Open bounds: a sweep begins where the curve is flat, and ends where the loss diverges."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.checks import is_number
from lrfinder._sweep.communicator import OnStep
from lrfinder._sweep.grid import START_LR, Bound, Grid, StepMode, decades
from lrfinder._sweep.loop import Record, SweepRunner

# 100 steps over the eight decades from `START_LR` to `END_LR`.
_STEPS_PER_DECADE = 12.5
# Where an open range ends even if the loss has not diverged.
HIGHEST_LR = 1e3
# How far the start moves down if the curve is not flat there, and how many starts are tried.
_LOWER_BY = 1e-3
_MOST_STARTS = 3


class LRRange(NamedTuple):
    """The bounds of a sweep and its number of steps."""

    start_lr: Bound
    end_lr: Bound
    num_iter: int

    def lowered(self) -> LRRange:
        """Return the same range from a lower start, at the same pace."""
        start, end = _single("start_lr", self.start_lr), _single("end_lr", self.end_lr)
        pace = (self.num_iter - 1) / decades(start, end)
        lower = start * _LOWER_BY
        return LRRange(lower, end, round(pace * decades(lower, end)) + 1)


def resolve_range(
    start_lr: Bound | None,
    end_lr: Bound | None,
    num_iter: int,
    steps_per_decade: float | None,
    step_mode: StepMode,
) -> LRRange:
    """Return the bounds and the number of steps, with open ones filled in.

    Args:
        start_lr: first rate, or None.
        end_lr: last rate, or None.
        num_iter: steps if both bounds are given and the pace is not.
        steps_per_decade: pace, > 0; None for `num_iter` steps, or 12.5 if a bound is open.
        step_mode: an open range or a pace needs `"exp"`.

    Raises:
        InvalidInputError: if the pace is not positive, or the mode is not `"exp"`.

    Example:
        >>> resolve_range(1e-3, None, 100, 10, "exp")
        LRRange(start_lr=0.001, end_lr=1000.0, num_iter=61)
    """
    if start_lr is not None and end_lr is not None and steps_per_decade is None:
        return LRRange(start_lr, end_lr, num_iter)
    if step_mode != "exp":
        raise InvalidInputError(
            "an open bound and steps_per_decade need step_mode='exp', got "
            f"{step_mode!r}; pass start_lr, end_lr and num_iter"
        )
    pace = _STEPS_PER_DECADE if steps_per_decade is None else steps_per_decade
    if not (is_number(pace) and math.isfinite(pace) and pace > 0):
        raise InvalidInputError(
            f"steps_per_decade must be a number > 0, got {pace!r}; 12.5 is a good start"
        )
    end = HIGHEST_LR if end_lr is None else _single("end_lr", end_lr)
    start = min(START_LR, end / 1e4) if start_lr is None else _single("start_lr", start_lr)
    if not 0 < start < end:
        return LRRange(start, end, num_iter)  # group_grid raises for it
    return LRRange(start, end, max(2, round(pace * decades(start, end)) + 1))


def sweep_from_flat(
    runner: SweepRunner,
    span: LRRange,
    sweep: Callable[[LRRange, OnStep | None], tuple[Grid, Record]],
    begins_flat: Callable[[Grid, Record], bool],
    on_step: OnStep | None,
) -> tuple[LRRange, Grid, Record]:
    """Sweep a range, and again from a lower start if the curve does not begin flat.

    Only the end of a sweep shows whether it does. If there is an `on_step`, which may end a sweep,
    one that began flat is run again with it.

    Returns:
        The range whose sweep is accepted, its rates, and what was recorded.
    """
    for _ in range(_MOST_STARTS - 1):
        grid, record = sweep(span, None)
        is_flat = begins_flat(grid, record)
        if is_flat and not runner.communicator.has_callback(on_step):
            return span, grid, record
        if not is_flat:
            span = span.lowered()
        runner.progress.extend(span.num_iter)
        runner.snapshot.restore()
        if is_flat:
            break
    return span, *sweep(span, on_step)


def _single(name: str, bound: Bound) -> float:
    if not is_number(bound):
        raise InvalidInputError(
            f"{name} must be one number if the other bound is open or steps_per_decade is given, "
            f"got {bound!r}; pass both bounds for every parameter group"
        )
    return float(bound)  # type: ignore[arg-type]

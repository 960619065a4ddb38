"""Bounds that are left open: from where the curve is flat until it diverges."""

from __future__ import annotations

import math
from typing import NamedTuple

from lrfinder._errors import InvalidInputError, NoSuggestionError
from lrfinder._result import RangeTestResult
from lrfinder._sweep.grid import StepMode, decades
from lrfinder._sweep.group_rates import Bound
from lrfinder.suggestion._descent import landmarks

# 100 steps over the usual eight decades, 1e-7 to 10.
DEFAULT_PACE = 12.5
# Where an open range begins and, diverged or not, ends.
FIRST_START = 1e-7
HIGHEST_LR = 1e3
# How far a start moves down when the curve is not flat there, and how often.
LOWER_BY = 1e-3
MOST_STARTS = 3


class Range(NamedTuple):
    """A range of rates and the number of steps that goes with it."""

    start_lr: Bound
    end_lr: Bound
    num_iter: int

    def lowered(self) -> Range:
        """Return the same range from a lower start, at the same pace."""
        start, end = _single("start_lr", self.start_lr), _single("end_lr", self.end_lr)
        pace = (self.num_iter - 1) / decades(start, end)
        lower = start * LOWER_BY
        return Range(lower, end, round(pace * decades(lower, end)) + 1)


def closed_range(
    start_lr: Bound | None,
    end_lr: Bound | None,
    num_iter: int,
    steps_per_decade: float | None,
    step_mode: StepMode,
) -> Range:
    """Return bounds and a number of steps in place of what is open.

    Args:
        start_lr: first rate, or None.
        end_lr: last rate, or None.
        num_iter: steps where the pace is not given and both bounds are.
        steps_per_decade: pace, > 0; None for `num_iter` steps, or 12.5 where a bound is open.
        step_mode: an open range or a pace needs `"exp"`.

    Raises:
        InvalidInputError: if the pace is not positive, or the mode does not have one.

    Example:
        >>> closed_range(1e-3, None, 100, 10, "exp")
        Range(start_lr=0.001, end_lr=1000.0, num_iter=61)
    """
    if start_lr is not None and end_lr is not None and steps_per_decade is None:
        return Range(start_lr, end_lr, num_iter)
    _check_pace(steps_per_decade, step_mode)
    end = HIGHEST_LR if end_lr is None else _single("end_lr", end_lr)
    start = min(FIRST_START, end / 1e4) if start_lr is None else _single("start_lr", start_lr)
    if not 0 < start < end:
        return Range(start, end, num_iter)  # refused with the other bounds
    pace = DEFAULT_PACE if steps_per_decade is None else steps_per_decade
    return Range(start, end, max(2, round(pace * decades(start, end)) + 1))


def begins_flat(result: RangeTestResult) -> bool:
    """Tell whether a sweep shows a flat beginning: under 10 % of its fall in the first decade."""
    try:
        descent = landmarks(result.curve())
    except NoSuggestionError:
        return False
    return descent.minimum > 0 and bool(descent.lr[descent.last_above(0.1)] >= 10 * descent.lr[0])


def _check_pace(steps_per_decade: float | None, step_mode: StepMode) -> None:
    if step_mode != "exp":
        raise InvalidInputError(
            "expected step_mode='exp' where a bound is open or steps_per_decade is given, got "
            f"{step_mode!r}; pass start_lr, end_lr and num_iter"
        )
    pace = DEFAULT_PACE if steps_per_decade is None else steps_per_decade
    if not (math.isfinite(pace) and pace > 0):
        raise InvalidInputError(f"expected steps_per_decade > 0, got {steps_per_decade!r}")


def _single(name: str, bound: Bound) -> float:
    if not isinstance(bound, (int, float)):
        raise InvalidInputError(
            f"expected one {name} where the other bound is open or a pace is given, got {bound!r}; "
            "pass both bounds for every parameter group"
        )
    return float(bound)

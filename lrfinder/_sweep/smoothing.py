"""The exponential moving average of losses, for the stop test and the history."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.checks import is_number
from lrfinder._sweep.grid import Array


def checked_smooth_f(smooth_f: float) -> float:
    """Return a smoothing factor as a float; raise `InvalidInputError` if it is outside [0, 1)."""
    if not (is_number(smooth_f) and 0 <= smooth_f < 1):
        raise InvalidInputError(
            f"smooth_f must be a number in [0, 1), got {smooth_f!r}; 0 turns smoothing off, 0.05 "
            "gives each new loss a weight of 5 %"
        )
    return float(smooth_f)


def ema_step(previous: float | None, value: float, smooth_f: float) -> float:
    """Return the exponential moving average after one more value, which has the weight `smooth_f`.

    `previous` is None before the first value; a weight of 0 turns smoothing off.
    """
    if previous is None or smooth_f == 0:
        return value
    return previous + smooth_f * (value - previous)  # in this form a constant stays itself


def ema(values: Sequence[float] | Array, smooth_f: float) -> list[float]:
    """Return the exponential moving average of `values`, starting at the first of them.

    Args:
        values: shape `(n,)`.
        smooth_f: weight of each new value, in [0, 1); 0 returns the values.

    Example:
        >>> ema([1.0, 0.0, 0.0], 0.5)
        [1.0, 0.5, 0.25]
    """
    return list(
        accumulate(map(float, values), lambda average, value: ema_step(average, value, smooth_f))
    )

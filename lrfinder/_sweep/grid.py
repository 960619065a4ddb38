"""The ladder of learning rates: pure numbers, computed before the sweep begins."""

from __future__ import annotations

import math
from numbers import Real
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from lrfinder._errors import InvalidInputError

StepMode = Literal["exp", "linear"]


def ladder(
    start_lr: float, end_lr: float, num_iter: int, step_mode: StepMode = "exp"
) -> npt.NDArray[np.float64]:
    """Return `num_iter` rising learning rates that begin and end exactly at the two bounds.

    Args:
        start_lr: first learning rate, > 0.
        end_lr: last learning rate, > `start_lr`.
        num_iter: number of rates, one per optimizer step, >= 2.
        step_mode: `"exp"` multiplies by a constant from step to step, `"linear"` adds one.

    Returns:
        Rates, shape `(num_iter,)`.

    Raises:
        InvalidInputError: if a bound is not positive, finite and in order, if `num_iter` < 2, or
            if `step_mode` is unknown.

    References:
        Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017,
        section 3.3 (linear); Sylvain Gugger and Jeremy Howard, fastai `lr_find` (exponential).

    Example:
        >>> ladder(0.001, 1.0, 4).round(6).tolist()
        [0.001, 0.01, 0.1, 1.0]
        >>> ladder(0.0001, 1.0, 3, "linear").tolist()
        [0.0001, 0.50005, 1.0]
    """
    check_rates(start_lr, end_lr)
    check_num_iter(num_iter)
    check_step_mode(step_mode)
    space = np.geomspace if step_mode == "exp" else np.linspace
    rates: npt.NDArray[np.float64] = space(start_lr, end_lr, num_iter, dtype=np.float64)
    rates[0], rates[-1] = start_lr, end_lr  # rounding must not move the bounds
    return rates


def decades(start_lr: float, end_lr: float) -> float:
    """Return the width of a range of learning rates in powers of ten."""
    return math.log10(end_lr / start_lr)


def check_rates(start_lr: float, end_lr: float) -> None:
    """Refuse bounds that are not positive, finite and rising."""
    for name, lr in (("start_lr", start_lr), ("end_lr", end_lr)):
        if not (isinstance(lr, Real) and math.isfinite(lr) and lr > 0):
            raise InvalidInputError(
                f"expected a positive, finite {name}, got {lr!r}; 1e-7 to 10 suits most models"
            )
    if not start_lr < end_lr:
        raise InvalidInputError(
            f"expected start_lr < end_lr, got start_lr={start_lr:g} and end_lr={end_lr:g}; "
            "lower start_lr or raise end_lr"
        )


def check_num_iter(num_iter: int) -> None:
    """Refuse a number of steps that is not a whole number of at least 2."""
    if isinstance(num_iter, bool) or not isinstance(num_iter, int) or num_iter < 2:
        raise InvalidInputError(
            f"expected num_iter to be a whole number >= 2, got {num_iter!r}; 100 is a good start"
        )


def check_step_mode(step_mode: str) -> None:
    """Refuse a step mode that does not exist."""
    modes = get_args(StepMode)
    if step_mode not in modes:
        raise InvalidInputError(
            f"expected step_mode to be one of {', '.join(map(repr, modes))}, got {step_mode!r}"
        )

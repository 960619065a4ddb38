"""The learning-rate grid: every rate of every parameter group, computed before a sweep begins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any, Literal, NamedTuple, TypeGuard, cast, get_args

import numpy as np
import numpy.typing as npt
from torch.optim import Optimizer

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.checks import is_number, whole_number
from lrfinder._sweep.param_groups import group_ratios, learning_rates

StepMode = Literal["exp", "linear"]
Bound = float | Sequence[float]
Array = npt.NDArray[np.float64]

# The range of a sweep if none is given, in which nearly every network can be trained somewhere.
START_LR, END_LR = 1e-7, 10.0


class Grid(NamedTuple):
    """The learning rates of a sweep.

    Attributes:
        lr: rate of each step, shape `(n,)`; with several groups that of the largest swept one.
        group_lrs: rates of every parameter group at each step, shape `(n, groups)`.
    """

    lr: Array
    group_lrs: Array


def group_grid(
    optimizer: Optimizer,
    start_lr: Bound,
    end_lr: Bound,
    num_iter: int,
    step_mode: StepMode,
    groups: Sequence[int] | None = None,
) -> Grid:
    """Return the rates of every parameter group at every step.

    A single bound is for the swept group with the largest rate; the other swept groups keep their
    ratio to it, so that a group at 0 stays frozen. A sequence of bounds gives each swept group its
    own range. Groups that are not swept keep their rate.

    Args:
        optimizer: its groups and their current rates.
        start_lr: first rate, > 0, or one for each swept group.
        end_lr: last rate, > `start_lr`, or one for each swept group.
        num_iter: number of steps n, >= 2.
        step_mode: `"exp"` or `"linear"`.
        groups: indices of the groups to sweep; None sweeps all.

    Raises:
        InvalidInputError: if a bound, the number of bounds or an index is wrong.
    """
    current = learning_rates(optimizer)
    swept = list(range(len(current))) if groups is None else _checked_groups(groups, len(current))
    rates = np.tile(np.asarray(current), (num_iter, 1))
    if _is_several(start_lr) or _is_several(end_lr):
        starts = _per_group("start_lr", start_lr, len(swept))
        ends = _per_group("end_lr", end_lr, len(swept))
        for group, start, end in zip(swept, starts, ends, strict=True):
            rates[:, group] = learning_rate_grid(start, end, num_iter, step_mode)
        return Grid(rates[:, max(swept, key=lambda group: rates[-1, group])], rates)
    lr = learning_rate_grid(cast(float, start_lr), cast(float, end_lr), num_iter, step_mode)
    rates[:, swept] = np.outer(lr, group_ratios([current[group] for group in swept]))
    return Grid(lr, rates)


def constant_grid(lr: float, group_lrs: Sequence[float], steps: int) -> Grid:
    """Return the same rates for every step: that of the largest swept group, and of each group."""
    return Grid(np.full(steps, lr), np.tile(np.asarray(group_lrs), (steps, 1)))


def learning_rate_grid(
    start_lr: float, end_lr: float, num_iter: int, step_mode: StepMode = "exp"
) -> Array:
    """Return `num_iter` rising learning rates, the first and last exactly at the bounds.

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
        >>> learning_rate_grid(0.001, 1.0, 4).round(6).tolist()
        [0.001, 0.01, 0.1, 1.0]
        >>> learning_rate_grid(0.0001, 1.0, 3, "linear").tolist()
        [0.0001, 0.50005, 1.0]
    """
    check_rates(start_lr, end_lr)
    num_iter = checked_num_iter(num_iter)
    check_step_mode(step_mode)
    space = np.geomspace if step_mode == "exp" else np.linspace
    rates: Array = space(start_lr, end_lr, num_iter, dtype=np.float64)
    rates[0], rates[-1] = start_lr, end_lr  # rounding must not change the bounds
    return rates


def decades(start_lr: float, end_lr: float) -> float:
    """Return the width of a range of learning rates in powers of ten."""
    return math.log10(end_lr / start_lr)


def check_rates(start_lr: float, end_lr: float) -> None:
    """Raise `InvalidInputError` if bounds are not positive, finite and rising."""
    for name, lr in (("start_lr", start_lr), ("end_lr", end_lr)):
        if not (is_number(lr) and math.isfinite(lr) and lr > 0):
            raise InvalidInputError(
                f"{name} must be a positive, finite number, got {lr!r}; 1e-7 to 10 suit most models"
            )
    if not start_lr < end_lr:
        raise InvalidInputError(
            f"start_lr must be below end_lr, got start_lr={start_lr:g} and end_lr={end_lr:g}; "
            "lower start_lr or raise end_lr"
        )


def checked_num_iter(num_iter: int) -> int:
    """Return a number of steps as an int; raise `InvalidInputError` if it is not one >= 2."""
    return whole_number("num_iter", num_iter, at_least=2, advice="; 100 is a good start")


def check_step_mode(step_mode: str) -> None:
    """Raise `InvalidInputError` if a step mode does not exist."""
    modes = get_args(StepMode)
    if step_mode not in modes:
        raise InvalidInputError(
            f"step_mode must be one of {', '.join(map(repr, modes))}, got {step_mode!r}"
        )


def _checked_groups(groups: Any, count: int) -> list[int]:
    indices = list(groups) if isinstance(groups, Iterable) else []
    if not indices or any(i not in range(count) for i in indices) or len({*indices}) < len(indices):
        raise InvalidInputError(
            f"groups must list some of the {count} parameter groups by index from 0, each once, "
            f"got {groups!r}; pass [0] for the first one"
        )
    return indices


def _is_several(bound: Bound) -> TypeGuard[Sequence[float]]:
    if isinstance(bound, np.ndarray):
        return bound.ndim > 0
    return isinstance(bound, Sequence) and not isinstance(bound, str)  # "1e-3" from a config file


def _per_group(name: str, bound: Bound, count: int) -> list[float]:
    if not _is_several(bound):
        return [cast(float, bound)] * count
    if len(bound) != count:
        raise InvalidInputError(
            f"{name} must list one rate for each of the {count} swept parameter groups, got "
            f"{len(bound)}; pass as many, or a single number"
        )
    return list(bound)

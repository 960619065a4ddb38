"""From one range of learning rates, or one per parameter group, to the rates of every step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, TypeGuard, cast

import numpy as np
import numpy.typing as npt
from torch.optim import Optimizer

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.checks import check_groups
from lrfinder._sweep.grid import StepMode, ladder
from lrfinder._sweep.param_groups import group_ratios, learning_rates

Bound = float | Sequence[float]


class GroupRates(NamedTuple):
    """The rates of a sweep.

    Attributes:
        reported: rate that stands for each step: of the swept group with the largest one. Shape
            `(n,)`.
        all: rates of every parameter group, shape `(n, groups)`.
    """

    reported: npt.NDArray[np.float64]
    all: npt.NDArray[np.float64]


def group_rates(
    optimizer: Optimizer,
    start_lr: Bound,
    end_lr: Bound,
    num_iter: int,
    step_mode: StepMode,
    groups: Sequence[int] | None = None,
) -> GroupRates:
    """Return the rates of every parameter group at every step.

    Single bounds are those of the swept group with the largest rate; the other swept groups keep
    their ratio to it, so one at 0 stays frozen. A sequence of bounds gives each swept group a
    range of its own. Groups that are not swept keep their rate.

    Args:
        optimizer: its groups and their current rates.
        start_lr: first rate, > 0, or one for each swept group.
        end_lr: last rate, > `start_lr`, or one for each swept group.
        num_iter: number of steps n, >= 2.
        step_mode: `"exp"` or `"linear"`.
        groups: indices of the groups to sweep; None sweeps all.

    Raises:
        InvalidInputError: if a bound, a number of bounds or an index cannot work.
    """
    current = learning_rates(optimizer)
    swept = list(range(len(current))) if groups is None else list(groups)
    check_groups(swept, len(current))
    rates = np.tile(np.asarray(current), (num_iter, 1))
    if _is_several(start_lr) or _is_several(end_lr):
        starts = _per_group("start_lr", start_lr, len(swept))
        ends = _per_group("end_lr", end_lr, len(swept))
        for group, start, end in zip(swept, starts, ends, strict=True):
            rates[:, group] = ladder(start, end, num_iter, step_mode)
        return GroupRates(rates[:, max(swept, key=lambda group: rates[-1, group])], rates)
    reported = ladder(cast(float, start_lr), cast(float, end_lr), num_iter, step_mode)
    rates[:, swept] = np.outer(reported, group_ratios([current[group] for group in swept]))
    return GroupRates(reported, rates)


def _is_several(bound: Bound) -> TypeGuard[Sequence[float]]:
    return isinstance(bound, Sequence) and not isinstance(bound, str)  # "1e-3" from a config file


def constant_rates(lrs: Sequence[float], steps: int) -> GroupRates:
    """Return the same rates for every step.

    Args:
        lrs: one rate per parameter group, >= 0.
        steps: number of steps, >= 1.
    """
    return GroupRates(np.full(steps, max(lrs)), np.tile(np.asarray(lrs), (steps, 1)))


def _per_group(name: str, bound: Bound, count: int) -> list[float]:
    if not _is_several(bound):
        return [cast(float, bound)] * count
    if len(bound) != count:
        raise InvalidInputError(
            f"expected one {name} for each of the {count} swept parameter groups, got {len(bound)}"
        )
    return list(bound)

"""Which rate each parameter group gets, and how an optimizer is handed to a scheduler."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from torch.optim import Optimizer

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.param_groups import group_ratios, learning_rates, set_learning_rates
from lrfinder.suggestion._suggestion import Suggestion


def positive(name: str, value: float) -> float:
    """Return `value` as a float, or say which argument is not a finite number > 0."""
    number = float(value)
    if not (math.isfinite(number) and number > 0):
        raise InvalidInputError(f"expected a finite number > 0 for {name}, got {name}={value!r}")
    return number


def fraction(name: str, value: float) -> float:
    """Return `value` as a float, or say which argument is not in (0, 1]."""
    if not 0 < value <= 1:
        raise InvalidInputError(f"expected {name} in (0, 1], got {name}={value!r}")
    return float(value)


def group_rates(
    optimizer: Optimizer, lr: Suggestion | float, largest: float | None = None
) -> list[float]:
    """Return one rate per parameter group, in the groups' ratios.

    Args:
        optimizer: with a plain number as `lr`, its present rates give the ratios.
        lr: a suggestion, whose `lrs` give the ratios, or the rate of the largest group, > 0.
        largest: rate of the largest group, > 0, where it is not `float(lr)`.

    Raises:
        InvalidInputError: if a rate is not > 0, a suggestion is for another number of groups, or
            every present rate is 0, so that there are no ratios to keep.
    """
    rate = positive("lr", float(lr) if largest is None else largest)
    return [rate * ratio for ratio in _ratios(optimizer, lr)]


def _ratios(optimizer: Optimizer, lr: Suggestion | float) -> list[float]:
    groups = len(optimizer.param_groups)
    if isinstance(lr, Suggestion):
        if len(lr.lrs) != groups:
            raise InvalidInputError(
                f"expected an optimizer with {len(lr.lrs)} parameter groups, as the swept one "
                f"had, got {groups}; pass a plain rate instead of the suggestion"
            )
        return group_ratios(lr.lrs)
    present = learning_rates(optimizer)
    if groups > 1 and max(present) == 0:
        raise InvalidInputError(
            f"expected a parameter group with a rate > 0 to read the groups' ratios from, got "
            f"{present}; set the groups' rates, or pass a Suggestion"
        )
    return group_ratios(present)


def floor(min_lr: float, largest: float) -> float:
    """Return `min_lr` as a fraction of the largest group's rate.

    Args:
        min_lr: lowest rate of the largest group, in [0, largest].
        largest: first rate of that group, > 0.

    Raises:
        InvalidInputError: if `min_lr` is outside its range.
    """
    if not 0 <= min_lr <= largest:
        raise InvalidInputError(
            f"expected min_lr between 0 and the rate {largest:g}, got min_lr={min_lr:g}"
        )
    return min_lr / largest


def require_one_floor(min_lr: float, lrs: Sequence[float], other: str) -> None:
    """Refuse a floor above 0 where torch has one for all groups and the groups differ.

    Args:
        min_lr: the floor, >= 0.
        lrs: rate of each group, >= 0.
        other: what to use instead, for the message.

    Raises:
        InvalidInputError: if the groups would end at one rate, having started at several.
    """
    if min_lr > 0 and min(lrs) != max(lrs):
        raise InvalidInputError(
            f"expected min_lr=0 for groups at the rates {[float(f'{lr:g}') for lr in lrs]}, got "
            f"min_lr={min_lr:g}: torch has one floor for all groups, which would break their "
            f"ratios; use {other}"
        )


@contextmanager
def unchanged_on_error(optimizer: Optimizer) -> Iterator[None]:
    """Put the optimizer's groups and attributes back if the block raises.

    Constructing a scheduler changes rates and momentum, plants `initial_lr` and wraps
    `optimizer.step`, and some of torch's classes check their arguments after that.
    """
    attributes = dict(vars(optimizer))
    groups = [dict(group) for group in optimizer.param_groups]
    lrs = learning_rates(optimizer)
    try:
        yield
    except BaseException:
        vars(optimizer).clear()
        vars(optimizer).update(attributes)
        for group, before in zip(optimizer.param_groups, groups, strict=True):
            group.clear()
            group.update(before)
        set_learning_rates(optimizer, lrs)
        raise


def set_starting_rates(optimizer: Optimizer, lrs: Sequence[float]) -> None:
    """Give the groups the rates that the next scheduler starts from.

    Args:
        optimizer: its groups are changed.
        lrs: one rate per group, >= 0.
    """
    set_learning_rates(optimizer, lrs)
    for group, lr in zip(optimizer.param_groups, lrs, strict=True):
        # torch keeps the `initial_lr` of an earlier scheduler, and would start from it. A float
        # also never shares memory with a Tensor rate that is filled in place.
        group["initial_lr"] = lr


@contextmanager
def starting_at(optimizer: Optimizer, lrs: Sequence[float]) -> Iterator[None]:
    """Set the rates that a scheduler built in the block starts from; undo it if that fails.

    Args:
        optimizer: back as it was if the block raises.
        lrs: one rate per group, >= 0.
    """
    with unchanged_on_error(optimizer):
        set_starting_rates(optimizer, lrs)
        yield

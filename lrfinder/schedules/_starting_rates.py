"""The rate that each parameter group starts from, and the checks that schedules share."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from torch.optim import Optimizer

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.param_groups import group_ratios, learning_rates, set_learning_rates
from lrfinder.suggestion import Suggestion


def real_number(name: str, value: Any) -> float:
    """Return a number, of NumPy or in a tensor for example, as a float; raise if it is none."""
    if not isinstance(value, (str, bytes, bool)):
        with suppress(TypeError, ValueError, RuntimeError):
            return float(value)
    raise InvalidInputError(f"expected {name} to be a number, got {value!r}")


def positive(name: str, value: float, at_most: float = math.inf) -> float:
    """Return `value` as a float; raise if it is not finite or not in (0, at_most]."""
    number = real_number(name, value)
    if math.isfinite(number) and 0 < number <= at_most:
        return number
    allowed = "a finite number > 0" if at_most == math.inf else f"in (0, {at_most:g}]"
    raise InvalidInputError(f"expected {name} to be {allowed}, got {value!r}")


def relative_floor(name: str, lowest: float, lr: Suggestion | float) -> float:
    """Return a floor as a fraction of a rate; raise if it is not in [0, rate]."""
    highest, floor = real_number("lr", lr), real_number(name, lowest)
    if 0 <= floor <= highest:
        return floor / highest
    raise InvalidInputError(
        f"expected {name} to be between 0 and the learning rate {highest:g}, got {floor:g}"
    )


def group_rates(optimizer: Optimizer, lr: Suggestion | float, number: str = "lr") -> list[float]:
    """Return one rate per parameter group.

    Those of a suggestion are its `lrs`, scaled from its `lr` to its attribute `number`; a group
    that was not swept may have the largest of them. Those of a number have the ratios of the
    optimizer's current rates, and the number is the largest.
    """
    groups = len(optimizer.param_groups)
    if isinstance(lr, Suggestion):
        target, current = positive(number, getattr(lr, number)), list(lr.lrs)
        ratios = [rate / lr.lr for rate in current]
    else:
        target, current = positive(number, lr), learning_rates(optimizer)
        ratios = group_ratios(current)
    if len(current) != groups:
        raise InvalidInputError(
            f"expected an optimizer with {len(current)} parameter groups, as in the range test, "
            f"got {groups}; pass a number instead of the suggestion"
        )
    if groups > 1 and max(current) == 0:
        raise InvalidInputError(
            "expected a parameter group with a learning rate > 0, got "
            f"{current}: there are no ratios to keep; set the rates, or pass a suggestion"
        )
    return [target * ratio for ratio in ratios]


@contextmanager
def starting_at(optimizer: Optimizer, lrs: Sequence[float]) -> Iterator[None]:
    """Set the rates that a scheduler built in the block starts from; undo all if the block raises.

    A scheduler changes rates and momentum, adds keys to the groups and wraps `optimizer.step`
    when it is built, and some of torch's classes check their arguments only after that.
    """
    attributes = dict(vars(optimizer))
    groups = [dict(group) for group in optimizer.param_groups]
    before = learning_rates(optimizer)
    try:
        set_learning_rates(optimizer, lrs)
        for group, lr in zip(optimizer.param_groups, lrs, strict=True):
            # torch would start from the `initial_lr` of an earlier scheduler. A float never shares
            # memory with a Tensor rate that is filled in place.
            group["initial_lr"] = lr
        yield
    except BaseException:
        vars(optimizer).clear()
        vars(optimizer).update(attributes)
        for group, old in zip(optimizer.param_groups, groups, strict=True):
            group.clear()
            group.update(old)
        set_learning_rates(optimizer, before)
        raise

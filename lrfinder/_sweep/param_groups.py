"""Reads and writes the learning rates of parameter groups; no other module does."""

from __future__ import annotations

import copy
import gc
import math
import warnings
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    ConstantLR,
    CosineAnnealingLR,
    CosineAnnealingWarmRestarts,
    CyclicLR,
    ExponentialLR,
    LambdaLR,
    LinearLR,
    LRScheduler,
    MultiplicativeLR,
    MultiStepLR,
    OneCycleLR,
    PolynomialLR,
    ReduceLROnPlateau,
    SequentialLR,
    StepLR,
)

from lrfinder._errors import InvalidInputError

# A rate in a tensor of half precision differs by this much from the one that was set.
_ROUNDING = 1e-2
# These compute each rate from the one at their own creation.
_OVERRIDING = (
    LambdaLR,
    CyclicLR,
    OneCycleLR,
    CosineAnnealingWarmRestarts,
)
# These multiply the rate that they find; a chained one is told by the schedulers in it.
_MULTIPLYING = (
    MultiplicativeLR,
    StepLR,
    MultiStepLR,
    ExponentialLR,
    PolynomialLR,
    CosineAnnealingLR,
    ReduceLROnPlateau,
    ChainedScheduler,
)


def learning_rates(optimizer: Optimizer) -> list[float]:
    """Return the current learning rate of each parameter group.

    Raises:
        InvalidInputError: if a group has no learning rate, one that requires a gradient, or a
            tensor of whole numbers.
    """
    lrs: list[Any] = [group.get("lr") for group in optimizer.param_groups]
    if any(lr is None for lr in lrs):
        raise InvalidInputError(
            f"{type(optimizer).__name__} has a parameter group without a learning rate (lr=None); "
            "give it one, as with lr=1e-3, and with Hugging Face's Adafactor also "
            "relative_step=False"
        )
    if any(isinstance(lr, Tensor) and lr.requires_grad for lr in lrs):
        raise InvalidInputError(
            f"{type(optimizer).__name__} has a learning rate that requires a gradient; the range "
            "test sets the rates itself: pass an optimizer whose rate is a number"
        )
    if any(isinstance(lr, Tensor) and not lr.is_floating_point() for lr in lrs):
        raise InvalidInputError(
            f"{type(optimizer).__name__} has a learning rate in a tensor of whole numbers; give it "
            "one of floating point, as with lr=torch.tensor(1e-3)"
        )
    return [float(lr) for lr in lrs]


def set_learning_rates(optimizer: Optimizer, lrs: Sequence[float]) -> None:
    """Set the learning rate of each parameter group.

    A Tensor rate is filled in place: a compiled step refers to that tensor, and a new one would
    compile it again. Groups that share a tensor are given one each.

    Raises:
        InvalidInputError: if the number of groups differs, or the optimizer ignores the rates.
    """
    groups = optimizer.param_groups
    if len(groups) != len(lrs):
        raise InvalidInputError(
            f"the optimizer has {len(groups)} parameter groups, but there are rates for "
            f"{len(lrs)}; add groups before the range test, not in it"
        )
    tensors: list[Tensor] = []
    for group, lr in zip(groups, lrs, strict=True):
        rate = group["lr"]
        if isinstance(rate, Tensor):
            if any(rate is other for other in tensors):
                rate = group["lr"] = rate.clone()
            tensors.append(rate)
            rate.fill_(lr)
        else:
            group["lr"] = lr
    if optimizer.param_groups is not groups:  # it may build the list at each access
        if callable(set_hyper := getattr(optimizer, "set_hyper", None)):  # fastai
            set_hyper("lr", list(lrs))
        check_learning_rates(learning_rates(optimizer), lrs)


def check_learning_rates(used: Sequence[float], lrs: Sequence[float]) -> None:
    """Raise `InvalidInputError` if the rates `used` by an optimizer are not those that were set."""
    for number, (lr, current) in enumerate(zip(lrs, used, strict=False)):
        if not math.isclose(lr, current, rel_tol=_ROUNDING, abs_tol=1e-30):
            raise InvalidInputError(
                f"the learning rate of parameter group {number} was set to {lr:g}, but the "
                f"optimizer used {current:g}; leave out what sets the rate in your step, such as "
                "a schedule, or pass an optimizer that uses the rates in its param_groups"
            )


def set_starting_rates(optimizer: Optimizer, lrs: Sequence[float]) -> None:
    """Set the rate of each parameter group, also for torch's schedulers that are created later.

    They begin at `initial_lr`, which an earlier scheduler may have left in the groups.
    """
    set_learning_rates(optimizer, lrs)
    for group in optimizer.param_groups:
        if "initial_lr" in group:
            rate = group["lr"]
            group["initial_lr"] = rate.clone() if isinstance(rate, Tensor) else rate


def overriding_scheduler(optimizer: Optimizer) -> LRScheduler | None:
    """Return an attached scheduler that will not start from the present rates, or None.

    Such a scheduler computes each rate from the one at its own creation, as `LambdaLR` does, or is
    in the middle of a warm-up, whose factor it will take back. One that multiplies the rate that it
    finds, as `StepLR` does, is not returned.
    """
    if "step" not in vars(optimizer):  # every scheduler puts one there, which counts its calls
        return None
    schedulers = [each for each in gc.get_objects() if issubclass(type(each), LRScheduler)]
    own = [each for each in schedulers if getattr(each, "optimizer", None) is optimizer]
    inner = [part for each in own if isinstance(each, SequentialLR) for part in each._schedulers]
    alone = (each for each in own if not any(each is part for part in inner))
    return next((each for each in alone if _ignores_rates(each)), None)


def _ignores_rates(scheduler: LRScheduler) -> bool:
    if isinstance(scheduler, (ConstantLR, LinearLR)):
        factor = scheduler.factor if isinstance(scheduler, ConstantLR) else scheduler.start_factor
        return factor != 1 and scheduler.last_epoch < scheduler.total_iters
    if isinstance(scheduler, SequentialLR):  # each one in it begins at the rates of its creation
        begun = sum(milestone <= scheduler.last_epoch for milestone in scheduler._milestones)
        return begun < len(scheduler._schedulers) - 1 or _ignores_rates(
            scheduler._schedulers[begun]
        )
    kind = type(scheduler)
    if kind in (*_OVERRIDING, *_MULTIPLYING):
        return kind in _OVERRIDING
    try:  # one of the user's own
        return _next_rates(scheduler, 1.0) == _next_rates(scheduler, 2.0)
    except Exception:  # it needs a metric, for example: nothing is known
        return False


def _next_rates(scheduler: LRScheduler, lr: float) -> list[float]:
    """Return the rates that a scheduler would set next if all rates were `lr`."""
    groups = [group | {"params": [], "lr": lr} for group in scheduler.optimizer.param_groups]
    stand_in = SimpleNamespace(param_groups=groups, step=None)  # never called
    trial = copy.deepcopy(scheduler, {id(scheduler.optimizer): stand_in})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trial.step()
    return [float(group["lr"]) for group in groups]


def group_ratios(lrs: Sequence[float]) -> list[float]:
    """Return the rate of each group divided by the largest one; all ones if every rate is 0."""
    largest = max(lrs)
    return [lr / largest for lr in lrs] if largest > 0 else [1.0] * len(lrs)

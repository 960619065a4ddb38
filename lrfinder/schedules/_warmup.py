"""A linear warm-up in front of any schedule."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    LinearLR,
    LRScheduler,
    ReduceLROnPlateau,
    SequentialLR,
)

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.checks import check_count
from lrfinder._sweep.param_groups import learning_rates
from lrfinder.schedules._groups import fraction, group_rates, set_starting_rates, starting_at
from lrfinder.schedules._sizes import require_shorter, resolve_total_steps
from lrfinder.suggestion._suggestion import Suggestion


def warmup(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    then: Callable[..., LRScheduler],
    warmup_steps: int,
    start_factor: float = 0.01,
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
    **settings: Any,
) -> SequentialLR:
    """Raise the rates along a straight line to where another schedule starts, then follow it.

    At step `warmup_steps` the other schedule is at its own step 0, and the rest of the training
    is its length:

    ```python
    warmup(optimizer, suggestion, then=cosine, warmup_steps=100, total_steps=1000)
    ```

    Takes the number of the suggestion that the schedule behind it takes.

    Args:
        optimizer: gets the first rates now.
        lr: a suggestion, or a rate > 0; passed on to `then`.
        then: a schedule of this package, or `then(optimizer, lr, **settings)` of your own; one
            that has an argument `total_steps` gets the steps after the warm-up.
        warmup_steps: optimizer steps of the warm-up, in [1, total_steps - 1].
        start_factor: the first rate as a fraction of the one warmed up to, in (0, 1].
        total_steps: optimizer steps of the whole training, warm-up included, >= 2.
        epochs: instead of `total_steps`, with `steps_per_epoch`.
        steps_per_epoch: optimizer steps in one epoch, >= 1.
        **settings: the other keyword arguments of `then`.

    Raises:
        InvalidInputError: if an argument is out of range, the rate would never leave its warm-up,
            or torch cannot start `then` in mid-training.

    References:
        Goyal et al. (2017), Accurate, large minibatch SGD: Training ImageNet in 1 hour,
        section 2.2: gradual warm-up.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import cosine, rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> def build(sgd):
        ...     return warmup(sgd, 1.0, then=cosine, warmup_steps=2, total_steps=6)
        >>> [lrs] = rates(build, sgd, 6)
        >>> [round(lr, 2) for lr in lrs]
        [0.01, 0.51, 1.0, 0.85, 0.5, 0.15]
    """
    steps = resolve_total_steps(total_steps, epochs, steps_per_epoch)
    check_count("warmup_steps", warmup_steps)
    require_shorter("warmup_steps", warmup_steps, steps, "the rate would never leave its warm-up")
    fraction("start_factor", start_factor)
    if "total_steps" in inspect.signature(then).parameters:
        settings["total_steps"] = steps - warmup_steps
    with starting_at(optimizer, group_rates(optimizer, lr)):
        following = then(optimizer, lr, **settings)
        _require_startable(following, start_factor, warmup_steps)
        # Where its first factor is not 1 it starts elsewhere than at its base rates.
        set_starting_rates(optimizer, learning_rates(optimizer))
        rise = LinearLR(optimizer, start_factor, total_iters=warmup_steps)
        return SequentialLR(optimizer, [rise, following], [warmup_steps])


def _require_startable(scheduler: LRScheduler, start_factor: float, warmup_steps: int) -> None:
    name = type(scheduler).__name__
    if isinstance(scheduler, ReduceLROnPlateau):
        raise InvalidInputError(
            f"expected a schedule of optimizer steps behind the warm-up, got {name}, which follows "
            "a metric; build `reduce_on_plateau(...)` and after it, on the same optimizer, torch's "
            f"`LinearLR(optimizer, {start_factor}, total_iters={warmup_steps})`, and step each in "
            "its own rhythm"
        )
    if isinstance(scheduler, (SequentialLR, ChainedScheduler)):
        raise InvalidInputError(
            f"expected a single schedule behind the warm-up, got {name}, which torch's "
            "SequentialLR cannot start in mid-training"
        )

"""A fixed factor every so many steps."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import StepLR

from lrfinder._sweep.checks import check_count
from lrfinder.schedules._groups import fraction, group_rates, starting_at
from lrfinder.schedules._sizes import (
    require_not_ended,
    require_shorter,
    resolve_total_steps,
)
from lrfinder.suggestion._suggestion import Suggestion


def step(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    step_size: int,
    gamma: float = 0.1,
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
) -> StepLR:
    """Multiply the rates by `gamma` every `step_size` steps.

    Takes the suggestion's `lr` as the first rate: the drops only ever lower it, so it may be the
    highest that trains well at a constant rate.

    Args:
        optimizer: gets the first rates now.
        lr: a suggestion, or the rate of the largest group, > 0.
        step_size: optimizer steps between two drops, >= 1.
        gamma: factor of each drop, in (0, 1].
        total_steps: optimizer steps of the training, >= 1.
        epochs: instead of `total_steps`, with `steps_per_epoch`.
        steps_per_epoch: optimizer steps in one epoch, >= 1.

    Raises:
        InvalidInputError: if an argument is out of range, no drop falls into the training, or the
            drops leave nothing of the rate before its end.

    References:
        He et al. (2016), Deep residual learning for image recognition, section 3.4: the rate
        divided by 10 at each drop, torch's default as well.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> def build(sgd):
        ...     return step(sgd, 1.0, step_size=2, gamma=0.1, total_steps=4)
        >>> [lrs] = rates(build, sgd, 4)
        >>> [round(lr, 2) for lr in lrs]
        [1.0, 1.0, 0.1, 0.1]
    """
    steps = resolve_total_steps(total_steps, epochs, steps_per_epoch)
    check_count("step_size", step_size)
    require_shorter("step_size", step_size, steps, "the rate would never drop")
    left = fraction("gamma", gamma) ** ((steps - 1) // step_size)
    require_not_ended(f"step_size={step_size} with gamma={gamma}", left, steps)
    with starting_at(optimizer, group_rates(optimizer, lr)):
        return StepLR(optimizer, step_size, gamma)

"""A fixed factor at every step."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ExponentialLR

from lrfinder.schedules._groups import fraction, group_rates, starting_at
from lrfinder.schedules._sizes import require_not_ended, resolve_total_steps
from lrfinder.suggestion._suggestion import Suggestion


def exponential(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    gamma: float,
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
) -> ExponentialLR:
    """Multiply the rates by `gamma` at every step.

    Takes the suggestion's `lr` as the first rate: the decay only ever lowers it.

    Args:
        optimizer: gets the first rates now.
        lr: a suggestion, or the rate of the largest group, > 0.
        gamma: factor of one optimizer step, in (0, 1]. A factor `g` per epoch is
            `g ** (1 / steps_per_epoch)`; to end at a hundredth, `0.01 ** (1 / total_steps)`.
        total_steps: optimizer steps of the training, >= 1.
        epochs: instead of `total_steps`, with `steps_per_epoch`.
        steps_per_epoch: optimizer steps in one epoch, >= 1.

    Raises:
        InvalidInputError: if an argument is out of range, or the decay leaves nothing of the rate
            before the training ends, as a factor meant for an epoch does.

    References:
        Senior et al. (2013), An empirical study of learning rates in deep neural networks for
        speech recognition, section 2: exponential scheduling from the best constant rate.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> [lrs] = rates(lambda sgd: exponential(sgd, 1.0, gamma=0.5, total_steps=4), sgd, 4)
        >>> [round(lr, 3) for lr in lrs]
        [1.0, 0.5, 0.25, 0.125]
    """
    steps = resolve_total_steps(total_steps, epochs, steps_per_epoch)
    left = fraction("gamma", gamma) ** (steps - 1)
    require_not_ended(f"gamma={gamma} per step", left, steps)
    with starting_at(optimizer, group_rates(optimizer, lr)):
        return ExponentialLR(optimizer, gamma)

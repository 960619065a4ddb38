"""Half a cosine from the rate to the floor."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from lrfinder.schedules._groups import floor, group_rates, require_one_floor, starting_at
from lrfinder.schedules._sizes import resolve_total_steps
from lrfinder.suggestion._suggestion import Suggestion


def cosine(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    min_lr: float = 0.0,
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
) -> CosineAnnealingLR:
    """Anneal the rates along half a cosine, from the first rate to `min_lr` at `total_steps`.

    Takes the suggestion's `lr` as the first rate: the cosine only ever lowers it. A loop that
    goes on after `total_steps` climbs the other half of torch's cosine.

    Args:
        optimizer: gets the first rates now.
        lr: a suggestion, or the rate of the largest group, > 0.
        min_lr: rate at `total_steps`, in [0, lr]. torch has one for all groups, so where they
            differ it must be 0; `wsd` with `decay="cosine"` has a floor for each group.
        total_steps: optimizer steps of the training, >= 1.
        epochs: instead of `total_steps`, with `steps_per_epoch`.
        steps_per_epoch: optimizer steps in one epoch, >= 1.

    Raises:
        InvalidInputError: if an argument is out of range, or `min_lr` would break the groups'
            ratios.

    References:
        Loshchilov and Hutter (2017), SGDR: Stochastic gradient descent with warm restarts,
        equation 5, for a single period.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> [lrs] = rates(lambda sgd: cosine(sgd, 1.0, total_steps=4), sgd, 5)
        >>> [round(lr, 2) for lr in lrs]
        [1.0, 0.85, 0.5, 0.15, 0.0]
    """
    steps = resolve_total_steps(total_steps, epochs, steps_per_epoch)
    lrs = group_rates(optimizer, lr)
    floor(min_lr, max(lrs))
    require_one_floor(min_lr, lrs, f'`wsd` with decay="cosine" and decay_steps={steps}')
    with starting_at(optimizer, lrs):
        return CosineAnnealingLR(optimizer, T_max=steps, eta_min=min_lr)

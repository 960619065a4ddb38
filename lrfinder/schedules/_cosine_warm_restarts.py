"""Half cosines, each from the full rate again."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingWarmRestarts

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.checks import check_count
from lrfinder.schedules._groups import floor, group_rates, require_one_floor, starting_at
from lrfinder.schedules._sizes import resolve_total_steps
from lrfinder.suggestion._suggestion import Suggestion


def cosine_warm_restarts(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    first_cycle: int,
    cycle_mult: int = 1,
    min_lr: float = 0.0,
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
) -> CosineAnnealingWarmRestarts:
    """Anneal the rates along half cosines to `min_lr`, each starting from the full rate.

    Takes the suggestion's `lr` as the rate at each restart: training returns to it, so it must
    be one that trains, not the edge of divergence.

    Args:
        optimizer: gets the first rates now.
        lr: a suggestion, or the rate of the largest group, > 0.
        first_cycle: optimizer steps until the first restart (`T_0`), >= 1.
        cycle_mult: each cycle is this many times as long as the one before (`T_mult`), >= 1.
        min_lr: rate that each cycle falls to, in [0, lr]. torch has one for all groups, so where
            they differ it must be 0.
        total_steps: optimizer steps of the training, >= 1.
        epochs: instead of `total_steps`, with `steps_per_epoch`.
        steps_per_epoch: optimizer steps in one epoch, >= 1.

    Raises:
        InvalidInputError: if an argument is out of range, the first cycle is longer than the
            training, or `min_lr` would break the groups' ratios.

    References:
        Loshchilov and Hutter (2017), SGDR: Stochastic gradient descent with warm restarts,
        section 3.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> def build(sgd):
        ...     return cosine_warm_restarts(sgd, 1.0, first_cycle=3, total_steps=6)
        >>> [lrs] = rates(build, sgd, 6)
        >>> [round(lr, 2) for lr in lrs]
        [1.0, 0.75, 0.25, 1.0, 0.75, 0.25]
    """
    steps = resolve_total_steps(total_steps, epochs, steps_per_epoch)
    check_count("first_cycle", first_cycle)
    check_count("cycle_mult", cycle_mult)
    if first_cycle > steps:
        raise InvalidInputError(
            f"expected first_cycle of at most the {steps} steps of the training, got "
            f"first_cycle={first_cycle}: the rate would never reach its floor"
        )
    lrs = group_rates(optimizer, lr)
    floor(min_lr, max(lrs))
    require_one_floor(min_lr, lrs, "min_lr=0")
    with starting_at(optimizer, lrs):
        return CosineAnnealingWarmRestarts(optimizer, first_cycle, cycle_mult, min_lr)

"""Half a cosine from the rate to a floor, once or again and again."""

from __future__ import annotations

from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR, CosineAnnealingWarmRestarts

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.checks import whole_number
from lrfinder.schedules._starting_rates import group_rates, relative_floor, starting_at
from lrfinder.suggestion import Suggestion


def cosine(
    optimizer: Optimizer, lr: Suggestion | float, *, total_steps: int, eta_min: float = 0.0
) -> CosineAnnealingLR:
    """Lower the rates along half a cosine, from `lr` at step 0 to `eta_min` at `total_steps`.

    The rate at step t is `eta_min + (lr - eta_min) * (1 + cos(pi * t / total_steps)) / 2`. After
    `total_steps` it follows the same formula, and so rises again.

    Args:
        optimizer: its rates are set to those of step 0.
        lr: a suggestion (its `lr` is used), or the first rate of the largest group, > 0.
        total_steps: optimizer steps of the training, >= 1.
        eta_min: the last rate, in [0, lr]. torch has one for all groups, so it must be 0 if their
            rates differ.

    Raises:
        InvalidInputError: if an argument is out of range, or `eta_min` would change the groups'
            ratios.

    References:
        Loshchilov and Hutter (2017), SGDR, arXiv:1608.03983, equation 5 with a single period.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> [lrs] = rates(lambda sgd: cosine(sgd, 1.0, total_steps=4), sgd, 5)
        >>> [round(lr, 2) for lr in lrs]
        [1.0, 0.85, 0.5, 0.15, 0.0]
    """
    total_steps = whole_number("total_steps", total_steps)
    lrs = group_rates(optimizer, lr)
    _check_eta_min(eta_min, lr, lrs, f'`wsd` with decay="cosine" and decay_steps={total_steps}')
    with starting_at(optimizer, lrs):
        return CosineAnnealingLR(optimizer, T_max=total_steps, eta_min=eta_min)


def cosine_warm_restarts(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    T_0: int,  # noqa: N803 - torch's name
    T_mult: int = 1,  # noqa: N803 - torch's name
    eta_min: float = 0.0,
) -> CosineAnnealingWarmRestarts:
    """Lower the rates along half a cosine again and again, each time from `lr` to `eta_min`.

    At step s of a cycle of T steps it is `eta_min + (lr - eta_min) * (1 + cos(pi * s / T)) / 2`.

    Args:
        optimizer: its rates are set to those of step 0.
        lr: a suggestion (its `lr` is used), or the largest group's rate at a restart, > 0.
        T_0: optimizer steps of the first cycle, >= 1.
        T_mult: each cycle has this many times as many steps as the one before, >= 1.
        eta_min: rate at the end of each cycle, in [0, lr]. torch has one for all groups, so it
            must be 0 if their rates differ.

    Raises:
        InvalidInputError: if an argument is out of range, or `eta_min` would change the groups'
            ratios.

    References:
        Loshchilov and Hutter (2017), SGDR, arXiv:1608.03983, section 3.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> [lrs] = rates(lambda sgd: cosine_warm_restarts(sgd, 1.0, T_0=3), sgd, 6)
        >>> [round(lr, 2) for lr in lrs]
        [1.0, 0.75, 0.25, 1.0, 0.75, 0.25]
    """
    T_0 = whole_number("T_0", T_0)  # noqa: N806 - torch's name
    T_mult = whole_number("T_mult", T_mult)  # noqa: N806 - torch's name
    lrs = group_rates(optimizer, lr)
    _check_eta_min(eta_min, lr, lrs, "eta_min=0")
    with starting_at(optimizer, lrs):
        return CosineAnnealingWarmRestarts(optimizer, T_0, T_mult, eta_min)


def _check_eta_min(
    eta_min: float, lr: Suggestion | float, lrs: Sequence[float], instead: str
) -> None:
    relative_floor("eta_min", eta_min, lr)
    if eta_min > 0 and min(lrs) != max(lrs):
        raise InvalidInputError(
            f"expected eta_min=0 for groups with the rates {[float(f'{lr:g}') for lr in lrs]}, got "
            f"eta_min={eta_min:g}: torch has one for all groups, which would change their ratios; "
            f"use {instead}"
        )

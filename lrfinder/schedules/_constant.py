"""One rate for the whole training."""

from __future__ import annotations

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ConstantLR

from lrfinder.schedules._groups import group_rates, starting_at
from lrfinder.suggestion._suggestion import Suggestion


def constant(optimizer: Optimizer, lr: Suggestion | float) -> ConstantLR:
    """Hold every parameter group at its rate.

    Takes the suggestion's `lr`: the rate for training at a constant rate, below the largest one
    that still trains.

    Args:
        optimizer: gets the rates now.
        lr: a suggestion, or the rate of the largest group, > 0.

    Raises:
        InvalidInputError: if the rate is not > 0, or a suggestion is for other groups.

    References:
        Bengio (2012), Practical recommendations for gradient-based training of deep
        architectures, section 3.1.1: a constant rate as the first one to tune, found below the
        largest that does not diverge.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> [lrs] = rates(lambda sgd: constant(sgd, 0.5), sgd, 3)
        >>> [round(lr, 2) for lr in lrs]
        [0.5, 0.5, 0.5]
    """
    with starting_at(optimizer, group_rates(optimizer, lr)):
        return ConstantLR(optimizer, factor=1.0, total_iters=1)

"""A factor of the user's at every step, on the first rate."""

from __future__ import annotations

from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lrfinder.schedules._groups import group_rates, starting_at
from lrfinder.suggestion._suggestion import Suggestion


def lambda_(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
) -> LambdaLR:
    """Scale the rates at every step by a factor that you compute.

    Takes the suggestion's `lr` as the rate where the factor is 1.

    Args:
        optimizer: gets the rates of step 0 now.
        lr: a suggestion, or the rate of the largest group, > 0.
        lr_lambda: from the optimizer step, >= 0, to the factor on the suggested rate; or one such
            function per parameter group. torch saves a callable object's state, not a function.

    Raises:
        InvalidInputError: if the rate is not > 0, or a suggestion is for other groups.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> def build(sgd):
        ...     return lambda_(sgd, 1.0, lr_lambda=lambda step: 1 / (1 + step))
        >>> [lrs] = rates(build, sgd, 4)
        >>> [round(lr, 2) for lr in lrs]
        [1.0, 0.5, 0.33, 0.25]
    """
    with starting_at(optimizer, group_rates(optimizer, lr)):
        return LambdaLR(optimizer, lr_lambda)

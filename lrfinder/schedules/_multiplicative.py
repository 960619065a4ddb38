"""A factor of the user's at every step, on the rate before it."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import MultiplicativeLR

from lrfinder.schedules._groups import group_rates, starting_at
from lrfinder.suggestion._suggestion import Suggestion


class _MultiplicativeLR(MultiplicativeLR):
    """`MultiplicativeLR` that can follow a warm-up.

    Where `SequentialLR` starts a scheduler in mid-training it asks for the closed form at step 0.
    torch's class has none and would go on from the last rate of the warm-up, below the full one.
    """

    def _get_closed_form_lr(self) -> list[float | Tensor]:
        return list(self.base_lrs)


def multiplicative(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    lr_lambda: Callable[[int], float] | list[Callable[[int], float]],
) -> MultiplicativeLR:
    """Multiply the rates at every step by a factor that you compute.

    Takes the suggestion's `lr` as the first rate; the first factor is that of step 1.

    Args:
        optimizer: gets the first rates now.
        lr: a suggestion, or the rate of the largest group, > 0.
        lr_lambda: from the optimizer step, >= 1, to the factor on the rate before it; or one such
            function per parameter group. torch saves a callable object's state, not a function.

    Raises:
        InvalidInputError: if the rate is not > 0, or a suggestion is for other groups.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> def build(sgd):
        ...     return multiplicative(sgd, 1.0, lr_lambda=lambda step: 0.5)
        >>> [lrs] = rates(build, sgd, 4)
        >>> [round(lr, 3) for lr in lrs]
        [1.0, 0.5, 0.25, 0.125]
    """
    with starting_at(optimizer, group_rates(optimizer, lr)):
        return _MultiplicativeLR(optimizer, lr_lambda)

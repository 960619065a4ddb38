"""A fixed factor whenever a metric stops getting better."""

from __future__ import annotations

from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import ReduceLROnPlateau

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.checks import check_count
from lrfinder.schedules._groups import floor, group_rates, starting_at
from lrfinder.suggestion._suggestion import Suggestion


def reduce_on_plateau(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    mode: Literal["min", "max"] = "min",
    factor: float = 0.1,
    patience: int = 10,
    cooldown: int = 0,
    min_lr: float = 0.0,
) -> ReduceLROnPlateau:
    """Multiply the rates by `factor` when a metric has not got better for a while.

    Call `scheduler.step(metric)` once per evaluation: it counts those, not optimizer steps, and
    knows no length of the training.

    Takes the suggestion's `lr` as the first rate: it is held, as a constant one, until the
    metric says otherwise.

    Args:
        optimizer: gets the first rates now.
        lr: a suggestion, or the rate of the largest group, > 0.
        mode: whether a lower or a higher metric is better.
        factor: factor of each reduction, in (0, 1).
        patience: evaluations without a better metric that are waited for, >= 0.
        cooldown: evaluations after a reduction that do not >= 0.
        min_lr: floor for the largest group, in [0, lr]; the others' are in the groups' ratios.

    Raises:
        InvalidInputError: if an argument is out of range.

    References:
        He et al. (2016), Deep residual learning for image recognition, section 3.4: the rate
        divided by 10 when the error plateaus.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> def build(sgd):
        ...     return reduce_on_plateau(sgd, 1.0, factor=0.1, patience=1)
        >>> [lrs] = rates(build, sgd, 4)
        >>> [round(lr, 2) for lr in lrs]
        [1.0, 1.0, 1.0, 0.1]
    """
    if not 0 < factor < 1:
        raise InvalidInputError(f"expected factor between 0 and 1, got factor={factor}")
    check_count("patience", patience, at_least=0)
    check_count("cooldown", cooldown, at_least=0)
    lrs = group_rates(optimizer, lr)
    lowest = floor(min_lr, max(lrs))
    with starting_at(optimizer, lrs):
        return ReduceLROnPlateau(
            optimizer,
            mode=mode,
            factor=factor,
            patience=patience,
            cooldown=cooldown,
            min_lr=[lowest * rate for rate in lrs],
            eps=0.0,  # torch's 1e-8 would leave a group with a small rate behind the others
        )

"""A fixed factor at chosen steps."""

from __future__ import annotations

from collections.abc import Sequence

from torch.optim import Optimizer
from torch.optim.lr_scheduler import MultiStepLR

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.checks import check_count
from lrfinder.schedules._groups import fraction, group_rates, starting_at
from lrfinder.schedules._sizes import require_shorter, resolve_total_steps
from lrfinder.suggestion._suggestion import Suggestion


def multistep(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    milestones: Sequence[int],
    gamma: float = 0.1,
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
) -> MultiStepLR:
    """Multiply the rates by `gamma` at each of the milestones.

    Takes the suggestion's `lr` as the first rate: the drops only ever lower it.

    Args:
        optimizer: gets the first rates now.
        lr: a suggestion, or the rate of the largest group, > 0.
        milestones: the optimizer steps of the drops, each in [1, total_steps - 1].
        gamma: factor of each drop, in (0, 1].
        total_steps: optimizer steps of the training, >= 1.
        epochs: instead of `total_steps`, with `steps_per_epoch`.
        steps_per_epoch: optimizer steps in one epoch, >= 1.

    Raises:
        InvalidInputError: if an argument is out of range or a milestone is not inside the training.

    References:
        He et al. (2016), Deep residual learning for image recognition, section 4.2: the rate
        divided by 10 after a half and three quarters of the training.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> def build(sgd):
        ...     return multistep(sgd, 1.0, milestones=[1, 3], gamma=0.1, total_steps=4)
        >>> [lrs] = rates(build, sgd, 4)
        >>> [round(lr, 2) for lr in lrs]
        [1.0, 0.1, 0.1, 0.01]
    """
    steps = resolve_total_steps(total_steps, epochs, steps_per_epoch)
    if not milestones:
        raise InvalidInputError("expected at least one milestone, got none; use `constant` instead")
    for milestone in milestones:
        check_count("milestones", milestone)
    require_shorter("milestones", max(milestones), steps, "the last drop would never come")
    fraction("gamma", gamma)
    with starting_at(optimizer, group_rates(optimizer, lr)):
        return MultiStepLR(optimizer, milestones, gamma)

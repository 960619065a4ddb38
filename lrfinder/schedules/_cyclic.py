"""The rate up and down between two bounds, for as long as training lasts."""

from __future__ import annotations

from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.checks import check_count
from lrfinder.schedules._groups import fraction, group_rates, positive, starting_at
from lrfinder.schedules._momentum import cycled_momentum
from lrfinder.schedules._sizes import require_shorter, resolve_total_steps
from lrfinder.suggestion._suggestion import Suggestion


def cyclic(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    step_size_up: int,
    step_size_down: int | None = None,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    gamma: float = 1.0,
    min_lr: float | None = None,
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
) -> CyclicLR:
    """Move the rates up and down between the suggestion's two bounds.

    Takes the suggestion's `min_lr` and `max_lr`: the range test reads both from one curve, where
    the loss starts to fall and where it stops to. A plain number is the upper bound, and then
    `min_lr` must be given.

    Momentum moves the other way, from 0.9 down to 0.8, torch's bounds, in the parameter groups
    that have one (SGD and RMSprop with momentum, Muon, the first beta of Adam and its kin).

    Args:
        optimizer: gets the lower bounds now.
        lr: a suggestion, or the upper bound for the largest group, > 0.
        step_size_up: optimizer steps from the lower bound to the upper, in [1, total_steps - 1];
            2 to 10 epochs.
        step_size_down: optimizer steps back, >= 1; `step_size_up` if not given.
        mode: "triangular" keeps the height of the cycles, "triangular2" halves it after each
            one, "exp_range" shrinks it by `gamma` at each step.
        gamma: factor of one optimizer step for "exp_range", in (0, 1].
        min_lr: lower bound for the largest group, > 0, instead of the suggestion's.
        total_steps: optimizer steps of the training, >= 1.
        epochs: instead of `total_steps`, with `steps_per_epoch`.
        steps_per_epoch: optimizer steps in one epoch, >= 1.

    Raises:
        InvalidInputError: if an argument is out of range, there is no lower bound, it is not below
            the upper one, or the training ends before the first peak.

    References:
        Smith (2017), Cyclical learning rates for training neural networks, section 3.3 for the
        bounds, section 3.2 for the length of a cycle.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> def build(sgd):
        ...     return cyclic(sgd, 1.0, min_lr=0.2, step_size_up=2, total_steps=6)
        >>> [lrs] = rates(build, sgd, 6)
        >>> [round(lr, 2) for lr in lrs]
        [0.2, 0.6, 1.0, 0.6, 0.2, 0.6]
    """
    steps = resolve_total_steps(total_steps, epochs, steps_per_epoch)
    check_count("step_size_up", step_size_up)
    require_shorter("step_size_up", step_size_up, steps, "the rate would never reach its peak")
    if step_size_down is not None:
        check_count("step_size_down", step_size_down)
    lower, upper = _bounds(lr, min_lr)
    base_lrs = group_rates(optimizer, lr, lower)
    max_lrs = group_rates(optimizer, lr, upper)
    with starting_at(optimizer, base_lrs):
        return CyclicLR(
            optimizer,
            base_lrs,
            max_lrs,
            step_size_up=step_size_up,
            step_size_down=step_size_down,
            mode=mode,
            gamma=fraction("gamma", gamma),
            **cycled_momentum(optimizer, low=0.8, high=0.9),
        )


def _bounds(lr: Suggestion | float, min_lr: float | None) -> tuple[float, float]:
    upper = positive("lr", lr.max_lr if isinstance(lr, Suggestion) else lr)
    lower = lr.min_lr if isinstance(lr, Suggestion) and min_lr is None else min_lr
    if lower is None:
        raise InvalidInputError(
            f"expected min_lr beside the plain rate {upper:g}, which is the upper bound, got none; "
            f"a third or a quarter of it is usual: min_lr={upper / 4:g}"
        )
    if positive("min_lr", lower) >= upper:
        raise InvalidInputError(
            f"expected min_lr below the upper bound {upper:g}, got min_lr={lower:g}"
        )
    return lower, upper

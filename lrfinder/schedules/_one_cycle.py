"""One long cycle: up to a high rate, and down to almost nothing."""

from __future__ import annotations

from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import OneCycleLR

from lrfinder._errors import InvalidInputError
from lrfinder.schedules._groups import group_rates, positive, starting_at
from lrfinder.schedules._momentum import cycled_momentum
from lrfinder.schedules._sizes import resolve_total_steps
from lrfinder.suggestion._suggestion import Suggestion


def one_cycle(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    pct_start: float = 0.3,
    anneal_strategy: Literal["cos", "linear"] = "cos",
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
) -> OneCycleLR:
    """Raise the rates to the suggestion's upper bound, then anneal them to almost nothing.

    Takes the suggestion's `max_lr`: the peak lasts for a moment only, and the high rate around
    it regularizes, so it is the largest at which the range test still trained. A plain number
    is the peak.

    Momentum moves the other way, from 0.95 down to 0.85 and back, torch's bounds, in the
    parameter groups that have one (SGD and RMSprop with momentum, Muon, the first beta of Adam
    and its kin). torch raises if the loop goes on after `total_steps`.

    Args:
        optimizer: gets the first rates now.
        lr: a suggestion, or the peak rate of the largest group, > 0.
        pct_start: fraction of the training in which the rate rises, in (0, 1).
        anneal_strategy: along cosines or straight lines.
        div_factor: the first rate is the peak divided by this, > 0.
        final_div_factor: the last rate is the first one divided by this, > 0.
        three_phase: go down as long as up, then anneal, as in the paper; with `pct_start` <= 0.5.
        total_steps: optimizer steps of the training.
        epochs: instead of `total_steps`, with `steps_per_epoch`.
        steps_per_epoch: optimizer steps in one epoch, >= 1.

    Raises:
        InvalidInputError: if an argument is out of range, or a phase of the cycle has no step.

    References:
        Smith and Topin (2018), Super-convergence: Very fast training of neural networks using
        large learning rates, section 3.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> [lrs] = rates(lambda sgd: one_cycle(sgd, 1.0, total_steps=6, pct_start=0.5), sgd, 6)
        >>> [round(lr, 2) for lr in lrs]
        [0.04, 0.52, 1.0, 0.75, 0.25, 0.0]
    """
    steps = resolve_total_steps(total_steps, epochs, steps_per_epoch)
    _require_every_phase(steps, float(pct_start), three_phase)
    if anneal_strategy not in ("cos", "linear"):
        raise InvalidInputError(
            f"expected anneal_strategy 'cos' or 'linear', got {anneal_strategy!r}"
        )
    peak = lr.max_lr if isinstance(lr, Suggestion) else float(lr)
    max_lrs = group_rates(optimizer, lr, peak)
    with starting_at(optimizer, max_lrs):
        return OneCycleLR(
            optimizer,
            max_lrs,
            total_steps=steps,
            pct_start=float(pct_start),
            anneal_strategy=anneal_strategy,
            div_factor=positive("div_factor", div_factor),
            final_div_factor=positive("final_div_factor", final_div_factor),
            three_phase=three_phase,
            **cycled_momentum(optimizer, low=0.85, high=0.95),
        )


def _require_every_phase(steps: int, pct_start: float, three_phase: bool) -> None:
    # torch's phases end at the steps `rise - 1`, `2 * rise - 2` (three phases) and `steps - 1`.
    rise = pct_start * steps
    if not rise > 1:
        raise InvalidInputError(
            f"expected more than one step in which the rate rises, got pct_start={pct_start} of "
            f"total_steps={steps}, which is {rise:g}"
        )
    before_last = 2 * rise - 1 if three_phase else rise
    if not before_last < steps:
        raise InvalidInputError(
            f"expected steps left to anneal in, got pct_start={pct_start} of total_steps={steps} "
            f"with three_phase={three_phase}: the phases before the last take {before_last:g} steps"
        )

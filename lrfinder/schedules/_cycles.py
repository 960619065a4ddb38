"""Rates that go up and down: many cycles, or one over the whole training."""

from __future__ import annotations

from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import CyclicLR, OneCycleLR

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.checks import optional_whole_number, whole_number
from lrfinder._sweep.param_groups import group_ratios
from lrfinder.schedules._starting_rates import group_rates, positive, real_number, starting_at
from lrfinder.suggestion import Suggestion


def cyclic(
    optimizer: Optimizer,
    max_lr: Suggestion | float,
    *,
    base_lr: float | None = None,
    step_size_up: int,
    step_size_down: int | None = None,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    gamma: float = 1.0,
) -> CyclicLR:
    """Move the rates up and down between two bounds: `base_lr + (max_lr - base_lr) * f`.

    f rises from 0 to 1 in `step_size_up` steps and falls in `step_size_down`. Momentum moves the
    other way, from 0.9 to 0.8, in the groups that use one (or the first beta of Adam and the like).

    Args:
        optimizer: its rates are set to the lower bounds.
        max_lr: a suggestion (its `max_lr` and `min_lr` are the bounds), or the upper bound of the
            largest group, > 0.
        base_lr: lower bound of the largest group, in (0, max_lr); the other groups keep their
            ratios. None for the `min_lr` of the suggestion; needed if `max_lr` is a number.
        step_size_up: optimizer steps from the lower bound to the upper one, >= 1; usually those of
            2 to 10 epochs.
        step_size_down: optimizer steps back, >= 1; `step_size_up` if not given.
        mode: "triangular" keeps the height of the cycles, "triangular2" halves it after each cycle,
            "exp_range" multiplies it by `gamma` at each step.
        gamma: factor of one optimizer step for "exp_range", in (0, 1].

    Raises:
        InvalidInputError: if an argument is out of range, or there is no `base_lr`.
        ValueError: if `mode` is unknown.

    References:
        Smith (2017), Cyclical learning rates, arXiv:1506.01186, sections 3.2 and 3.3.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> rates(lambda sgd: cyclic(sgd, max_lr=1.0, base_lr=0.5, step_size_up=2), sgd, 5)
        [[0.5, 0.75, 1.0, 0.75, 0.5]]
    """
    step_size_up = whole_number("step_size_up", step_size_up)
    step_size_down = optional_whole_number("step_size_down", step_size_down)
    upper = group_rates(optimizer, max_lr, "max_lr")
    if base_lr is None:
        if not isinstance(max_lr, Suggestion):
            raise InvalidInputError(
                f"expected base_lr together with the number max_lr={max(upper):g}, got none; a "
                f"quarter of max_lr is usual: base_lr={max(upper) / 4:g}"
            )
        lower = group_rates(optimizer, max_lr, "min_lr")
    else:
        lower = [positive("base_lr", base_lr) * ratio for ratio in group_ratios(upper)]
    if max(lower) >= max(upper):
        raise InvalidInputError(
            f"expected base_lr to be below max_lr={max(upper):g}, got {max(lower):g}"
        )
    with starting_at(optimizer, lower):
        return CyclicLR(
            optimizer,
            lower,
            upper,
            step_size_up=step_size_up,
            step_size_down=step_size_down,
            mode=mode,
            gamma=positive("gamma", gamma, at_most=1),
            **_cycled_momentum(optimizer, low=0.8, high=0.9),
        )


def one_cycle(
    optimizer: Optimizer,
    max_lr: Suggestion | float,
    *,
    total_steps: int,
    pct_start: float = 0.3,
    anneal_strategy: Literal["cos", "linear"] = "cos",
    div_factor: float = 25.0,
    final_div_factor: float = 1e4,
    three_phase: bool = False,
) -> OneCycleLR:
    """Raise the rates to a peak, then lower them to almost zero, over the whole training.

    They go from `max_lr / div_factor` at step 0 to `max_lr` at step `pct_start * total_steps - 1`
    and to `max_lr / div_factor / final_div_factor` at the last step. Momentum moves the other way,
    from 0.95 to 0.85 and back, in the groups that use one (or the first beta of Adam and the like).

    Args:
        optimizer: its rates are set to those of step 0.
        max_lr: a suggestion (its `max_lr` is used), or the peak of the largest group, > 0.
        total_steps: optimizer steps of the training; after them torch raises.
        pct_start: fraction of the training in which the rate rises, in (0, 1).
        anneal_strategy: half cosines ("cos") or straight lines ("linear").
        div_factor: `max_lr` divided by the first rate, > 0.
        final_div_factor: first rate divided by the last one, > 0.
        three_phase: go down to the first rate as fast as up, then anneal, as in the paper; needs
            `pct_start` <= 0.5.

    Raises:
        InvalidInputError: if an argument is out of range, or a phase of the cycle has no step.
        ValueError: if `anneal_strategy` is unknown.

    References:
        Smith and Topin (2018), Super-convergence, arXiv:1708.07120, section 3.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> [lrs] = rates(lambda sgd: one_cycle(sgd, 1.0, total_steps=6, pct_start=0.5), sgd, 6)
        >>> [round(lr, 2) for lr in lrs]
        [0.04, 0.52, 1.0, 0.75, 0.25, 0.0]
    """
    total_steps = whole_number("total_steps", total_steps)
    # torch's phases end at the steps `rise - 1`, `2 * rise - 2` (three phases), `total_steps - 1`.
    pct_start = real_number("pct_start", pct_start)
    rise = pct_start * total_steps
    before_last = 2 * rise - 1 if three_phase else rise
    if not (rise > 1 and before_last < total_steps):
        raise InvalidInputError(
            "expected more than one step in which the rate rises, and steps left to anneal in, got "
            f"pct_start={pct_start} of total_steps={total_steps} with three_phase={three_phase}: "
            f"the rate rises for {rise:g} steps, and the last phase begins after {before_last:g}"
        )
    lrs = group_rates(optimizer, max_lr, "max_lr")
    with starting_at(optimizer, lrs):
        return OneCycleLR(
            optimizer,
            lrs,
            total_steps=total_steps,
            pct_start=pct_start,
            anneal_strategy=anneal_strategy,
            div_factor=positive("div_factor", div_factor),
            final_div_factor=positive("final_div_factor", final_div_factor),
            three_phase=three_phase,
            **_cycled_momentum(optimizer, low=0.85, high=0.95),
        )


def _cycled_momentum(optimizer: Optimizer, low: float, high: float) -> dict[str, Any]:
    """Return the momentum arguments of `CyclicLR` and `OneCycleLR` that fit the optimizer.

    torch only asks whether the optimizer has the option, and so would switch on the momentum of an
    SGD or RMSprop that trains without. A group without momentum keeps 0.
    """
    momenta: list[float] = []
    if "betas" in optimizer.defaults:  # first, as in torch, which never cycles both
        momenta = [group["betas"][0] for group in optimizer.param_groups]
    elif "momentum" in optimizer.defaults:
        momenta = [group["momentum"] for group in optimizer.param_groups]
    if not any(momenta):
        return {"cycle_momentum": False}
    return {
        "cycle_momentum": True,
        "base_momentum": [low if momentum else 0.0 for momentum in momenta],
        "max_momentum": [high if momentum else 0.0 for momentum in momenta],
    }

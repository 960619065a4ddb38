"""Warm-up, a stable phase, and a decay at the end (WSD)."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.checks import check_count
from lrfinder.schedules._groups import floor, group_rates, starting_at
from lrfinder.schedules._sizes import resolve_total_steps
from lrfinder.suggestion._suggestion import Suggestion

# From the fraction of the decay that is done, in [0, 1], to what is left of the rate.
_DECAYS: dict[str, Callable[[float], float]] = {
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "1-sqrt": lambda done: 1 - math.sqrt(done),
}


@dataclass(frozen=True)
class WsdFactor:
    """The factor on the stable rate at each step; an object, so that torch saves it.

    >>> factor = WsdFactor(
    ...     warmup_steps=2, decay_steps=4, total_steps=10, decay="linear", floor=0.0
    ... )
    >>> [factor(step) for step in (0, 1, 2, 6, 8, 10, 11)]
    [0.0, 0.5, 1.0, 1.0, 0.5, 0.0, 0.0]
    """

    warmup_steps: int
    decay_steps: int
    total_steps: int
    decay: str
    floor: float

    def __call__(self, step: int) -> float:
        """Return the factor at an optimizer step, >= 0."""
        return self.floor + (1 - self.floor) * self._above_floor(step)

    def _above_floor(self, step: int) -> float:
        if step < self.warmup_steps:
            return step / self.warmup_steps
        done = 1 - (self.total_steps - step) / self.decay_steps
        return _DECAYS[self.decay](min(max(done, 0.0), 1.0))


def wsd(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    decay_steps: int,
    warmup_steps: int = 0,
    min_lr: float = 0.0,
    decay: Literal["linear", "cosine", "1-sqrt"] = "linear",
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
) -> LambdaLR:
    """Warm the rates up, hold them, and decay them in the last `decay_steps`.

    The warm-up is the straight line from `min_lr` at step 0; the stable phase is what the two
    others leave of the training; from `total_steps` on the rate is `min_lr`.

    Takes the suggestion's `lr` as the stable rate: most of the training is at a constant rate.

    Args:
        optimizer: gets the rates of step 0 now.
        lr: a suggestion, or the rate of the largest group, > 0.
        decay_steps: optimizer steps of the decay, >= 1; a tenth to a fifth of the training is
            usual.
        warmup_steps: optimizer steps of the linear warm-up, >= 0.
        min_lr: floor for the largest group, in [0, lr]; the others' are in the groups' ratios.
        decay: shape of the decay.
        total_steps: optimizer steps of the training, >= 1.
        epochs: instead of `total_steps`, with `steps_per_epoch`.
        steps_per_epoch: optimizer steps in one epoch, >= 1.

    Raises:
        InvalidInputError: if an argument is out of range, or warm-up and decay together are
            longer than the training.

    References:
        Hu et al. (2024), MiniCPM: Unveiling the potential of small language models with scalable
        training strategies, section 4.2: the three phases.
        Hägele et al. (2024), Scaling laws and compute-optimal training beyond fixed training
        durations, section 3: a short decay is enough; the shape 1 - sqrt.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> def build(sgd):
        ...     return wsd(sgd, 1.0, warmup_steps=2, decay_steps=2, total_steps=6)
        >>> [lrs] = rates(build, sgd, 6)
        >>> [round(lr, 2) for lr in lrs]
        [0.0, 0.5, 1.0, 1.0, 1.0, 0.5]
    """
    steps = resolve_total_steps(total_steps, epochs, steps_per_epoch)
    check_count("warmup_steps", warmup_steps, at_least=0)
    check_count("decay_steps", decay_steps)
    if decay not in _DECAYS:
        raise InvalidInputError(f"expected decay to be one of {sorted(_DECAYS)}, got {decay!r}")
    if warmup_steps + decay_steps > steps:
        raise InvalidInputError(
            f"expected warm-up and decay to fit into the {steps} steps of the training, got "
            f"warmup_steps={warmup_steps} + decay_steps={decay_steps} = "
            f"{warmup_steps + decay_steps}"
        )
    lrs = group_rates(optimizer, lr)
    factor = WsdFactor(
        warmup_steps=warmup_steps,
        decay_steps=decay_steps,
        total_steps=steps,
        decay=decay,
        floor=floor(min_lr, max(lrs)),
    )
    with starting_at(optimizer, lrs):
        return LambdaLR(optimizer, factor)

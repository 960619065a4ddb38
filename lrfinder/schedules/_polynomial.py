"""Polynomial decay to a floor, with a linear warm-up onto its curve."""

from __future__ import annotations

from dataclasses import dataclass

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from lrfinder._sweep.checks import check_count
from lrfinder.schedules._groups import floor, group_rates, positive, starting_at
from lrfinder.schedules._sizes import require_shorter, resolve_total_steps
from lrfinder.suggestion._suggestion import Suggestion


@dataclass(frozen=True)
class PolynomialFactor:
    """The factor on the first rate at each step; an object, so that torch saves it.

    >>> factor = PolynomialFactor(
    ...     power=1.0, warmup_steps=2, total_steps=10, floor=0.0, step_size=1
    ... )
    >>> [round(factor(step), 2) for step in (0, 1, 2, 3, 9, 10, 11)]
    [0.0, 0.4, 0.8, 0.7, 0.1, 0.0, 0.0]
    """

    power: float
    warmup_steps: int
    total_steps: int
    floor: float
    step_size: int

    def __call__(self, step: int) -> float:
        """Return the factor at an optimizer step, >= 0."""
        if step >= self.total_steps:
            return self.floor
        moved = step - step % self.step_size
        return self.floor + (1 - self.floor) * self._above_floor(moved)

    def _above_floor(self, step: int) -> float:
        if step < self.warmup_steps:
            return step / self.warmup_steps * self._curve(self.warmup_steps)
        return self._curve(step)

    def _curve(self, step: int) -> float:
        return float((1 - step / self.total_steps) ** self.power)


def polynomial(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    power: float = 0.9,
    warmup_steps: int = 0,
    min_lr: float = 0.0,
    step_size: int = 1,
    total_steps: int | None = None,
    epochs: int | None = None,
    steps_per_epoch: int | None = None,
) -> LambdaLR:
    """Decay the rates as a power of what is left of the training, down to `min_lr`.

    With T = `total_steps` and W = `warmup_steps`, the rate at step t is
    `min_lr + (lr - min_lr) * (1 - t / T) ** power`. Below W it is on the straight line from
    `min_lr` to that curve's value at W; from T on it is `min_lr`.

    Takes the suggestion's `lr` as the rate of the curve at step 0: warm-up or not, the decay
    starts there, and no rate lies above it.

    Args:
        optimizer: gets the rates of step 0 now.
        lr: a suggestion, or the rate of the largest group, > 0.
        power: exponent, > 0; 1 is a straight line.
        warmup_steps: optimizer steps of the linear warm-up, in [0, total_steps - 1].
        min_lr: floor for the largest group, in [0, lr]; the others' are in the groups' ratios.
        step_size: the rate moves once in so many optimizer steps, in [1, total_steps - 1].
        total_steps: optimizer steps of the training, >= 1.
        epochs: instead of `total_steps`, with `steps_per_epoch`.
        steps_per_epoch: optimizer steps in one epoch, >= 1.

    Raises:
        InvalidInputError: if an argument is out of range, the rate would never leave its warm-up,
            or never move.

    References:
        Zheng et al. (2021), Rethinking semantic segmentation from a sequence-to-sequence
        perspective with transformers (SETR), section 4.1: the decay, whose code starts the
        curve at step 0 whatever the warm-up; `power=0.9`.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> [lrs] = rates(lambda sgd: polynomial(sgd, 1.0, power=2.0, total_steps=4), sgd, 5)
        >>> [round(lr, 3) for lr in lrs]
        [1.0, 0.562, 0.25, 0.062, 0.0]
    """
    steps = resolve_total_steps(total_steps, epochs, steps_per_epoch)
    check_count("warmup_steps", warmup_steps, at_least=0)
    check_count("step_size", step_size)
    require_shorter("warmup_steps", warmup_steps, steps, "the rate would never leave its warm-up")
    if steps > 1:
        require_shorter("step_size", step_size, steps, "the rate would never move")
    lrs = group_rates(optimizer, lr)
    factor = PolynomialFactor(
        power=positive("power", power),
        warmup_steps=warmup_steps,
        total_steps=steps,
        floor=floor(min_lr, max(lrs)),
        step_size=step_size,
    )
    with starting_at(optimizer, lrs):
        return LambdaLR(optimizer, factor)

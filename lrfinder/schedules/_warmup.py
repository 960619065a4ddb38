"""Schedules with a linear warm-up: `polynomial`, `wsd`, and `warmup` for any other."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from torch.optim import Optimizer
from torch.optim.lr_scheduler import (
    ChainedScheduler,
    LambdaLR,
    LinearLR,
    LRScheduler,
    ReduceLROnPlateau,
    SequentialLR,
)

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.checks import whole_number
from lrfinder._sweep.param_groups import learning_rates
from lrfinder.schedules._starting_rates import group_rates, positive, relative_floor, starting_at
from lrfinder.suggestion import Suggestion

# From the fraction of the decay that is done, in [0, 1], to the fraction of the rate that is left.
_DECAYS: dict[str, Callable[[float], float]] = {
    "linear": lambda done: 1 - done,
    "cosine": lambda done: (1 + math.cos(math.pi * done)) / 2,
    "1-sqrt": lambda done: 1 - math.sqrt(done),
}


@dataclass(frozen=True)
class _Factor:
    """The factor on the rate in warm-up, stable phase and decay.

    An object, not a function, so that the scheduler's `state_dict` has its numbers. The decay takes
    the last `decay_steps`; the warm-up ends on its curve. `floor` is a factor too.
    """

    total_steps: int
    warmup_steps: int
    decay_steps: int
    floor: float
    decay: str
    power: float = 1.0
    step_size: int = 1

    def __call__(self, step: int) -> float:
        if step >= self.total_steps:
            return self.floor
        step -= step % self.step_size
        rise = step / self.warmup_steps if step < self.warmup_steps else 1.0
        start = self.total_steps - self.decay_steps
        done = max(step - start, self.warmup_steps - start, 0) / self.decay_steps
        left: float = _DECAYS[self.decay](done) ** self.power
        return self.floor + (1 - self.floor) * (rise * left)


def polynomial(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    total_steps: int,
    power: float = 0.9,
    warmup_steps: int = 0,
    eta_min: float = 0.0,
    step_size: int = 1,
) -> LambdaLR:
    """Lower the rates as a power of the remaining training, from `lr` to `eta_min`.

    The rate at step t is `eta_min + (lr - eta_min) * (1 - t / total_steps) ** power`. The warm-up
    is the straight line from `eta_min` at step 0 to that curve at `warmup_steps`, so no rate is
    above `lr`. From `total_steps` on the rate is `eta_min`. With a `step_size`, the rate at step t
    is that of the last multiple of `step_size`, in the warm-up too.

    Args:
        optimizer: its rates are set to those of step 0.
        lr: a suggestion (its `lr` is used), or the rate of the largest group at the start of the
            curve, > 0.
        total_steps: optimizer steps of the training, >= 1.
        power: exponent, > 0; 1 is a straight line.
        warmup_steps: optimizer steps of the warm-up, in [0, total_steps - 1].
        eta_min: last rate of the largest group, in [0, lr]; the other groups keep their ratios.
        step_size: optimizer steps between two changes of the rate, in [1, total_steps - 1], or 1.

    Raises:
        InvalidInputError: if an argument is out of range.

    References:
        Zheng et al. (2021), SETR, arXiv:2012.15840, section 4.1.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> rates(lambda sgd: polynomial(sgd, 1.0, power=2.0, total_steps=4), sgd, 5)
        [[1.0, 0.5625, 0.25, 0.0625, 0.0]]
    """
    total_steps = whole_number("total_steps", total_steps)
    warmup_steps = whole_number("warmup_steps", warmup_steps, at_least=0)
    step_size = whole_number("step_size", step_size)
    if warmup_steps >= total_steps or step_size >= max(total_steps, 2):
        raise InvalidInputError(
            f"expected warmup_steps and step_size to be below total_steps={total_steps}, got "
            f"warmup_steps={warmup_steps} and step_size={step_size}; all are optimizer steps"
        )
    power, lrs = positive("power", power), group_rates(optimizer, lr)
    floor = relative_floor("eta_min", eta_min, lr)
    factor = _Factor(total_steps, warmup_steps, total_steps, floor, "linear", power, step_size)
    with starting_at(optimizer, lrs):
        return LambdaLR(optimizer, factor)


def wsd(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    total_steps: int,
    decay_steps: int,
    warmup_steps: int = 0,
    eta_min: float = 0.0,
    decay: Literal["linear", "cosine", "1-sqrt"] = "linear",
) -> LambdaLR:
    """Warm the rates up, hold them at `lr`, and lower them in the last `decay_steps`.

    The warm-up is a straight line from `eta_min` at step 0. In the decay, with d from 0 to 1, the
    rate is `eta_min + (lr - eta_min) * f`, where f is `1 - d`, `(1 + cos(pi * d)) / 2` or
    `1 - sqrt(d)`. From `total_steps` on it is `eta_min`.

    Args:
        optimizer: its rates are set to those of step 0.
        lr: a suggestion (its `lr` is used), or the stable rate of the largest group, > 0.
        total_steps: optimizer steps of the training, >= 1.
        decay_steps: optimizer steps of the decay, >= 1; usually 10 to 20 % of the training.
        warmup_steps: optimizer steps of the warm-up, >= 0.
        eta_min: lowest rate of the largest group, in [0, lr]; the other groups keep their ratios.
        decay: shape of the decay.

    Raises:
        InvalidInputError: if an argument is out of range, or warm-up and decay together are longer
            than the training.

    References:
        Hu et al. (2024), MiniCPM, arXiv:2404.06395, section 4.2: the three phases.
        Hägele et al. (2024), Scaling laws beyond fixed training durations, arXiv:2405.18392,
        section 3: the length of the decay, and the shape 1 - sqrt.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> rates(lambda sgd: wsd(sgd, 1.0, warmup_steps=2, decay_steps=2, total_steps=5), sgd, 6)
        [[0.0, 0.5, 1.0, 1.0, 0.5, 0.0]]
    """
    total_steps = whole_number("total_steps", total_steps)
    warmup_steps = whole_number("warmup_steps", warmup_steps, at_least=0)
    decay_steps = whole_number("decay_steps", decay_steps)
    if decay not in _DECAYS:
        raise InvalidInputError(f"expected decay to be one of {sorted(_DECAYS)}, got {decay!r}")
    if warmup_steps + decay_steps > total_steps:
        raise InvalidInputError(
            f"expected warmup_steps + decay_steps <= total_steps={total_steps}, got "
            f"{warmup_steps} + {decay_steps} = {warmup_steps + decay_steps}"
        )
    lrs = group_rates(optimizer, lr)
    floor = relative_floor("eta_min", eta_min, lr)
    with starting_at(optimizer, lrs):
        return LambdaLR(optimizer, _Factor(total_steps, warmup_steps, decay_steps, floor, decay))


def warmup(
    optimizer: Optimizer,
    lr: Suggestion | float,
    *,
    then: Callable[..., LRScheduler],
    warmup_steps: int,
    start_factor: float = 0.01,
    total_steps: int | None = None,
    **settings: Any,
) -> SequentialLR:
    """Raise the rates on a straight line to where another schedule starts, then follow that one.

    With `first`, the first rate of `then`, the rate at step t of the warm-up is
    `first * (start_factor + (1 - start_factor) * t / warmup_steps)`.

    Args:
        optimizer: its rates are set to those of step 0.
        lr: what `then` takes: a suggestion or a number > 0, for `one_cycle` the peak.
        then: a schedule of this package, or `then(optimizer, lr, **settings)` of your own.
        warmup_steps: optimizer steps of the warm-up, >= 1.
        start_factor: first rate as a fraction of the one warmed up to, in (0, 1].
        total_steps: optimizer steps of the whole training, warm-up included, > `warmup_steps`.
            Needed if `then` takes `total_steps`: it gets the steps after the warm-up.
        **settings: the other keyword arguments of `then`.

    Raises:
        InvalidInputError: if an argument is out of range, or torch's `SequentialLR` cannot start
            `then` after a warm-up.

    References:
        Goyal et al. (2017), Accurate, large minibatch SGD, arXiv:1706.02677, section 2.2.

    Example:
        >>> import torch
        >>> from lrfinder.schedules import cosine, rates
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> build = lambda sgd: warmup(sgd, 1.0, then=cosine, warmup_steps=2, total_steps=6)
        >>> [round(lr, 2) for lr in rates(build, sgd, 7)[0]]
        [0.01, 0.51, 1.0, 0.85, 0.5, 0.15, 0.0]
    """
    warmup_steps = whole_number("warmup_steps", warmup_steps)
    start_factor = positive("start_factor", start_factor, at_most=1)
    if total_steps is not None:
        total_steps = whole_number("total_steps", total_steps)
        if total_steps <= warmup_steps:
            raise InvalidInputError(
                f"expected warmup_steps to be below total_steps={total_steps}, got {warmup_steps}; "
                "both are optimizer steps"
            )
        settings["total_steps"] = total_steps - warmup_steps
    with starting_at(optimizer, group_rates(optimizer, lr)):
        following = then(optimizer, lr, **settings)
        if isinstance(following, (ReduceLROnPlateau, SequentialLR, ChainedScheduler)):
            raise InvalidInputError(
                "expected `then` to build a single schedule of optimizer steps, got "
                f"{type(following).__name__}, which cannot follow a warm-up; after "
                "`reduce_on_plateau(...)` you can build torch's LinearLR on the same optimizer, "
                "and step each of the two by itself"
            )
        # `then` may not start at its base rates: its first factor need not be 1.
        with starting_at(optimizer, learning_rates(optimizer)):
            rise = LinearLR(optimizer, start_factor, total_iters=warmup_steps)
            return SequentialLR(optimizer, [rise, following], [warmup_steps])

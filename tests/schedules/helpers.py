"""Every schedule beside its closed form, written down again from the sources.

A closed form gives the rate of the largest parameter group at step t; the others follow in the
groups' ratios.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lrfinder import Suggestion
from lrfinder import schedules as s

LR, MIN_LR, MAX_LR = 3e-3, 4e-4, 1e-2
T = 60  # steps of every training here
W = 7  # steps of every warm-up here
RATIOS = {"one group": (1.0,), "ratios": (0.1, 1.0, 0.1), "frozen": (1.0, 0.3, 0.0)}


def suggestion(ratios: tuple[float, ...] = (1.0,)) -> Suggestion:
    return Suggestion(
        lr=LR,
        method="steepest",
        why="made by hand",
        min_lr=MIN_LR,
        max_lr=MAX_LR,
        lrs=tuple(LR * ratio for ratio in ratios),
    )


def optimizer_with(
    ratios: tuple[float, ...] = (1.0,),
    kind: Callable[..., Optimizer] = torch.optim.SGD,
    lr: float = 0.5,
    **options: Any,
) -> Optimizer:
    groups = [{"params": [torch.zeros(2, 2)], "lr": lr * ratio} for ratio in ratios]
    return kind(groups, lr=lr, **options)


def tensor_optimizer() -> Optimizer:
    return torch.optim.SGD([torch.zeros(1)], lr=torch.tensor(0.5, dtype=torch.float64))


def training_rates(
    optimizer: Optimizer, scheduler: LRScheduler, steps: int = T
) -> list[list[float]]:
    """Rates of the groups at each step of a training loop, from now on."""
    history = []
    for _ in range(steps):
        history.append([float(group["lr"]) for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return history


class Ramp:
    """A callable object with state, as users write them."""

    def __init__(self, slope: float) -> None:
        self.slope = slope

    def __call__(self, step: int) -> float:
        return 1 + self.slope * step


def shrink(step: int) -> float:
    return 1 - 0.5 / step


def sine(step: int) -> float:
    return 1 + math.sin(step)


def half_cosine(top: float, floor: float, done: float) -> float:
    return floor + (top - floor) * (1 + math.cos(math.pi * done)) / 2


def restarts(t: int, cycle: int, mult: int, top: float, floor: float) -> float:
    while t >= cycle:
        t, cycle = t - cycle, cycle * mult
    return half_cosine(top, floor, t / cycle)


def poly(t: int, warmup: int, floor: float, power: float, step_size: int) -> float:
    if t >= T:
        return floor
    t = t // step_size * step_size
    curve = (1 - max(t, warmup) / T) ** power
    return floor + (LR - floor) * curve * (t / warmup if t < warmup else 1.0)


def triangle(t: int, up: int, down: int) -> float:
    return float(np.interp(t % (up + down), [0, up, up + down], [0, 1, 0]))


def phases(t: int, knots: list[tuple[float, float]], linear: bool = False) -> float:
    """Go through the knots (step, rate), along half cosines or straight lines."""
    for (a, start), (b, end) in itertools.pairwise(knots):
        if t <= b:
            done = (t - a) / (b - a)
            return start + (end - start) * done if linear else half_cosine(start, end, done)
    raise AssertionError(t)


def lowest(lr: Suggestion | float) -> float | None:
    """The lower bound of `cyclic`, which a suggestion brings along and a number does not."""
    return None if isinstance(lr, Suggestion) else MIN_LR


@dataclass(frozen=True)
class Case:
    build: Callable[..., LRScheduler]
    rate: Callable[[int], float]
    uneven: bool = True  # takes parameter groups at several rates
    past: int = 15  # steps that the loop may go on after T


CASES = {
    "constant": Case(s.constant, lambda t: LR),
    "step": Case(
        lambda o, lr: s.step(o, lr, step_size=20, gamma=0.2),
        lambda t: LR * 0.2 ** (t // 20),
    ),
    "multistep": Case(
        lambda o, lr: s.multistep(o, lr, milestones=[10, 35]),
        lambda t: LR * 0.1 ** sum(t >= m for m in (10, 35)),
    ),
    "exponential": Case(lambda o, lr: s.exponential(o, lr, gamma=0.95), lambda t: LR * 0.95**t),
    "multiplicative": Case(
        lambda o, lr: s.multiplicative(o, lr, lr_lambda=shrink),
        lambda t: LR * math.prod(1 - 0.5 / i for i in range(1, t + 1)),
    ),
    "lambda": Case(
        lambda o, lr: s.lambda_(o, lr, lr_lambda=sine), lambda t: LR * (1 + math.sin(t))
    ),
    "lambda object": Case(
        lambda o, lr: s.lambda_(o, lr, lr_lambda=Ramp(0.2)), lambda t: LR * (1 + 0.2 * t)
    ),
    "cosine": Case(
        lambda o, lr: s.cosine(o, lr, total_steps=T), lambda t: half_cosine(LR, 0, t / T)
    ),
    "cosine to a floor": Case(
        lambda o, lr: s.cosine(o, lr, eta_min=1e-4, total_steps=T),
        lambda t: half_cosine(LR, 1e-4, t / T),
        uneven=False,
    ),
    "cosine_warm_restarts": Case(
        lambda o, lr: s.cosine_warm_restarts(o, lr, T_0=10, T_mult=2),
        lambda t: restarts(t, 10, 2, LR, 0),
    ),
    "cosine_warm_restarts to a floor": Case(
        lambda o, lr: s.cosine_warm_restarts(o, lr, T_0=20, eta_min=1e-4),
        lambda t: restarts(t, 20, 1, LR, 1e-4),
        uneven=False,
    ),
    "polynomial": Case(
        lambda o, lr: s.polynomial(o, lr, warmup_steps=W, eta_min=1e-4, total_steps=T),
        lambda t: poly(t, W, 1e-4, 0.9, 1),
    ),
    "polynomial in steps": Case(
        lambda o, lr: s.polynomial(
            o, lr, power=2, warmup_steps=W, eta_min=1e-4, step_size=4, total_steps=T
        ),
        lambda t: poly(t, W, 1e-4, 2, 4),
    ),
    "polynomial without warm-up": Case(
        lambda o, lr: s.polynomial(o, lr, power=1.5, step_size=7, total_steps=T),
        lambda t: poly(t, 0, 0, 1.5, 7),
    ),
    "wsd": Case(
        lambda o, lr: s.wsd(o, lr, warmup_steps=W, decay_steps=12, eta_min=1e-4, total_steps=T),
        lambda t: float(np.interp(t, [0, W, T - 12, T], [1e-4, LR, LR, 1e-4])),
    ),
    "wsd along a cosine": Case(
        lambda o, lr: s.wsd(o, lr, decay_steps=T, decay="cosine", eta_min=1e-4, total_steps=T),
        lambda t: half_cosine(LR, 1e-4, min(t / T, 1)),
    ),
    "wsd along a root": Case(
        lambda o, lr: s.wsd(o, lr, decay_steps=20, decay="1-sqrt", total_steps=T),
        lambda t: LR * (1 - math.sqrt(min(max(t - 40, 0) / 20, 1))),
    ),
    "cyclic": Case(
        lambda o, lr: s.cyclic(o, lr, base_lr=lowest(lr), step_size_up=8, step_size_down=5),
        lambda t: MIN_LR + (MAX_LR - MIN_LR) * triangle(t, 8, 5),
    ),
    "cyclic triangular2": Case(
        lambda o, lr: s.cyclic(o, lr, base_lr=lowest(lr), step_size_up=8, mode="triangular2"),
        lambda t: MIN_LR + (MAX_LR - MIN_LR) * triangle(t, 8, 8) * 0.5 ** (t // 16),
    ),
    "cyclic exp_range": Case(
        lambda o, lr: s.cyclic(
            o, lr, base_lr=lowest(lr), step_size_up=8, mode="exp_range", gamma=0.97
        ),
        lambda t: MIN_LR + (MAX_LR - MIN_LR) * triangle(t, 8, 8) * 0.97**t,
    ),
    "one_cycle": Case(
        lambda o, lr: s.one_cycle(o, lr, total_steps=T),
        lambda t: phases(t, [(0, MAX_LR / 25), (17, MAX_LR), (T - 1, MAX_LR / 25 / 1e4)]),
        past=-1,
    ),
    "one_cycle in three phases": Case(
        lambda o, lr: s.one_cycle(
            o, lr, three_phase=True, anneal_strategy="linear", div_factor=10, total_steps=T
        ),
        lambda t: phases(
            t,
            [(0, MAX_LR / 10), (17, MAX_LR), (34, MAX_LR / 10), (T - 1, MAX_LR / 10 / 1e4)],
            linear=True,
        ),
        past=-1,
    ),
}


def behind_warmup(case: Case) -> Case:
    """The same schedule behind a warm-up, W steps later."""

    def then(optimizer: Optimizer, lr: Suggestion | float) -> LRScheduler:
        return case.build(optimizer, lr)

    def rate(t: int) -> float:
        first = case.rate(0)
        return first * (0.05 + 0.95 * t / W) if t < W else case.rate(t - W)

    return Case(
        lambda o, lr: s.warmup(o, lr, then=then, warmup_steps=W, start_factor=0.05),
        rate,
        case.uneven,
        case.past,
    )


ALL = CASES | {f"warm-up, {name}": behind_warmup(case) for name, case in CASES.items()}


def plain_rate(name: str) -> float:
    """The number that a schedule takes from the suggestion."""
    return MAX_LR if "cycl" in name and "cosine" not in name else LR


def expected(name: str, ratios: tuple[float, ...], steps: int) -> list[list[float]]:
    return [[ALL[name].rate(t) * ratio for ratio in ratios] for t in range(steps)]


def assert_rates(rates: list[list[float]], wanted: list[list[float]]) -> None:
    # Some of torch's classes compute a rate from the one before, so it is exact to rounding only.
    for got, want in zip(rates, wanted, strict=True):
        assert got == pytest.approx(want, rel=1e-9, abs=1e-14)

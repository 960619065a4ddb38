"""How far the constant factors of our rules were fitted to the very tasks that judge them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from lrfinder.benchmark._score import Bench
from lrfinder.benchmark._task import Schedule

# What a rate could have been multiplied by instead: eighths of a decade, up to a decade away.
_FACTORS = 10.0 ** (np.arange(-8, 9) / 8)


class LeftOut(NamedTuple):
    """The excess of a candidate with the factor as it is and with one chosen elsewhere.

    Attributes:
        as_it_is: mean over tasks.
        left_out: mean over tasks of what each gets with the factor that is best on all others.
        best: mean over tasks with the one factor that is best for all: what fitting could gain.
        factor: that factor, as a multiple of the one in use.
    """

    as_it_is: float
    left_out: float
    best: float
    factor: float


def leave_one_out(bench: Bench, candidate: str, schedule: Schedule, length: int) -> LeftOut | None:
    """Choose a candidate's factor anew on all tasks but one, and judge it on that one.

    Args:
        bench: what is stored.
        candidate: name of a finder or rule.
        schedule: "constant" or "onecycle".
        length: multiple of the tasks' steps.

    Returns:
        None where there are fewer than three tasks, or one without an answer.
    """
    tasks = bench.judged(schedule, length)
    excess = np.array([_by_factor(bench, candidate, task, schedule, length) for task in tasks])
    if len(tasks) < 3 or not np.isfinite(excess).all():
        return None
    chosen = [int(np.delete(excess, k, axis=0).mean(axis=0).argmin()) for k in range(len(tasks))]
    best = int(excess.mean(axis=0).argmin())
    return LeftOut(
        as_it_is=float(excess[:, len(_FACTORS) // 2].mean()),
        left_out=float(np.mean([excess[k, factor] for k, factor in enumerate(chosen)])),
        best=float(excess[:, best].mean()),
        factor=float(_FACTORS[best]),
    )


def _by_factor(
    bench: Bench, candidate: str, task: str, schedule: Schedule, length: int
) -> list[float]:
    """Return a task's mean excess over seeds for each factor; NaN where nobody answered."""
    truth = bench.truth(task, schedule, length)
    rates = [answer.rate(schedule) for answer in bench.answers(candidate, task, length)]
    if truth is None or not rates:
        return [float("nan")] * len(_FACTORS)
    return [
        float(np.mean([truth.excess(None if rate is None else rate * factor) for rate in rates]))
        for factor in _FACTORS
    ]

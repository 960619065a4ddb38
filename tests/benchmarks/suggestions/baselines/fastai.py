"""fastai: `Learner.lr_find`, asked for all four of its suggestions."""

from __future__ import annotations

import functools
import math
import tempfile
from collections.abc import Callable
from typing import Any

from fastai.callback.schedule import minimum, slide, steep, valley
from fastai.data.core import DataLoaders
from fastai.learner import Learner
from fastai.optimizer import OptimWrapper

from tests.benchmarks.suggestions.task import Problem

RULES = {
    "fastai valley": valley,
    "fastai slide": slide,
    "fastai minimum": minimum,
    "fastai steep": steep,
}


def fastai(problem: Problem) -> dict[str, float]:
    """Return what fastai's rules suggest with its own defaults, all from one sweep.

    A rule that finds too few points answers NaN and leaves the others to theirs.
    """
    with tempfile.TemporaryDirectory() as folder:
        learner = learner_of(problem, folder)
        with learner.no_bar():
            found = learner.lr_find(
                suggest_funcs=tuple(map(_nan_on_error, RULES.values())), show_plot=False
            )
    return {name: float(getattr(found, rule.__name__)) for name, rule in RULES.items()}


def learner_of(problem: Problem, folder: str) -> Learner:
    """Return a learner that trains the problem with the problem's own optimizer.

    Args:
        problem: not yet trained.
        folder: where the learner keeps the state meanwhile.
    """
    return Learner(
        DataLoaders(problem.train_loader, problem.train_loader),
        problem.model,
        loss_func=problem.criterion,
        opt_func=lambda _parameters, lr: OptimWrapper(opt=problem.optimizer),
        path=folder,
    )


def _nan_on_error(rule: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(rule)
    def guarded(*arguments: Any) -> Any:
        try:
            return rule(*arguments)
        except (IndexError, RuntimeError, ValueError):
            return math.nan, (math.nan, math.nan)

    return guarded

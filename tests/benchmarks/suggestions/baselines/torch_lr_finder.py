"""torch-lr-finder: its `LRFinder`, asked for the suggestion that its plot marks."""

from __future__ import annotations

import contextlib
import io

import matplotlib.pyplot as plt
from torch_lr_finder import LRFinder

from tests.benchmarks.suggestions.baselines import START_LR
from tests.benchmarks.suggestions.task import Problem


def torch_lr_finder(problem: Problem) -> dict[str, float]:
    """Return what torch-lr-finder suggests with its own defaults.

    It starts at the optimizer's rate; its documentation sets that to 1e-7.
    """
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        finder = LRFinder(problem.model, problem.optimizer, problem.criterion)
        finder.range_test(problem.train_loader, start_lr=START_LR)
        return {"torch-lr-finder": suggestion(finder)}


def suggestion(finder: LRFinder) -> float:
    """Return the rate that the library marks in its plot, the only place where it tells it."""
    figure, axes = plt.subplots()
    try:
        _, lr = finder.plot(ax=axes)
    finally:
        plt.close(figure)
    return float(lr)

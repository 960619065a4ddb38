"""ignite: `FastaiLRFinder`."""

from __future__ import annotations

import warnings

from ignite.engine import create_supervised_trainer
from ignite.handlers import FastaiLRFinder

from tests.benchmarks.suggestions.baselines import START_LR
from tests.benchmarks.suggestions.task import Problem


def ignite(problem: Problem) -> dict[str, float]:
    """Return what ignite suggests with its own defaults.

    Two of them depend on the training: it starts at the optimizer's rate, and takes as many steps
    as the trainer will. Here that is 1e-7 and 100 steps, as with the other libraries.
    """
    trainer = create_supervised_trainer(problem.model, problem.optimizer, problem.criterion)
    saved = {"model": problem.model, "optimizer": problem.optimizer}
    finder = FastaiLRFinder()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that the loss has not diverged
        with finder.attach(trainer, saved, num_iter=100, start_lr=START_LR) as swept:
            swept.run(problem.train_loader)
    return {"ignite": float(finder.lr_suggestion())}

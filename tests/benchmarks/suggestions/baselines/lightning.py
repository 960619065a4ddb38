"""Lightning: `Tuner.lr_find`."""

from __future__ import annotations

import contextlib
import io
import logging
import tempfile
import warnings
from collections.abc import Iterator
from typing import Any

from lightning.pytorch import LightningModule, Trainer
from lightning.pytorch.tuner import Tuner
from torch import Tensor
from torch.optim import Optimizer

from tests.benchmarks.suggestions.task import Problem


class _Module(LightningModule):  # type: ignore[misc]
    def __init__(self, problem: Problem) -> None:
        super().__init__()
        self.lr = 0.0  # the attribute that the tuner looks for
        self.model = problem.model
        self.problem = problem

    def training_step(self, batch: Any, _batch_index: int) -> Tensor:
        inputs, targets = batch
        return self.problem.criterion(self.model(inputs), targets)

    def configure_optimizers(self) -> Optimizer:
        return self.problem.optimizer


def lightning(problem: Problem) -> dict[str, float]:
    """Return what Lightning suggests with its own defaults.

    Raises:
        RuntimeError: it suggests nothing.
    """
    with tempfile.TemporaryDirectory() as folder, _quiet():
        finder = Tuner(trainer_in(folder)).lr_find(module_of(problem), problem.train_loader)
        lr = finder.suggestion() if finder is not None else None
    if lr is None:
        raise RuntimeError("Lightning has too few finite losses for a suggestion")
    return {"Lightning": float(lr)}


def trainer_in(folder: str) -> Trainer:
    """Return a trainer on the CPU that writes nothing but what it keeps in a folder meanwhile."""
    return Trainer(
        accelerator="cpu",
        default_root_dir=folder,
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def module_of(problem: Problem) -> LightningModule:
    """Return a module that trains the problem with the problem's own optimizer."""
    return _Module(problem)


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    logger = logging.getLogger("lightning.pytorch")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    with warnings.catch_warnings(), contextlib.redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        try:
            yield
        finally:
            logger.setLevel(level)

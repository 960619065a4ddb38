"""Everything that suggests a rate for a problem: ours and the peers', under the names reported."""

from __future__ import annotations

import importlib
import importlib.util
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from torch.optim import Optimizer

from lrfinder import LRFinder
from lrfinder.benchmark._task import Problem

Rates = Mapping[str, float | tuple[float, float]]


@dataclass(frozen=True)
class Answer:
    """What one finder said about one problem.

    Attributes:
        lr: rate for a constant schedule; None where it refused.
        max_lr: rate for the peak of a cycle; a finder with one number gives it twice.
        steps: optimizer steps it took.
        refusal: the error with which it refused.
    """

    lr: float | None
    max_lr: float | None
    steps: int
    refusal: str = ""

    def rate(self, schedule: str) -> float | None:
        """Return the rate that is meant for a schedule."""
        return self.max_lr if schedule == "onecycle" else self.lr

    to_dict = asdict


@dataclass(frozen=True)
class Finder:
    """Suggests rates for a problem that has not been trained, under one or more names.

    Args:
        names: what it answers to.
        find: from a problem and the planned number of steps to a rate, or `(lr, max_lr)`, per name.
        package: what has to be installed for it.
        reads_plan: whether its answer depends on the planned number of steps.
    """

    names: tuple[str, ...]
    find: Callable[[Problem, int], Rates]
    package: str = "lrfinder"
    reads_plan: bool = False

    @property
    def installed(self) -> bool:
        """Whether its package can be imported."""
        return importlib.util.find_spec(self.package) is not None

    def answers(self, problem: Problem, planned_steps: int) -> dict[str, Answer]:
        """Return what it says under each of its names; an error is a refusal of all.

        Args:
            problem: not yet trained; may be left in any state.
            planned_steps: optimizer steps of the training to come.
        """
        steps = _StepCounter(problem.optimizer)
        try:
            found = self.find(problem, planned_steps)
        except Exception as error:  # a benchmark must survive whatever a peer does
            reason = f"{type(error).__name__}: {error}"
            return {name: Answer(None, None, steps.count, reason) for name in self.names}
        return {name: _answer(found[name], steps.count) for name in self.names}


class _StepCounter:
    def __init__(self, optimizer: Optimizer) -> None:
        self.count = 0
        optimizer.register_step_post_hook(self._add)

    def _add(self, *_: Any) -> None:
        self.count += 1


def _answer(found: float | tuple[float, float], steps: int) -> Answer:
    lr, max_lr = found if isinstance(found, tuple) else (found, found)
    if not (math.isfinite(lr) and math.isfinite(max_lr)):
        return Answer(None, None, steps, "not a number")
    return Answer(lr, max_lr, steps)


def _recommend(problem: Problem, total_steps: int | None) -> tuple[float, float]:
    finder = LRFinder(problem.model, problem.optimizer, problem.criterion)
    found = finder.recommend(problem.train_loader, total_steps=total_steps, progress=False)
    return found.lr, found.max_lr


def _peer(module: str) -> Callable[[Problem, int], Rates]:
    """Return a peer's finder, which imports the peer's library when it is called."""

    def find(problem: Problem, _planned_steps: int) -> Rates:
        peer = importlib.import_module(f"lrfinder.benchmark.peers.{module}")
        found: Rates = getattr(peer, module)(problem)
        return found

    return find


FINDERS = (
    Finder(("recommend",), lambda problem, _: {"recommend": _recommend(problem, None)}),
    Finder(
        ("recommend, steps given",),
        lambda problem, steps: {"recommend, steps given": _recommend(problem, steps)},
        reads_plan=True,
    ),
    Finder(("torch-lr-finder",), _peer("torch_lr_finder"), "torch_lr_finder"),
    Finder(
        ("fastai valley", "fastai slide", "fastai minimum", "fastai steep"),
        _peer("fastai"),
        "fastai",
    ),
    Finder(("Lightning",), _peer("lightning"), "lightning"),
    Finder(("ignite",), _peer("ignite"), "ignite"),
)

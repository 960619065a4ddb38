"""Everything that suggests a rate for a problem, under the names reported."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

from torch.optim import Optimizer

from lrfinder import LRFinder
from tests.benchmarks.suggestions.packages import is_installed, versions
from tests.benchmarks.suggestions.task import Problem

Rates = Mapping[str, float | tuple[float, float]]

# By class of optimizer: the rate most often used, and the next lower one.
USUAL = {
    "SGD": (0.1, 0.01),
    "Adagrad": (0.01, 0.01),
    "Muon": (0.02, 0.001),
    "Adafactor": (0.01, 0.001),
}
_USUAL_OF_ADAM = (1e-3, 3e-4)


@dataclass(frozen=True)
class Answer:
    """What one finder said about one problem.

    Attributes:
        lr: rate for a constant schedule; None where it refused.
        max_lr: rate for the peak of a cycle; a finder with one number gives it twice.
        steps: optimizer steps it took.
        refusal: the error with which it refused.
        versions: of the packages that it came from; "" in records older than this field.
    """

    lr: float | None
    max_lr: float | None
    steps: int
    refusal: str = ""
    versions: str = field(default="", compare=False)

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
        return is_installed(self.package)

    def answers(self, problem: Problem, planned_steps: int) -> dict[str, Answer]:
        """Return what it says under each of its names; an error is a refusal of all.

        Args:
            problem: not yet trained; may be left in any state.
            planned_steps: optimizer steps of the training to come.
        """
        steps, used = _StepCounter(problem.optimizer), versions(self.package)
        try:
            found = self.find(problem, planned_steps)
        except Exception as error:  # a benchmark must survive whatever a library does
            reason = f"{type(error).__name__}: {error}"
            return {name: Answer(None, None, steps.count, reason, used) for name in self.names}
        return {name: _answer(found[name], steps.count, used) for name in self.names}


class _StepCounter:
    def __init__(self, optimizer: Optimizer) -> None:
        self.count = 0
        optimizer.register_step_post_hook(self._add)

    def _add(self, *_: Any) -> None:
        self.count += 1


def _answer(found: float | tuple[float, float], steps: int, used: str) -> Answer:
    lr, max_lr = found if isinstance(found, tuple) else (found, found)
    if not all(math.isfinite(rate) and rate > 0 for rate in (lr, max_lr)):
        return Answer(None, None, steps, "not a positive number", used)
    return Answer(lr, max_lr, steps, versions=used)


def _recommend(name: str, budget: int, *, told: bool = False, validated: bool = False) -> Finder:
    """Return our finder, which is told the number of steps and given the validation set, or not."""

    def find(problem: Problem, planned_steps: int) -> Rates:
        finder = LRFinder(problem.model, problem.optimizer, problem.criterion)
        found = finder.recommend(
            problem.train_loader,
            problem.val_loader if validated else None,
            total_steps=planned_steps if told else None,
            budget=budget,
            progress=False,
        )
        return {name: (found.lr, found.max_lr)}

    return Finder((name,), find, reads_plan=told)


def _usual(problem: Problem, _planned_steps: int) -> Rates:
    first, lower = USUAL.get(type(problem.optimizer).__name__, _USUAL_OF_ADAM)
    return {"usual rate": first, "lower usual rate": lower}


def _baseline(module: str) -> Callable[[Problem, int], Rates]:
    """Return another library's finder, which imports the library when it is called."""

    def find(problem: Problem, _planned_steps: int) -> Rates:
        baseline = importlib.import_module(f"tests.benchmarks.suggestions.baselines.{module}")
        found: Rates = getattr(baseline, module)(problem)
        return found

    return find


FINDERS = (
    _recommend("recommend", 300),
    _recommend("recommend, steps given", 300, told=True),
    _recommend("recommend, steps and validation given", 300, told=True, validated=True),
    _recommend("recommend, 1000 steps", 1000, told=True),
    _recommend("recommend, 3000 steps", 3000, told=True),
    Finder(("usual rate", "lower usual rate"), _usual),
    Finder(("Optuna",), _baseline("optuna"), "optuna"),
    Finder(("torch-lr-finder",), _baseline("torch_lr_finder"), "torch_lr_finder"),
    Finder(
        ("fastai valley", "fastai slide", "fastai minimum", "fastai steep"),
        _baseline("fastai"),
        "fastai",
    ),
    Finder(("Lightning",), _baseline("lightning"), "lightning"),
    Finder(("ignite",), _baseline("ignite"), "ignite"),
)

NAMES = tuple(name for finder in FINDERS for name in finder.names)

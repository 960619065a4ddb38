"""Optimizers that are given no rate: what they train each task to instead."""

from __future__ import annotations

import contextlib
import importlib
import io
import json
import logging
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import CosineAnnealingLR

from tests.benchmarks.suggestions.files import write_whole
from tests.benchmarks.suggestions.packages import is_installed, versions
from tests.benchmarks.suggestions.pool import in_parallel
from tests.benchmarks.suggestions.task import Problem, course_of, endless, update
from tests.benchmarks.suggestions.tasks import TASKS

_logger = logging.getLogger(__name__)

Courses = dict[str, dict[str, list[Any]]]
"""name -> length such as "4x" -> validation loss at ten points, one list for each seed.

Beside the lengths stand the "versions" of the packages, which older records do not have."""

# Batches that renew the statistics of batch norm at the averaged weights of Schedule-Free.
_RENEWING = 20


def _prodigy(optimizer: Optimizer) -> Optimizer:
    library = importlib.import_module("prodigyopt")
    made: Optimizer = library.Prodigy(
        _parameters(optimizer),
        weight_decay=_weight_decay(optimizer),
        safeguard_warmup=True,
        use_bias_correction=True,
    )
    return made


def _schedule_free(optimizer: Optimizer) -> Optimizer:
    library = importlib.import_module("schedulefree")
    made: Optimizer = library.AdamWScheduleFree(
        _parameters(optimizer), weight_decay=_weight_decay(optimizer)
    )
    return made


def _d_adaptation(optimizer: Optimizer) -> Optimizer:
    """D-Adaptation of the task's own optimizer, of Adam where there is none."""
    library, settings = importlib.import_module("dadaptation"), optimizer.defaults
    decay = _weight_decay(optimizer)
    if isinstance(optimizer, torch.optim.SGD):
        made = library.DAdaptSGD(
            _parameters(optimizer), momentum=settings["momentum"], weight_decay=decay
        )
    elif isinstance(optimizer, torch.optim.Adagrad):
        made = library.DAdaptAdaGrad(_parameters(optimizer), weight_decay=decay)
    else:
        made = library.DAdaptAdam(
            _parameters(optimizer), weight_decay=decay, decouple=_decays_apart(optimizer)
        )
    replaced: Optimizer = made
    return replaced


def _parameters(optimizer: Optimizer) -> list[nn.Parameter]:
    return [p for group in optimizer.param_groups for p in group["params"]]


def _weight_decay(optimizer: Optimizer) -> float:
    return float(optimizer.defaults.get("weight_decay", 0.0))


def _decays_apart(optimizer: Optimizer) -> bool:
    """Return whether weights decay beside the step, not as a part of the gradient."""
    apart = {"AdamW", "Muon", "Adafactor"}  # by name: an older PyTorch lacks some of them
    flag = optimizer.defaults.get("decoupled_weight_decay", False)
    return bool(flag) or type(optimizer).__name__ in apart


@dataclass(frozen=True)
class Alternative:
    """An optimizer in place of the task's own.

    Args:
        make: from the task's optimizer to the one that replaces it.
        package: what has to be installed for it.
        anneals: whether its rate follows half a cosine to zero.
    """

    make: Callable[[Optimizer], Optimizer]
    package: str
    anneals: bool = False


ALTERNATIVES = {
    "Prodigy": Alternative(_prodigy, "prodigyopt"),
    "Prodigy, cosine": Alternative(_prodigy, "prodigyopt", anneals=True),
    "Schedule-Free AdamW": Alternative(_schedule_free, "schedulefree"),
    "D-Adaptation": Alternative(_d_adaptation, "dadaptation"),
}


@dataclass(frozen=True)
class Job:
    """Trainings of one task."""

    task: str
    name: str
    length: int
    seeds: range


def measure_alternatives(
    names: Sequence[str], folder: Path, workers: int, seeds: int = 3, again: Sequence[str] = ()
) -> None:
    """Train each task with each alternative where that is not stored yet.

    Args:
        names: of tasks.
        folder: where the records are, in its subfolder `alternatives`.
        workers: processes, each of one thread.
        seeds: trainings of each.
        again: alternatives whose stored trainings are thrown away first.
    """
    missing = {a.package for a in ALTERNATIVES.values() if not is_installed(a.package)}
    if missing:
        _logger.warning("not installed, so not measured: %s", ", ".join(sorted(missing)))
    stored = {task: read_alternatives(folder, task) for task in names}
    for task, known in stored.items() if again else ():
        for name in again:
            known.pop(name, None)
        _write(folder, task, known)  # so that a stopped command need not be told again
    jobs = [job for task in names for job in _missing(task, stored[task], seeds)]
    for job, courses in in_parallel(_run, jobs, workers, unit="training"):
        _add(stored[job.task], job, courses)
        _write(folder, job.task, stored[job.task])


def _add(stored: Courses, job: Job, courses: list[list[float | None]]) -> None:
    known = stored.setdefault(job.name, {"versions": []})
    known[f"{job.length}x"] = known.get(f"{job.length}x", []) + courses
    used = versions(ALTERNATIVES[job.name].package)
    if used not in known.get("versions", [used]):
        known["versions"].append(used)


def read_alternatives(folder: Path, task: str) -> Courses:
    """Return what is stored of a task."""
    path = _path(folder, task)
    found: Courses = json.loads(path.read_text()) if path.exists() else {}
    return found


def _write(folder: Path, task: str, courses: Courses) -> None:
    text = json.dumps(courses, indent=1).replace("\n     ", " ") + "\n"
    write_whole(_path(folder, task), text)


def _path(folder: Path, task: str) -> Path:
    return folder / "alternatives" / f"{task}.json"


def _missing(task: str, stored: Courses, seeds: int) -> Iterator[Job]:
    for length in TASKS[task].lengths:
        for name, alternative in ALTERNATIVES.items():
            done = len(stored.get(name, {}).get(f"{length}x", []))
            if done < seeds and is_installed(alternative.package):
                yield Job(task, name, length, range(done, seeds))


def _run(job: Job) -> list[list[float | None]]:
    task, found = TASKS[job.task], []
    for seed in job.seeds:
        losses = train_course(task.problem(seed), ALTERNATIVES[job.name], job.length * task.steps)
        found.append([float(f"{x:.6g}") if math.isfinite(x) else None for x in losses])
    return found


def train_course(problem: Problem, alternative: Alternative, steps: int) -> list[float]:
    """Return the validation loss at ten points; inf from where the training diverged.

    Args:
        problem: not yet trained; its own optimizer is not used.
        alternative: what trains it.
        steps: optimizer updates, > 0.
    """
    with contextlib.redirect_stdout(io.StringIO()):  # what Prodigy announces
        optimizer = alternative.make(problem.optimizer)
    replaced = replace(problem, optimizer=optimizer)
    scheduler = CosineAnnealingLR(optimizer, steps) if alternative.anneals else None

    def run(problem: Problem, on_step: Callable[[int], object]) -> None:
        batches = endless(problem.train_loader)
        problem.model.train()
        for step in range(1, steps + 1):
            _mode(optimizer, "train")
            if not math.isfinite(update(problem, next(batches))):
                return
            if scheduler is not None:
                scheduler.step()
            on_step(step)

    return course_of(replaced, steps, run, before=_use_averaged_weights)


def _use_averaged_weights(problem: Problem) -> None:
    """Put the weights in place that Schedule-Free is evaluated at, as its documentation says."""
    _mode(problem.optimizer, "eval")
    averages = hasattr(problem.optimizer, "eval")
    if averages and any(isinstance(m, _BatchNorm) for m in problem.model.modules()):
        with torch.no_grad():
            for (inputs, _), _ in zip(problem.train_loader, range(_RENEWING), strict=False):
                problem.model(inputs)


def _mode(optimizer: Any, mode: str) -> None:
    if hasattr(optimizer, mode):
        getattr(optimizer, mode)()

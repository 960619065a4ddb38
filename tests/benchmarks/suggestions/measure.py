"""Ask every finder about every task, in parallel, and store sweeps and answers.

One JSON file per task, replaced whole after each job: a stopped command goes on where it was.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from lrfinder import LRFinder, RangeTestResult
from tests.benchmarks.suggestions.finders import FINDERS, Answer
from tests.benchmarks.suggestions.pool import in_parallel
from tests.benchmarks.suggestions.stored import Stored
from tests.benchmarks.suggestions.task import Task
from tests.benchmarks.suggestions.tasks import TASKS

_logger = logging.getLogger(__name__)

SEEDS = 5
SWEEPS = (100, 200)
SWEEP = "sweep"
"""What the range tests go by where finders are named."""


@dataclass(frozen=True)
class Job:
    """One finder, or one plain range test, on one task and seed.

    Args:
        name: of the task.
        seed: of the problem.
        finder: index in `FINDERS`; None for a range test that is recorded.
        size: multiple of the task's steps that the finder is told, or steps of the range test.
    """

    name: str
    seed: int
    finder: int | None
    size: int


def measure(
    names: Sequence[str],
    folder: Path,
    workers: int,
    again: Sequence[str] = (),
    finders: Sequence[str] = (),
) -> None:
    """Record every range test and ask every finder that is not stored yet.

    Args:
        names: of tasks.
        folder: where the records are, in its subfolder `suggestions`.
        workers: processes, each of one thread.
        again: names of finders whose stored answers are thrown away first; "sweep" for the
            range tests.
        finders: names of those that are asked, all by default; "sweep" for the range tests.
    """
    stored = {name: Stored.read(folder, name) for name in names}
    for each in stored.values() if again else ():
        each.forget(again)
        each.write(folder)  # so that a stopped command need not be told again
    _warn_of_missing_packages()
    every = [job for name in names for job in _missing(TASKS[name], stored[name])]
    jobs = [job for job in every if not finders or not _names(job).isdisjoint(finders)]
    for job, found in in_parallel(_run, jobs, workers, unit="finder"):
        _add(stored[job.name], job, found)
        stored[job.name].write(folder)


def _warn_of_missing_packages() -> None:
    missing = [finder.package for finder in FINDERS if not finder.installed]
    if missing:
        _logger.warning("not installed, so not measured: %s", ", ".join(missing))


def _missing(task: Task, stored: Stored) -> Iterator[Job]:
    for seed in range(SEEDS):
        for size in SWEEPS:
            if not stored.has_sweep(size, seed):
                yield Job(task.name, seed, None, size)
        for index, finder in enumerate(FINDERS):
            for size in task.lengths if finder.reads_plan else (1,):
                known = all(stored.has_answer(name, size, seed) for name in finder.names)
                if finder.installed and not known:
                    yield Job(task.name, seed, index, size)


def _names(job: Job) -> set[str]:
    return {SWEEP} if job.finder is None else set(FINDERS[job.finder].names)


def _run(job: Job) -> RangeTestResult | dict[str, Answer]:
    task = TASKS[job.name]
    problem = task.problem(job.seed)
    if job.finder is not None:
        return FINDERS[job.finder].answers(problem, job.size * task.steps)
    finder = LRFinder(problem.model, problem.optimizer, problem.criterion)
    return finder.range_test(problem.train_loader, num_iter=job.size, progress=False)


def _add(stored: Stored, job: Job, found: RangeTestResult | dict[str, Answer]) -> None:
    if isinstance(found, RangeTestResult):
        stored.add_sweep(job.size, job.seed, found)
        return
    for name, answer in found.items():
        stored.add_answer(name, job.size, job.seed, answer)

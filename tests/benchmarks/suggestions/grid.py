"""Train a task at the rates of its grid and store the validation losses.

One JSON file per task, replaced whole after each rate: a stopped command goes on where it was.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from tests.benchmarks.suggestions.files import write_whole
from tests.benchmarks.suggestions.packages import versions
from tests.benchmarks.suggestions.pool import in_parallel
from tests.benchmarks.suggestions.task import (
    SCHEDULES,
    Schedule,
    Task,
    course,
    initial_loss,
)
from tests.benchmarks.suggestions.tasks import TASKS
from tests.benchmarks.suggestions.truth import (
    Record,
    Runs,
    capped_means,
    curve_key,
    read_record,
    record_path,
)

# The grid does not leave these powers of ten in search of the best rate.
_LOWEST, _HIGHEST = -7.0, 2.0
# Quarters of a decade reach this far from the best rate; beyond, the grid has halves.
_FINE = 0.75


@dataclass(frozen=True)
class Job:
    """Runs of one rate; without a rate, the loss before training.

    Args:
        name: of the task.
        seeds: one run each.
        curve: schedule and multiple of the task's steps.
        rate: log10 of the learning rate as it is stored, such as "-2.25".
    """

    name: str
    seeds: range
    curve: tuple[Schedule, int] | None = None
    rate: str = ""


def compute(
    names: Sequence[str],
    folder: Path,
    workers: int,
    seeds: int = 3,
    lengths: Sequence[int] = (1, 4),
    courses: bool = False,
) -> None:
    """Do every run that is not stored yet: all tasks under one curve, then the next curve.

    Args:
        names: of tasks.
        folder: where the records are, in its subfolder `truth`.
        workers: processes, each of one thread.
        seeds: runs at each rate; more than are stored already add to them.
        lengths: multiples of the task's steps.
        courses: whether runs of which only the final loss is stored are made again.
    """
    records = {name: _opened(folder, TASKS[name]) for name in names}

    def run(jobs: Sequence[Job]) -> None:
        for job, losses in in_parallel(_run, jobs, workers, unit="rate"):
            _store(records[job.name], job, losses)
            text = _one_rate_per_line(records[job.name])
            write_whole(record_path(folder, job.name), text)

    known = {name: len(record["initial"]) for name, record in records.items()}
    run([Job(name, range(count, seeds)) for name, count in known.items() if count < seeds])
    for length in lengths:
        for schedule in SCHEDULES:
            curve = (schedule, length)
            chosen = {n: r for n, r in records.items() if length in TASKS[n].lengths}
            # Which rates are missing depends on which is the best so far.
            while jobs := [
                job
                for n, r in chosen.items()
                for job in _missing(TASKS[n], r, curve, seeds, courses)
            ]:
                run(jobs)


def wanted(task: Task, runs: Runs, initial: Sequence[float]) -> list[str]:
    """Return log10 of the rates that a truth needs, given those that are known.

    First halves of a decade over the task's range and beyond it until the best rate has worse
    ones on both sides; then quarters around the best one.

    >>> task = Task("any", build=lambda seed: ..., steps=1, low=-1.0, high=0.0)
    >>> wanted(task, {}, [])
    ['-1.00', '-0.50', '0.00']
    >>> wanted(task, {"-1.00": [1.0], "-0.50": [0.5], "0.00": [0.4]}, [2.0])
    ['-1.00', '-0.50', '0.00', '0.50']
    >>> wanted(task, {"-1.00": [0.5], "-0.50": [0.4], "0.00": [None]}, [2.0])
    ['-1.25', '-1.00', '-0.75', '-0.50', '-0.25', '0.00']
    """
    rates = set(np.arange(task.low, task.high + 0.01, 0.5).tolist())
    known = {float(rate) for rate in runs}
    if rates <= known:
        means = capped_means(runs, initial)
        best = float(min(means, key=means.__getitem__))
        ends = {best - 0.5} if best == min(known) else {best + 0.5} if best == max(known) else set()
        fine = set(np.arange(best - _FINE, best + _FINE + 0.01, 0.25).tolist())
        rates |= ends or {rate for rate in fine if min(known) - 0.3 < rate < max(known)}
    return [f"{rate:.2f}" for rate in sorted(rates | known) if _LOWEST <= rate <= _HIGHEST]


def _missing(
    task: Task, record: Record, curve: tuple[Schedule, int], seeds: int, courses: bool
) -> Iterator[Job]:
    final, course = (record[name].get(curve_key(*curve), {}) for name in ("final", "course"))
    for rate in wanted(task, final, record["initial"]):
        done = len((course if courses else final).get(rate, []))
        if done < seeds:
            yield Job(task.name, range(done, seeds), curve, rate)


def _opened(folder: Path, task: Task) -> Record:
    left_out = ("name", "build", "long", "held_out")
    described = {k: v for k, v in asdict(task).items() if k not in left_out}
    found = read_record(folder, task.name)
    # An older record does not say with which versions it was begun, so it says none at all.
    return found | described | ({} if found["initial"] else {"versions": []})


def _run(job: Job) -> list[list[float]]:
    task = TASKS[job.name]
    if job.curve is None:
        return [[initial_loss(task, seed)] for seed in job.seeds]
    schedule, length = job.curve
    lr = 10.0 ** float(job.rate)
    return [course(task, lr, schedule, length * task.steps, seed) for seed in job.seeds]


def _store(record: Record, job: Job, courses: list[list[float]]) -> None:
    used = versions("torch")
    if used not in record.get("versions", [used]):
        record["versions"].append(used)
    if job.curve is None:
        record["initial"] += [losses[-1] for losses in courses]
        return
    # JSON has no infinity; null stands for a run that diverged.
    finite = [[x if math.isfinite(x) else None for x in losses] for losses in courses]
    short = [[None if x is None else float(f"{x:.6g}") for x in losses] for losses in finite]
    key, first, end = curve_key(*job.curve), job.seeds.start, job.seeds.stop
    for name, added in (("final", [losses[-1] for losses in finite]), ("course", short)):
        runs = record[name].setdefault(key, {})
        known = runs.get(job.rate, [])
        if len(known) >= first:  # of older runs only the final loss is stored
            runs[job.rate] = known[:first] + added + known[end:]
        record[name][key] = dict(sorted(runs.items(), key=lambda run: float(run[0])))


def _one_rate_per_line(record: Record) -> str:
    lines = {
        name: {
            curve: {rate: json.dumps(losses) for rate, losses in runs.items()}
            for curve, runs in record[name].items()
        }
        for name in ("final", "course")
    }
    text = json.dumps(record | lines, indent=1)
    return text.replace('"[', "[").replace(']"', "]") + "\n"

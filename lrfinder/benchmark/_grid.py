"""Train a task at every rate of its grid, in parallel, and store what comes out.

One JSON file per task, replaced whole after each rate: a stopped command goes on where it was.
"""

from __future__ import annotations

import json
import logging
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lrfinder.benchmark._pool import in_parallel
from lrfinder.benchmark._registry import load_task
from lrfinder.benchmark._task import SCHEDULES, Schedule, Task, final_loss, initial_loss
from lrfinder.benchmark._truth import (
    Record,
    curve_key,
    read_record,
    record_path,
    truth_from_record,
)

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Job:
    """Runs of one rate; without a rate, the loss before training.

    Args:
        spec: names the task, see `load_task`.
        seeds: one run each.
        curve: schedule and multiple of the task's steps.
        rate: log10 of the learning rate as it is stored, such as "-2.25".
    """

    spec: str
    seeds: range
    curve: tuple[Schedule, int] | None = None
    rate: str = ""


def compute(specs: Sequence[str], folder: Path, workers: int, seeds: int = 3) -> None:
    """Do every run that is not stored yet: all tasks under one curve, then the next curve.

    Args:
        specs: the tasks, see `load_task`.
        folder: where the records are, in its subfolder `truth`.
        workers: processes, each of one thread.
        seeds: runs at each rate; more than are stored already add to them.
    """
    tasks = {spec: load_task(spec) for spec in specs}
    records = {spec: _opened(folder, task) for spec, task in tasks.items()}
    jobs = list(_missing(tasks, records, seeds))
    for job, losses in in_parallel(_run, jobs, workers, unit="rate"):
        _store(records[job.spec], job, losses)
        _write(record_path(folder, tasks[job.spec].name), records[job.spec])
    for record in records.values():
        _warn_of_edges(record)


def grid(task: Task) -> list[str]:
    """Return log10 of the rates from the lowest to the highest, a quarter of a decade apart.

    >>> grid(Task("any", build=lambda seed: ..., steps=1, low=-1.0, high=-0.5))
    ['-1.00', '-0.75', '-0.50']
    """
    count = round((task.high - task.low) * 4) + 1
    return [f"{task.low + 0.25 * index:.2f}" for index in range(count)]


def _opened(folder: Path, task: Task) -> Record:
    described = {k: v for k, v in asdict(task).items() if k not in ("name", "build", "long")}
    return read_record(folder, task.name) | described


def _missing(tasks: dict[str, Task], records: dict[str, Record], seeds: int) -> Iterator[Job]:
    for spec, record in records.items():
        if len(record["initial"]) < seeds:
            yield Job(spec, range(len(record["initial"]), seeds))
    for length in (1, 4):
        for schedule in SCHEDULES:
            for spec, task in tasks.items():
                stored = records[spec]["final"].get(curve_key(schedule, length), {})
                for rate in grid(task) if length in task.lengths else ():
                    done = len(stored.get(rate, []))
                    if done < seeds:
                        yield Job(spec, range(done, seeds), (schedule, length), rate)


def _run(job: Job) -> list[float]:
    task = load_task(job.spec)
    if job.curve is None:
        return [initial_loss(task, seed) for seed in job.seeds]
    schedule, length = job.curve
    lr = 10.0 ** float(job.rate)
    return [final_loss(task, lr, schedule, length * task.steps, seed) for seed in job.seeds]


def _store(record: Record, job: Job, losses: list[float]) -> None:
    if job.curve is None:
        record["initial"] += losses
        return
    # JSON has no infinity; null stands for a run that diverged.
    finite = [loss if loss < math.inf else None for loss in losses]
    curve = curve_key(*job.curve)
    runs = record["final"].setdefault(curve, {})
    runs[job.rate] = runs.get(job.rate, []) + finite
    record["final"][curve] = dict(sorted(runs.items(), key=lambda run: float(run[0])))


def _write(path: Path, record: Record) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    partial.write_text(_one_rate_per_line(record))
    partial.replace(path)


def _one_rate_per_line(record: Record) -> str:
    final = {
        curve: {rate: json.dumps(losses) for rate, losses in runs.items()}
        for curve, runs in record["final"].items()
    }
    text = json.dumps(record | {"final": final}, indent=1)
    return text.replace('"[', "[").replace(']"', "]") + "\n"


def _warn_of_edges(record: Record) -> None:
    for curve in record["final"]:
        schedule, length = curve.removesuffix("x").split()
        if not truth_from_record(record, schedule, int(length)).best_is_interior:
            _logger.warning("%s, %s: the best rate is at the edge", record["task"], curve)

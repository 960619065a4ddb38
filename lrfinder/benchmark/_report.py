"""The report: a page of tables and two pictures, from what is stored."""

from __future__ import annotations

import logging
import math
import os
import platform
from collections.abc import Iterable, Sequence
from datetime import date
from importlib import metadata, resources
from pathlib import Path

from lrfinder import __version__
from lrfinder._errors import InvalidInputError
from lrfinder._export.json import write_whole
from lrfinder.benchmark._leave_one_out import leave_one_out
from lrfinder.benchmark._measure import SEEDS, SWEEPS
from lrfinder.benchmark._pictures import draw_excess, draw_task
from lrfinder.benchmark._registry import load_task
from lrfinder.benchmark._score import CURVES, Bench, Score
from lrfinder.benchmark._task import Schedule

_logger = logging.getLogger(__name__)

_PACKAGES = ("torch", "numpy", "torch-lr-finder", "fastai", "lightning", "pytorch-ignite")
_SCHEDULES = {"constant": "constant", "onecycle": "OneCycleLR"}
# The task that is drawn where it is among those measured: its sweep shows every part of a curve.
_DRAWN = "digits-cnn-momentum"
# The finders whose constants were chosen on these tasks.
_FITTED = ("recommend", "recommend, steps given", "steepest", "midpoint", "minimum")

_SHOWN = ("recommend", "recommend, steps given", "steepest", "torch-lr-finder", "fastai steep")


def report(specs: Sequence[str], folder: Path) -> None:
    """Write README.md and its pictures from what is stored.

    Args:
        specs: the tasks, see `load_task`.
        folder: where the records are; the page is written there too.

    Raises:
        InvalidInputError: no task has both a truth and answers.
    """
    names = [load_task(spec).name for spec in specs]
    bench = Bench(folder, names)
    missing = [name for name in names if not bench.is_measured(name)]
    if missing:
        _logger.warning("left out, as something of them is not measured: %s", ", ".join(missing))
    bench = Bench(folder, [name for name in names if name not in missing])
    if not bench.tasks:
        raise InvalidInputError(
            f"expected stored results in {folder}, got none that are complete; run "
            "`lrfinder benchmark truth` and `lrfinder benchmark suggest` first"
        )
    drawn = _DRAWN if _DRAWN in bench.tasks else bench.tasks[0]
    draw_excess(bench, folder / "excess.png")
    draw_task(bench, drawn, SWEEPS[0], folder / f"{drawn}.png")
    write_whole(folder / "README.md", _page(bench, drawn))


def _page(bench: Bench, drawn: str) -> str:
    template = resources.files("lrfinder.benchmark").joinpath("_page.md")
    return template.read_text(encoding="utf-8").format(
        tasks=f"{len(bench.tasks)} task" + "s" * (len(bench.tasks) > 1),
        seeds=SEEDS,
        sweep=SWEEPS[0],
        excess=_excess_table(bench),
        other=_other_table(bench),
        left_out=_left_out_table(bench),
        by_task=_task_table(bench),
        drawn=drawn,
        sweeps=" and ".join(map(str, SWEEPS)),
        today=date.today().isoformat(),
        versions=", ".join(_versions()),
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count(),
        truth_seeds=bench.truth_seeds,
    )


def _excess_table(bench: Bench) -> str:
    heads = [f"{_curve(schedule, length)}" for schedule, length in CURVES]
    counts = [len(bench.judged(schedule, length)) for schedule, length in CURVES]
    header = ["finder"] + [f"{h} ({n} tasks)" for h, n in zip(heads, counts, strict=True)]
    scores = {name: [bench.score(name, *curve) for curve in CURVES] for name in bench.candidates}
    ranked = sorted(scores, key=lambda name: _mean(scores[name][0]))
    return _table(header, ([name, *map(_summary, scores[name])] for name in ranked))


def _other_table(bench: Bench) -> str:
    header = ["finder", "regret, constant", "regret, OneCycleLR", "distance", "spread", "refusals"]
    rows = []
    for name in sorted(bench.candidates, key=lambda name: _mean(bench.score(name, *CURVES[0]))):
        constant, onecycle = bench.score(name, "constant", 1), bench.score(name, "onecycle", 1)
        rows.append(
            [
                name,
                _number(constant.mean_regret if constant else math.nan),
                _number(onecycle.mean_regret if onecycle else math.nan),
                _number(constant.mean_distance if constant else math.nan),
                _number(bench.spread(name), digits=1),
                "{} of {}".format(*bench.refusals(name)),
                f"{bench.steps(name):.0f}",
            ]
        )
    return _table([*header, "steps"], rows)


def _left_out_table(bench: Bench) -> str:
    header = ["finder", "schedule", "as it is", "chosen on the other tasks", "fitted to all", "by"]
    rows = []
    for name in _FITTED:
        for schedule, length in CURVES:
            found = leave_one_out(bench, name, schedule, length)
            if found is not None:
                numbers = [_number(value) for value in (found.as_it_is, found.left_out, found.best)]
                rows.append([name, _curve(schedule, length), *numbers, f"{found.factor:.2f}"])
    return _table(header, rows)


def _task_table(bench: Bench) -> str:
    shown = [name for name in _SHOWN if name in bench.candidates]
    header = ["task", "best lr", "best max_lr", *shown]
    scores = {
        name: [bench.score(name, schedule, 1) for schedule in ("constant", "onecycle")]
        for name in shown
    }
    return _table(header, (_task_row(bench, task, scores) for task in bench.tasks))


def _task_row(bench: Bench, task: str, scores: dict[str, list[Score | None]]) -> list[str]:
    truths = [bench.truth(task, schedule, 1) for schedule in ("constant", "onecycle")]
    best = [f"{truth.best_lr:.1e}" if truth else "" for truth in truths]
    excess = (
        " / ".join(_number(s.by_task[task] if s and task in s.by_task else math.nan) for s in pair)
        for pair in scores.values()
    )
    return [task, *best, *excess]


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _curve(schedule: Schedule, length: int) -> str:
    return _SCHEDULES[schedule] + (f", {length}x steps" if length > 1 else "")


def _mean(score: Score | None) -> float:
    return score.summary.mean if score else math.inf


def _summary(score: Score | None) -> str:
    return " / ".join(map(_number, score.summary)) if score else ""


def _number(value: float, digits: int = 3) -> str:
    if math.isnan(value):
        return ""
    return f"{value:.{digits}f}" if abs(value) < 10 else f"{value:.3g}"


def _versions() -> Iterable[str]:
    yield f"lrfinder {__version__}"
    for package in _PACKAGES:
        try:
            yield f"{package} {metadata.version(package)}"
        except metadata.PackageNotFoundError:
            continue

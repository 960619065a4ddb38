"""The report: a page of tables and two pictures, from what is stored."""

from __future__ import annotations

import logging
import math
import os
import platform
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from pathlib import Path

from lrfinder import InvalidInputError, __version__
from tests.benchmarks.suggestions.files import write_whole
from tests.benchmarks.suggestions.measure import SEEDS, SWEEPS
from tests.benchmarks.suggestions.pictures import draw_excess, draw_task
from tests.benchmarks.suggestions.score import CURVES, EVERY, Bench, Score
from tests.benchmarks.suggestions.task import SCHEDULES, TITLES, Schedule
from tests.benchmarks.suggestions.tasks import DEVELOPMENT, HELD_OUT, ONCE_HELD_OUT, TASKS
from tests.benchmarks.suggestions.truth import Measure

_logger = logging.getLogger(__name__)

_MEASURES: dict[Measure, str] = {"final": "Final loss", "checkpoint": "Best checkpoint"}
# The task that is drawn where it is among those measured: its sweep shows every part of a curve.
_DRAWN = "digits-cnn-momentum"
_BUDGETS = ("recommend, steps given", "recommend, 1000 steps", "recommend, 3000 steps")
_SHOWN = (
    "recommend", "recommend, steps given", "recommend, steps and validation given", "steepest",
    "usual rate", "Optuna", "fastai valley",
)  # fmt: skip


def report(names: Sequence[str], folder: Path) -> None:
    """Write README.md and its pictures from what is stored.

    Args:
        names: of tasks.
        folder: where the records are; the page is written there too.

    Raises:
        InvalidInputError: no task has both a truth and answers.
    """
    held_out = [name for name in names if name in HELD_OUT]
    moved = Bench(folder, [name for name in names if name in ONCE_HELD_OUT])
    parts = {
        "Tasks held out": Bench(folder, held_out),
        "Tasks for development": Bench(folder, [name for name in names if name in DEVELOPMENT]),
    }
    measured = {task: bench for bench in parts.values() for task in bench.tasks}
    if len(measured) < len(names):
        missing = ", ".join(name for name in names if name not in measured)
        _logger.warning("left out, as truth or range tests are missing: %s", missing)
    if not measured:
        raise InvalidInputError(
            f"no task has complete results in {folder}; run the stages truth and suggest first"
        )
    drawn = _DRAWN if _DRAWN in measured else next(iter(measured))
    main = next(bench for bench in parts.values() if bench.tasks)
    draw_excess(main, folder / "excess.png")
    draw_task(measured[drawn], drawn, SWEEPS[0], folder / f"{drawn}.png")
    for title, bench in parts.items():
        if partial := "; ".join(bench.partial):
            _logger.warning("%s: left out, as some were not asked about: %s", title, partial)
    told = _moved(moved, Bench(folder, [*held_out, *moved.tasks])) if moved.tasks else ""
    page = _page({title: bench for title, bench in parts.items() if bench.tasks}, told, drawn)
    write_whole(folder / "README.md", page)


def _page(parts: dict[str, Bench], moved: str, drawn: str) -> str:
    stored = set[str]().union(*(bench.versions for bench in parts.values()))
    return _template("page").format(
        counts=", ".join(f"{title.lower()}: {len(bench.tasks)}" for title, bench in parts.items()),
        seeds=SEEDS,
        sweep=SWEEPS[0],
        truth_seeds=", ".join(f"{t.lower()}: {bench.truth_seeds}" for t, bench in parts.items()),
        parts="\n".join([*(_part(title, bench) for title, bench in parts.items()), moved]),
        tasks="\n".join(f"### {title}\n\n{_tasks(b)}" for title, b in parts.items()),
        by_task="\n".join(f"### {t}\n\n{_task_table(bench)}" for t, bench in parts.items()),
        drawn=drawn,
        sweeps=" and ".join(map(str, SWEEPS)),
        today=date.today().isoformat(),
        version=__version__,
        stored="; ".join(sorted(stored)) or "none",
        python=platform.python_version(),
        machine=f"{platform.system()} {platform.machine()}",
        cores=os.cpu_count(),
    )


def _template(name: str) -> str:
    return Path(__file__).with_name(f"{name}.md").read_text(encoding="utf-8")


def _part(title: str, bench: Bench) -> str:
    tables = [f"## {title}\n"]
    missing = [name for name in EVERY if name not in bench.candidates]
    if missing:
        tables += [f"Not here, as not asked about all of these tasks: {'; '.join(missing)}.\n"]
    for measure, name in _MEASURES.items():
        if bench.judged("constant", 1, measure):
            tables += [f"### {name}: excess of the suggested rates\n"]
            tables += [_excess_table(bench, bench.candidates, measure)]
            if bench.alternatives:
                tables += [f"### {name}: optimizers that are given no rate\n"]
                tables += [_excess_table(bench, bench.alternatives, measure)]
    budgets = [name for name in _BUDGETS if name in bench.candidates]
    if len(budgets) > 1:
        tables += ["### More steps for `recommend`\n", _budget_table(bench, budgets)]
    return "\n".join([*tables, "### What else\n", _other_table(bench)])


def _moved(moved: Bench, together: Bench) -> str:
    """Return what the tasks that were held out look like now, alone and with those held out."""
    names = [*moved.candidates, *moved.alternatives]
    scores = {name: [moved.score(name, schedule, 1) for schedule in SCHEDULES] for name in names}
    rows = ([n, *(_of_task(task, pair) for task in moved.tasks)] for n, pair in scores.items())
    return "\n".join(
        [
            _template("moved").format(names=", ".join(f"`{task}`" for task in moved.tasks)),
            _table(["", *moved.tasks], rows),
            _excess_table(together, [*together.candidates, *together.alternatives], "final"),
        ]
    )


def _excess_table(bench: Bench, names: Sequence[str], measure: Measure) -> str:
    curves = [curve for curve in CURVES if bench.judged(*curve, measure)]
    counts = [len(bench.judged(*curve, measure)) for curve in curves]
    header = [
        f"{_curve(*curve)} ({count} task{'s' * (count > 1)})"
        for curve, count in zip(curves, counts, strict=True)
    ]
    scores = {name: [bench.score(name, *curve, measure) for curve in curves] for name in names}
    ranked = sorted(scores, key=lambda name: _median(scores[name][0]))
    rows = ([name, *map(_summary, scores[name])] for name in ranked)
    return _table(["", *header], rows)


def _budget_table(bench: Bench, names: Sequence[str]) -> str:
    curves = [(m, *curve) for m in _MEASURES for curve in CURVES if bench.judged(*curve, m)]
    header = ["", "steps taken", *(f"{_curve(s, n)}, {_MEASURES[m].lower()}" for m, s, n in curves)]
    rows = []
    for name in names:
        scores = [bench.score(name, schedule, n, m) for m, schedule, n in curves]
        rows.append([name, f"{bench.steps(name):.0f}", *map(_summary, scores)])
    return _table(header, rows)


def _other_table(bench: Bench) -> str:
    header = (
        "", "regret, constant", "regret, OneCycleLR", "distance", "off by more than ten",
        "refusals", "spread", "steps",
    )  # fmt: skip
    rows = []
    for name in sorted(bench.candidates, key=lambda name: _median(bench.score(name, *CURVES[0]))):
        scores = [bench.score(name, schedule, 1) for schedule in SCHEDULES]
        regrets = [_number(score.mean_regret if score else math.nan) for score in scores]
        rows.append(
            [
                name,
                *regrets,
                _number(scores[0].mean_distance if scores[0] else math.nan),
                "{} of {}".format(*scores[0].wild) if scores[0] else "",
                "{} of {}".format(*bench.refusals(name)),
                _number(bench.spread(name), digits=1),
                f"{bench.steps(name):.0f}",
            ]
        )
    return _table(header, rows)


def _task_table(bench: Bench) -> str:
    shown = [name for name in _SHOWN if name in bench.candidates]
    scores = {name: [bench.score(name, schedule, 1) for schedule in SCHEDULES] for name in shown}
    rows = (_task_row(bench, task, scores) for task in bench.tasks)
    return _table(["task", "best lr", "best max_lr", *shown], rows)


def _task_row(bench: Bench, task: str, scores: Mapping[str, Sequence[Score | None]]) -> list[str]:
    truths = [bench.truth(task, schedule, 1) for schedule in SCHEDULES]
    best = [f"{truth.best_lr:.1e}" if truth else "" for truth in truths]
    return [task, *best, *(_of_task(task, pair) for pair in scores.values())]


def _of_task(task: str, scores: Sequence[Score | None]) -> str:
    """Return the excess under both schedules."""
    if None in scores:
        return ""
    return " / ".join(_number(score.by_task[task]) for score in scores if score)


def _tasks(bench: Bench) -> str:
    header = ["task", "kind", "model", "optimizer", "batch size", "steps"]
    tasks = [TASKS[name] for name in bench.tasks]
    rows = ([t.name, t.kind, t.model, t.optimizer, str(t.batch_size), str(t.steps)] for t in tasks)
    return _table(header, rows)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _curve(schedule: Schedule, length: int) -> str:
    return TITLES[schedule] + (f", {length}x steps" if length > 1 else "")


def _median(score: Score | None) -> float:
    return score.summary.median if score else math.inf


def _summary(score: Score | None) -> str:
    return " / ".join(map(_number, score.summary)) if score else ""


def _number(value: float, digits: int = 3) -> str:
    if not math.isfinite(value):
        return ""
    return f"{value:.{digits}f}" if abs(value) < 10 else f"{value:.3g}"

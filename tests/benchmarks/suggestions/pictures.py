"""The pictures of the report: excess by candidate, and one task in detail."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lrfinder import RangeTestResult
from tests.benchmarks.suggestions.score import Bench, Score
from tests.benchmarks.suggestions.task import SCHEDULES, TITLES

_COLOURS = {"constant": "C0", "onecycle": "C3"}
# An excess below this is drawn here: it cannot be told from none.
_SMALLEST = 0.005


def draw_excess(bench: Bench, path: Path) -> None:
    """Draw the excess of every candidate, the best on top, for both schedules.

    A dot is a task, a diamond the median over tasks.

    Args:
        bench: what was measured.
        path: file to write.
    """
    figure = _figure(11, 1.2 + 0.34 * len(bench.candidates))
    axes = figure.subplots(1, len(SCHEDULES))
    for ax, schedule in zip(axes, SCHEDULES, strict=True):
        scores = {name: bench.score(name, schedule, 1) for name in bench.candidates}
        _draw_scores(ax, {name: s for name, s in scores.items() if s}, _COLOURS[schedule])
        ax.set_title(TITLES[schedule])
    figure.savefig(path)


def _draw_scores(ax: Axes, scores: dict[str, Score], colour: str) -> None:
    ranked = sorted(scores, key=lambda name: -scores[name].summary.median)
    for row, name in enumerate(ranked):
        tasks = np.maximum(list(scores[name].by_task.values()), _SMALLEST)
        ax.plot(tasks, np.full(len(tasks), row), "o", color=colour, alpha=0.3, markersize=5)
        median = scores[name].summary.median
        ax.plot(median, row, "D", color="black", markersize=6)
        ax.annotate(
            f"{median:.2f}",
            (median, row),
            (0, 6),
            textcoords="offset points",
            ha="center",
            fontsize=8,
        )
    ax.set_yticks(range(len(ranked)), ranked)
    ax.set_ylim(-0.6, len(ranked) - 0.3)
    ax.set_xscale("log")
    ax.set_xlabel("excess (dot: a task, diamond: median)")
    ax.grid(axis="x", alpha=0.3)


def draw_task(bench: Bench, task: str, steps: int, path: Path) -> None:
    """Draw what every rate of a task trains to, its first sweep, and all suggestions.

    Args:
        bench: what was measured.
        task: its name.
        steps: length of the sweep.
        path: file to write.
    """
    figure = _figure(9, 7 + 0.25 * len(bench.candidates))
    heights = (3, 3, 0.3 * len(bench.candidates) + 0.3)
    truth_ax, sweep_ax, rates_ax = figure.subplots(3, sharex=True, height_ratios=heights)
    truth_ax.set_title(task)
    _draw_truth(truth_ax, bench, task)
    _draw_sweep(sweep_ax, bench.sweep(task, steps))
    sweep_ax.set_ylabel(f"loss in a range test\nof {steps} steps")
    _draw_rates(rates_ax, bench, task)
    rates_ax.set_xlabel("learning rate")
    figure.savefig(path)


def _draw_truth(ax: Axes, bench: Bench, task: str) -> None:
    for schedule in SCHEDULES:
        truth = bench.truth(task, schedule, 1)
        if truth is None:
            continue
        lr = 10.0 ** np.asarray(truth.log10_lrs, float)
        ax.plot(lr, truth.losses, "o-", color=_COLOURS[schedule], label=TITLES[schedule])
        ax.axvline(truth.best_lr, color=_COLOURS[schedule], linestyle=":")
    ax.set_xscale("log")
    ax.set_ylabel("validation loss\nafter training")
    ax.legend(title="dotted: the best rate", loc="lower left")


def _draw_sweep(ax: Axes, result: RangeTestResult) -> None:
    ax.plot(result.lr, result.loss, ".-", color="C2", linewidth=0.8)
    low, start = np.nanmin(result.loss), result.loss[0]
    ax.set_ylim(low - 0.1 * (start - low), start + 0.5 * (start - low))


def _draw_rates(ax: Axes, bench: Bench, task: str) -> None:
    names = bench.candidates[::-1]
    for row, name in enumerate(names):
        for shift, schedule in ((0.18, "constant"), (-0.18, "onecycle")):
            answered = [answer.rate(schedule) for answer in bench.answers(name, task, 1)]
            rates = [rate for rate in answered if rate is not None]
            rows = np.full(len(rates), row + shift)
            ax.plot(rates, rows, "|", color=_COLOURS[schedule], markersize=9, markeredgewidth=1.6)
    ax.set_yticks(range(len(names)), names)
    ax.set_ylim(-0.6, len(names) - 0.4)
    ax.grid(axis="x", alpha=0.3)


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    return figure

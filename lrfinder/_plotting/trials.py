"""The picture of trials: loss over learning rate, the interval, and the way to the answer."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

from lrfinder._plotting import marks
from lrfinder._plotting.curves import SIZE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Inches, for the picture of the sweep and that of its trials side by side.
PAIR_SIZE = (2 * SIZE[0], SIZE[1])
Point = tuple[float, float]


def draw_trials(
    ax: Axes,
    *,
    probes: Sequence[Point],
    trials: Sequence[Point],
    best_lr: float,
    lr: float,
    interval: tuple[float, float],
    quantity: str,
) -> None:
    """Draw trials as loss over learning rate.

    One that diverged, or whose loss is above the picture, is a cross at its upper edge.

    Args:
        ax: axes to draw on.
        probes: rate and loss of each probe.
        trials: rate and loss of each trial, at least one of them finite.
        best_lr: rate that is best for the length of a trial.
        lr: the recommended rate.
        interval: lowest and highest rate that the trials speak for.
        quantity: what the losses are, such as "training loss".
    """
    ax.set_xscale("log")
    marks.draw_span(ax, "interval", *interval)
    heights = [loss for _, loss in trials if math.isfinite(loss)]
    bottom, top = min(heights), max(heights)
    margin = 0.35 * (top - bottom) or 0.1 * abs(top) or 1.0
    ax.set_ylim(bottom - margin, top + margin)
    _draw_points(ax, probes, "o", marks.BLUE, "probes, the shortest runs", alpha=0.35)
    _draw_points(ax, trials, "o-", marks.BLUE, "trials", alpha=1.0)
    ax.axvline(lr, color=marks.GREEN, linewidth=1.2, label=f"recommended: {lr:.2e}")
    if not math.isclose(best_lr, lr):
        height = bottom - 0.6 * margin
        arrow = {"arrowstyle": "->", "color": marks.GREEN, "linewidth": 1.5}
        ax.annotate("", (lr, height), (best_lr, height), arrowprops=arrow)
        text = f"x {lr / best_lr:.2g}: a longer run"
        ax.annotate(text, (lr, height), (4, 3), textcoords="offset points",
                    fontsize="small", color=marks.GREEN)  # fmt: skip
    marks.describe(ax, "learning rate", f"{quantity} at the end")


def _draw_points(
    ax: Axes, points: Sequence[Point], style: str, colour: str, label: str, *, alpha: float
) -> None:
    _, top = ax.get_ylim()
    inside = sorted(point for point in points if point[1] <= top)
    outside = [rate for rate, loss in points if not loss <= top]
    if inside:
        ax.plot(*zip(*inside, strict=True), style, color=colour, alpha=alpha, label=label)
    if outside:
        above = None if inside else f"{label}, above the picture"
        heights = [top] * len(outside)
        ax.plot(outside, heights, "X", color=colour, alpha=alpha, clip_on=False, label=above)

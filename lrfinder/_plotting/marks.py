"""The pieces of a picture of a range test: each draws one thing on given axes."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from lrfinder._plotting.lines import Line

if TYPE_CHECKING:
    from matplotlib.axes import Axes

# Masataka Okabe and Kei Ito, "Color Universal Design" (2008): told apart by colour-blind readers.
# The yellow of the palette is left out because it cannot be read on white.
BLUE, VERMILLION, GREEN = "#0072B2", "#D55E00", "#009E73"
COLOURS = (BLUE, VERMILLION, GREEN, "#CC79A7", "#E69F00", "#56B4E9", "#000000")
GREY = "#555555"
# How a single point is drawn, over everything else.
_BIG: dict[str, Any] = {"markersize": 9, "markeredgecolor": "white", "zorder": 5}
# Part of the width of the axes that a number takes.
_ROOM_FOR_A_NUMBER = 0.2


def label_decades(ax: Axes, lrs: Sequence[float]) -> None:
    """Label 2 and 5 beside the powers of ten where a logarithmic axis shows only one or two."""
    from matplotlib.ticker import LogFormatterSciNotation, LogLocator

    if lrs and 1 <= math.log10(max(lrs) / min(lrs)) < 2:  # fewer than 1: matplotlib labels more
        ax.xaxis.set_minor_locator(LogLocator(subs=(2, 5)))
        every = (math.inf, math.inf)
        ax.xaxis.set_minor_formatter(LogFormatterSciNotation(minor_thresholds=every))


def draw_line(ax: Axes, line: Line, label: str, colour: str, style: str = "-") -> None:
    """Draw the raw values as faint points, and the smoothed ones as a line over their band."""
    ax.plot(line.lr, line.raw, ".", color=colour, markersize=6, alpha=0.4, markeredgewidth=0)
    if line.band is not None:
        low, high = line.band
        ax.fill_between(line.lr, low, high, color=colour, alpha=0.18, linewidth=0)
    ax.plot(line.lr, line.smoothed, style, color=colour, linewidth=1.8, label=label)


def draw_span(ax: Axes, name: str, low: float, high: float) -> None:
    """Shade the rates between two others."""
    label = f"{name} {low:.1e} to {high:.1e}"
    ax.axvspan(low, high, color=GREEN, alpha=0.1, linewidth=0, zorder=0, label=label)


def draw_suggestion(ax: Axes, line: Line, lr: float, colour: str, label: str | None = None) -> None:
    """Mark a rate on a line."""
    ax.axvline(lr, color=colour, linewidth=0.8, alpha=0.6, zorder=1)
    ax.plot([lr], [line.at(lr)], "o", color=colour, label=label, **_BIG)


def write_value(ax: Axes, line: Line, lr: float, colour: str) -> None:
    """Write a rate to the lower left of its point, where a falling curve leaves room."""
    loss = line.at(lr)
    if not math.isfinite(loss):
        return
    ax.get_xlim()  # settles the limits, which the transformation reads as they are
    across, _ = ax.transAxes.inverted().transform(ax.transData.transform((lr, loss)))
    left = across > _ROOM_FOR_A_NUMBER
    ax.annotate(
        f"{lr:.2e}",
        (lr, loss),
        xytext=(-9, -4) if left else (9, 4),
        textcoords="offset points",
        horizontalalignment="right" if left else "left",
        verticalalignment="top" if left else "bottom",
        color=colour,
        fontweight="bold",
        bbox={"boxstyle": "round,pad=0.2", "facecolor": "white", "alpha": 0.8, "linewidth": 0},
        zorder=6,
    )


def draw_stop(ax: Axes, line: Line, colour: str, label: str | None = None) -> None:
    """Mark the end of a sweep, at the edge of the picture where the loss has left it."""
    bottom, top = ax.get_ylim()
    last = line.raw[-1] if np.isfinite(line.raw[-1]) else top
    height = min(max(last, bottom), top)
    ax.plot([line.lr[-1]], [height], "X", color=colour, label=label, clip_on=False, **_BIG)


def describe(ax: Axes, xlabel: str, ylabel: str, reason: str = "") -> None:
    """Label axes, and add a legend with an optional sentence above it."""
    ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    ax.spines[["top", "right"]].set_visible(False)
    ax.grid(visible=True, alpha=0.25, linewidth=0.6)
    ax.set_axisbelow(True)
    ax.legend(
        title=textwrap.fill(reason, 48) or None,
        title_fontsize="small",
        fontsize="small",
        alignment="left",
        framealpha=0.85,
        edgecolor="none",
    )

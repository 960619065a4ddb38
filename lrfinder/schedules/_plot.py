"""A picture of what schedules will do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch.optim import Optimizer

from lrfinder._errors import InvalidInputError
from lrfinder._plotting.marks import COLOURS
from lrfinder.schedules._simulate import Schedule, rates

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_STYLES = ("-", "--", ":", "-.")


def plot_schedule(
    schedules: Mapping[str, Schedule],
    optimizer: Optimizer,
    *,
    total_steps: int,
    ax: Axes | None = None,
) -> Axes:
    """Draw the rate over the steps of one or more schedules, without touching the optimizer.

    ```python
    plot_schedule(
        {
            "cosine": lambda optimizer: cosine(optimizer, suggestion, total_steps=1000),
            "one cycle": lambda optimizer: one_cycle(optimizer, suggestion, total_steps=1000),
        },
        optimizer,
        total_steps=1000,
    )
    ```

    Each schedule has a colour. Parameter groups whose rates differ have lines of their own.
    Nothing is shown: save the picture with `ax.figure.savefig(path)`.

    Args:
        schedules: from the label to what builds the scheduler on the optimizer it is given.
        optimizer: gives the groups, their rates and the kind of momentum.
        total_steps: number of optimizer steps to draw, >= 1.
        ax: where to draw; the axes of a new figure if not given.

    Returns:
        The axes.

    Raises:
        InvalidInputError: if there is no schedule, or one was built on another optimizer.

    Example:
        >>> import matplotlib; matplotlib.use("agg")
        >>> import torch
        >>> from lrfinder.schedules import cosine
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> axes = plot_schedule(
        ...     {"cosine": lambda sgd: cosine(sgd, 1.0, total_steps=9)}, sgd, total_steps=9)
        >>> axes.get_ylabel()
        'learning rate'
    """
    if not schedules:
        raise InvalidInputError("expected at least one schedule to draw, got none")
    curves = {label: rates(build, optimizer, total_steps) for label, build in schedules.items()}
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.subplots(layout="constrained")[1]
    for index, (label, per_group) in enumerate(curves.items()):
        _draw(ax, label, per_group, index)
    ax.set_xlabel("optimizer step")
    ax.set_ylabel("learning rate")
    ax.yaxis.set_major_formatter("{x:.1e}")
    # Above the axes, where it covers no line.
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize="small")
    return ax


def _draw(ax: Axes, label: str, per_group: list[list[float]], index: int) -> None:
    lines = _distinct(per_group)
    colours_used_up, colour = divmod(index, len(COLOURS))
    for line, (curve, groups) in enumerate(lines.items()):
        ax.plot(
            curve,
            color=COLOURS[colour],
            linestyle=_STYLES[(line + colours_used_up) % len(_STYLES)],
            label=f"{label}, group {', '.join(map(str, groups))}" if len(lines) > 1 else label,
        )


def _distinct(per_group: list[list[float]]) -> dict[tuple[float, ...], list[int]]:
    groups: dict[tuple[float, ...], list[int]] = {}
    for index, curve in enumerate(per_group):
        groups.setdefault(tuple(curve), []).append(index)
    return groups

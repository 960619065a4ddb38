"""A picture of what schedules will do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from torch.optim import Optimizer

from lrfinder._errors import InvalidInputError
from lrfinder.schedules._simulate import Schedule, rates

if TYPE_CHECKING:
    from matplotlib.axes import Axes


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

    Args:
        schedules: from the label to what builds the scheduler on the optimizer it is given.
        optimizer: gives the groups, their rates and the kind of momentum.
        total_steps: number of optimizer steps to draw, >= 1.
        ax: where to draw; a new figure if not given. Nothing is shown.

    Raises:
        InvalidInputError: if there is no schedule, or one was built on another optimizer.
    """
    if not schedules:
        raise InvalidInputError("expected at least one schedule to draw, got none")
    curves = {label: rates(build, optimizer, total_steps) for label, build in schedules.items()}
    if ax is None:
        from matplotlib import pyplot

        ax = pyplot.subplots()[1]
    for index, (label, per_group) in enumerate(curves.items()):
        _draw(ax, label, per_group, color=f"C{index}")
    ax.set_xlabel("optimizer step")
    ax.set_ylabel("learning rate")
    ax.ticklabel_format(axis="y", style="sci", scilimits=(-2, 3))
    ax.legend()
    return ax


def _draw(ax: Axes, label: str, per_group: list[list[float]], color: str) -> None:
    lines = _distinct(per_group)
    for index, (curve, groups) in enumerate(lines.items()):
        suffix = f", group {', '.join(map(str, groups))}" if len(lines) > 1 else ""
        style = ("-", "--", ":", "-.")[index % 4]
        ax.plot(curve, linestyle=style, color=color, label=label + suffix)


def _distinct(per_group: list[list[float]]) -> dict[tuple[float, ...], list[int]]:
    groups: dict[tuple[float, ...], list[int]] = {}
    for index, curve in enumerate(per_group):
        groups.setdefault(tuple(curve), []).append(index)
    return groups

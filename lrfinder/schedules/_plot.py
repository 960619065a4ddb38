"""What a schedule will do, in numbers and as a picture."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lrfinder._errors import InvalidInputError
from lrfinder._plotting.marks import COLOURS
from lrfinder._sweep.checks import whole_number
from lrfinder._sweep.param_groups import learning_rates

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Schedule = Callable[[Optimizer], LRScheduler]

_STYLES = ("-", "--", ":", "-.")


class _StandIn(Optimizer):
    """An optimizer with the settings of another one and no parameters. Its step does nothing."""

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__([torch.zeros(())], copy.deepcopy(optimizer.defaults))
        self.param_groups = [
            copy.deepcopy({**group, "params": []}) for group in optimizer.param_groups
        ]

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Do nothing."""


def rates(schedule: Schedule, optimizer: Optimizer, total_steps: int) -> list[list[float]]:
    """Return the rate of each parameter group at each step, without changing the optimizer.

    Args:
        schedule: builds a scheduler on the optimizer that it is given. A `ReduceLROnPlateau` is
            stepped once per step, with a metric that never improves.
        optimizer: gives the groups, their rates and the kind of momentum.
        total_steps: number of optimizer steps, >= 1.

    Returns:
        One list per parameter group, with `total_steps` rates from step 0.

    Raises:
        InvalidInputError: if the scheduler was built on another optimizer.

    Example:
        >>> from lrfinder.schedules import step
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> rates(lambda sgd: step(sgd, 0.5, step_size=2, gamma=0.5), sgd, 6)
        [[0.5, 0.5, 0.25, 0.25, 0.125, 0.125]]
    """
    total_steps = whole_number("total_steps", total_steps)
    stand_in = _StandIn(optimizer)
    scheduler = schedule(stand_in)
    if scheduler.optimizer is not stand_in:
        raise InvalidInputError(
            "expected a schedule that builds on the optimizer it is given, got one on another "
            "optimizer; write `lambda optimizer: cosine(optimizer, ...)`"
        )
    metric: tuple[Any, ...] = (1.0,) if isinstance(scheduler, ReduceLROnPlateau) else ()
    history = [learning_rates(stand_in)]
    for _ in range(total_steps - 1):
        stand_in.step()
        scheduler.step(*metric)
        history.append(learning_rates(stand_in))
    return [list(group) for group in zip(*history, strict=True)]


def plot_schedule(
    schedules: Mapping[str, Schedule],
    optimizer: Optimizer,
    *,
    total_steps: int,
    ax: Axes | None = None,
) -> Axes:
    """Draw the rates of one or more schedules over the steps, without changing the optimizer.

    Each schedule has a colour. Parameter groups with different rates have a line each. The picture
    is not shown: save it with `ax.figure.savefig(path)`.

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
        >>> from lrfinder.schedules import cosine
        >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
        >>> builders = {"cosine": lambda sgd: cosine(sgd, 1.0, total_steps=9)}
        >>> plot_schedule(builders, sgd, total_steps=9).get_ylabel()
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
    ax.set(xlabel="optimizer step", ylabel="learning rate")
    ax.yaxis.set_major_formatter("{x:.1e}")
    # Above the axes, where it covers no line.
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1.0), ncols=3, fontsize="small")
    return ax


def _draw(ax: Axes, label: str, per_group: list[list[float]], index: int) -> None:
    lines: dict[tuple[float, ...], list[str]] = {}  # groups with the same rates share a line
    for group, curve in enumerate(per_group):
        lines.setdefault(tuple(curve), []).append(str(group))
    round_of_colours, colour = divmod(index, len(COLOURS))
    for line, (lrs, groups) in enumerate(lines.items()):
        ax.plot(
            lrs,
            color=COLOURS[colour],
            linestyle=_STYLES[(line + round_of_colours) % len(_STYLES)],
            label=f"{label}, group {', '.join(groups)}" if len(lines) > 1 else label,
        )

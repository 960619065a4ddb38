"""What a schedule will do, computed on a stand-in for the optimizer."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.checks import check_count
from lrfinder._sweep.param_groups import learning_rates

Schedule = Callable[[Optimizer], LRScheduler]


class _StandIn(Optimizer):
    """An optimizer with another's settings and none of its parameters; its step does nothing."""

    def __init__(self, optimizer: Optimizer) -> None:
        super().__init__([torch.zeros(())], copy.deepcopy(optimizer.defaults))
        self.param_groups = [
            {
                name: [] if name == "params" else copy.deepcopy(value)
                for name, value in group.items()
            }
            for group in optimizer.param_groups
        ]

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        """Do nothing."""


def rates(schedule: Schedule, optimizer: Optimizer, total_steps: int) -> list[list[float]]:
    """Return the rate of each parameter group at each step, without touching the optimizer.

    A `ReduceLROnPlateau` is shown for a metric that never gets better, one evaluation per step.

    Args:
        schedule: builds a scheduler on the optimizer that it is given.
        optimizer: gives the groups, their rates and the kind of momentum.
        total_steps: number of optimizer steps, >= 1.

    Returns:
        One list per parameter group, with `total_steps` rates from step 0.

    Raises:
        InvalidInputError: if the scheduler was built on another optimizer.

    >>> from lrfinder.schedules import step
    >>> sgd = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    >>> rates(lambda sgd: step(sgd, 0.5, step_size=2, gamma=0.5, total_steps=6), sgd, 6)
    [[0.5, 0.5, 0.25, 0.25, 0.125, 0.125]]
    """
    check_count("total_steps", total_steps)
    stand_in = _StandIn(optimizer)
    scheduler = schedule(stand_in)
    if scheduler.optimizer is not stand_in:
        raise InvalidInputError(
            "expected a schedule that builds on the optimizer it is given, got one on another "
            "optimizer; write `lambda optimizer: cosine(optimizer, ...)`"
        )
    history = [learning_rates(stand_in)]
    for _ in range(total_steps - 1):
        stand_in.step()
        _advance(scheduler)
        history.append(learning_rates(stand_in))
    return [list(group) for group in zip(*history, strict=True)]


def _advance(scheduler: LRScheduler) -> None:
    if isinstance(scheduler, ReduceLROnPlateau):
        scheduler.step(1.0)
    else:
        scheduler.step()

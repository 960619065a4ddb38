"""The only code that reads or writes `group["lr"]`."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch.optim import Optimizer


def learning_rates(optimizer: Optimizer) -> list[float]:
    """Return the current learning rate of each parameter group."""
    return [float(group["lr"]) for group in optimizer.param_groups]


def set_learning_rates(optimizer: Optimizer, lrs: Sequence[float]) -> None:
    """Give each parameter group its learning rate.

    A Tensor rate is filled in place: a compiled step holds on to that tensor, and a new one
    would make it compile again.

    Args:
        optimizer: its groups are changed.
        lrs: one rate per group, >= 0.
    """
    for group, lr in zip(optimizer.param_groups, lrs, strict=True):
        if isinstance(group["lr"], torch.Tensor):
            group["lr"].fill_(lr)
        else:
            group["lr"] = lr


def group_ratios(lrs: Sequence[float]) -> list[float]:
    """Return each rate divided by the largest one; all ones where every rate is 0.

    Args:
        lrs: one rate per parameter group, >= 0.
    """
    largest = max(lrs)
    return [lr / largest for lr in lrs] if largest > 0 else [1.0] * len(lrs)

"""One recorded quantity against the learning rate: what rules, pictures and reports read."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from lrfinder._sweep.grid import Array, StepMode
from lrfinder._sweep.stopping import StopReason


@dataclass(frozen=True, eq=False)
class Curve:
    """One recorded quantity of a range test.

    Attributes:
        lr: learning rates in rising order, shape `(n,)`; with several parameter groups the rate of
            the largest swept one.
        loss: values to be lowered, shape `(n,)`; may hold NaN and infinity.
        step_mode: spacing of the rates, `"exp"` or `"linear"`.
        stop_reason: why the sweep ended.
        steps: optimizer steps of the sweep, >= n.
        group_lrs: rates of every parameter group, shape `(groups, n)`.
        repeats: the same quantity in each of k sweeps, shape `(k, n)`.
        batch_size: samples in one optimizer step; None if unknown.

    Example:
        >>> from lrfinder import RangeTestResult
        >>> result = RangeTestResult((0.01, 0.1, 1.0), (2.3, 1.1, 9.0), "exp", 0.05,
        ...     StopReason.DIVERGED)
        >>> result.curve("loss").lr
        array([0.01, 0.1 , 1.  ])
    """

    lr: Array
    loss: Array
    step_mode: StepMode
    stop_reason: StopReason
    steps: int
    group_lrs: Array
    repeats: Array
    batch_size: int | None = None

    def singles(self) -> list[Curve]:
        """Return the curve of each sweep."""
        return [replace(self, loss=loss, repeats=loss[None]) for loss in self.repeats]

    def lrs_at(self, lr: float) -> tuple[float, ...]:
        """Return the rate of every parameter group where the largest swept one has `lr`.

        Args:
            lr: a rate within the swept range, > 0; the nearest ratio is taken outside of it.
        """
        at = np.log(self.lr)
        return tuple(_group_lr(rates, at, lr) for rates in self.group_lrs) or (lr,)


def _group_lr(rates: Array, at: Array, lr: float) -> float:
    if len(rates) > 1 and (rates == rates[0]).all():
        return float(rates[0])  # a group that is not swept; 0 if it is frozen
    if not rates.all():
        return 0.0
    log_ratio = np.interp(math.log(lr), at, np.log(rates) - at)
    return lr * math.exp(log_ratio) if log_ratio != 0 else lr

"""The frozen record of a range test: rates, raw losses, and why the sweep ended."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.grid import StepMode
from lrfinder._sweep.smoothing import ema
from lrfinder._sweep.stopping import StopReason

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame
    from torch.utils.tensorboard import SummaryWriter

    from lrfinder.suggestion import Suggestion

Array = npt.NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Curve:
    """One recorded quantity against the learning rate: what a rule reads.

    Attributes:
        lr: rates in rising order, shape `(n,)`.
        loss: values to be lowered, shape `(n,)`; may hold NaN and infinity.
        step_mode: how the rates are spaced, `"exp"` or `"linear"`.
        repeats: the same quantity for each of several sweeps, shape `(k, n)`, k >= 1.
    """

    lr: Array
    loss: Array
    step_mode: StepMode
    repeats: Array

    def single(self, index: int) -> Curve:
        """Return one of the sweeps alone."""
        one = self.repeats[index]
        return Curve(self.lr, one, self.step_mode, one[None])


@dataclass(frozen=True)
class RangeTestResult:
    """What a range test recorded, never changed afterwards.

    Attributes:
        lr: learning rate of each optimizer step, in the order they were taken, shape `(n,)`. With
            several parameter groups it is the rate of the group that has the largest one.
        loss: raw training loss of each step, computed before the update with that rate; its mean
            over the sweeps where the test was repeated. Shape `(n,)`.
        step_mode: `"exp"` or `"linear"`.
        smooth_f: weight of a new loss in the smoothed history, in [0, 1).
        stop_reason: why the sweep ended.
        group_lrs: rates of every parameter group, shape `(groups, n)`.
        val_steps: indices into `lr` at which validation ran, shape `(m,)`.
        val_loss: raw validation loss after each of those steps, shape `(m,)`.
        metrics: further values that the training step returned, each of shape `(n,)`.
        repeats: raw training losses of each sweep where there were several, each of shape `(n,)`.
        batch_size: samples in one optimizer step, over all micro-batches and processes; None where
            the batches do not tell.

    Example:
        >>> lr = tuple(10 ** (step / 10 - 6) for step in range(61))
        >>> loss = tuple(0.3 + 2.0 / (1 + (100 * rate) ** 2) for rate in lr)
        >>> result = RangeTestResult(
        ...     lr, loss, step_mode="exp", smooth_f=0.05, stop_reason=StopReason.COMPLETED)
        >>> result
        RangeTestResult(61 steps, lr 1.00e-06 to 1.00e+00, completed)
        >>> f"{result.suggest().lr:.0e}"
        '1e-02'
    """

    lr: tuple[float, ...]
    loss: tuple[float, ...]
    step_mode: StepMode
    smooth_f: float
    stop_reason: StopReason
    group_lrs: tuple[tuple[float, ...], ...] = ()
    val_steps: tuple[int, ...] = ()
    val_loss: tuple[float, ...] = ()
    metrics: Mapping[str, tuple[float, ...]] = field(default_factory=dict)
    repeats: tuple[tuple[float, ...], ...] = ()
    batch_size: int | None = None

    def __len__(self) -> int:
        return len(self.lr)

    def __repr__(self) -> str:
        swept = f", lr {self.lr[0]:.2e} to {self.lr[-1]:.2e}" if self.lr else ""
        return f"RangeTestResult({len(self)} steps{swept}, {self.stop_reason.value})"

    def _repr_html_(self) -> str:
        from lrfinder._plotting.notebook import result_html

        return result_html(self)

    @property
    def smoothed_loss(self) -> list[float]:
        """The training loss under an exponential moving average that weighs new ones `smooth_f`."""
        return ema(self.loss, self.smooth_f)

    @property
    def history(self) -> dict[str, list[float]]:
        """What the curve shows: `lr`, and the smoothed `loss` (of the validation set if used)."""
        if not self.val_loss:
            return {"lr": list(self.lr), "loss": self.smoothed_loss}
        return {
            "lr": [self.lr[step] for step in self.val_steps],
            "loss": ema(self.val_loss, self.smooth_f),
        }

    def curve(self, on: str | None = None, *, maximize: bool = False) -> Curve:
        """Return one recorded quantity as the curve that a rule reads.

        Args:
            on: `"loss"`, `"val_loss"` or the name of a metric; None takes the validation loss
                where there is one and the training loss elsewhere.
            maximize: the quantity is better when larger, as an accuracy is.

        Raises:
            InvalidInputError: if the quantity was not recorded.
        """
        name = on or ("val_loss" if self.val_loss else "loss")
        steps, values, repeats = self._recorded(name)
        sign = -1.0 if maximize else 1.0
        return Curve(
            lr=np.asarray(self.lr, dtype=np.float64)[steps],
            loss=sign * np.asarray(values, dtype=np.float64),
            step_mode=self.step_mode,
            repeats=sign * np.asarray(repeats, dtype=np.float64),
        )

    def _recorded(self, name: str) -> tuple[Any, tuple[float, ...], tuple[tuple[float, ...], ...]]:
        everywhere = np.arange(len(self.lr))
        if name == "loss":
            return everywhere, self.loss, self.repeats or (self.loss,)
        if name == "val_loss" and self.val_loss:
            return np.asarray(self.val_steps), self.val_loss, (self.val_loss,)
        if name in self.metrics:
            return everywhere, self.metrics[name], (self.metrics[name],)
        known = ["loss", *(["val_loss"] if self.val_loss else []), *self.metrics]
        raise InvalidInputError(f"expected one of {', '.join(known)}, got on={name!r}")

    def lrs_at(self, lr: float) -> tuple[float, ...]:
        """Return the rate of every parameter group where the reported rate is `lr`.

        Args:
            lr: a rate within the swept range, > 0; one outside takes the nearest ratio.
        """
        at = np.log(np.asarray(self.lr, dtype=np.float64))
        return tuple(self._group_lr(np.asarray(rates), at, lr) for rates in self.group_lrs) or (lr,)

    @staticmethod
    def _group_lr(rates: Array, at: Array, lr: float) -> float:
        if not rates.all():
            return 0.0  # a frozen group
        log_ratio = np.interp(math.log(lr), at, np.log(rates) - at)
        return lr * math.exp(log_ratio) if log_ratio != 0 else lr

    def suggest(
        self, method: str = "steepest", *, on: str | None = None, maximize: bool = False
    ) -> Suggestion:
        """Return the learning rate that a rule reads off this result.

        Args:
            method: name of the rule; `lrfinder.suggestion.METHODS` lists them.
            on: `"loss"`, `"val_loss"` or the name of a metric; None takes the validation loss
                where there is one and the training loss elsewhere.
            maximize: the quantity is better when larger.

        Raises:
            NoSuggestionError: if the curve does not name a rate; the message says what to change.
            InvalidInputError: if the rule or the quantity does not exist.
        """
        from lrfinder.suggestion import suggest

        return suggest(self, method, on=on, maximize=maximize)

    def plot(
        self,
        skip_start: int = 0,
        skip_end: int = 0,
        log_lr: bool | None = None,
        show_lr: float | None = None,
        ax: Axes | None = None,
        *,
        suggestion: Suggestion | None = None,
    ) -> Axes:
        """Draw the curve and return the Axes, never shown; `lrfinder.plot` tells the arguments."""
        from lrfinder._plotting.curves import plot

        return plot(
            self,
            skip_start,
            skip_end,
            log_lr=log_lr,
            show_lr=show_lr,
            ax=ax,
            suggestion=suggestion,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return every number as plain lists and strings, with a format version."""
        from lrfinder._export.json import to_dict

        return to_dict(self)

    def save(self, path: str | PathLike[str]) -> None:
        """Write the result as JSON; NaN and infinity survive.

        Args:
            path: file to write; it is replaced as a whole or not at all. In a process group rank
                0 alone writes it.
        """
        from lrfinder._export.json import save

        save(self, path)

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write one row per optimizer step as CSV with a header.

        Args:
            path: file to write; it is replaced as a whole or not at all. In a process group rank
                0 alone writes it.
        """
        from lrfinder._export.table import to_csv

        to_csv(self, path)

    def to_frame(self) -> DataFrame:
        """Return one row per optimizer step as a pandas frame, with the columns of `to_csv`.

        Raises:
            MissingExtraError: if pandas is not installed.
        """
        from lrfinder._export.table import to_frame

        return to_frame(self)

    def to_tensorboard(self, writer: SummaryWriter, tag: str = "lr_finder") -> None:
        """Write the rates and losses by step, the picture, and the suggested rate.

        The suggestion becomes a hyper-parameter `lr` of the run, where the curve names one.

        Args:
            writer: a `torch.utils.tensorboard.SummaryWriter`; it stays open.
            tag: what the names of the entries begin with.
        """
        from lrfinder._export.tensorboard import to_tensorboard

        to_tensorboard(self, writer, tag)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> RangeTestResult:
        """Read a result that `save` wrote.

        Args:
            path: file to read.

        Raises:
            ResultFileError: if the file is truncated, of another format version, or not ours.
            OSError: if it cannot be read at all.
        """
        from lrfinder._export.json import load

        return load(path)

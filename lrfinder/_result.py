"""`RangeTestResult`: the numbers of a range test, with one-line methods for all that reads them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from os import PathLike
from typing import TYPE_CHECKING, Any

import numpy as np

from lrfinder import _export
from lrfinder._errors import InvalidInputError, NoSuggestionError
from lrfinder._plotting import Picture, draw_pictures, figure_of, result_html
from lrfinder._sweep.grid import Grid, StepMode
from lrfinder._sweep.loop import Record
from lrfinder._sweep.repeats import average, common_steps
from lrfinder._sweep.smoothing import ema
from lrfinder._sweep.stopping import StopReason
from lrfinder.suggestion import Curve, Finding, Suggestion, analyze_descent
from lrfinder.suggestion._diagnosis import diagnose
from lrfinder.suggestion._suggest import suggest

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pandas import DataFrame
    from torch.utils.tensorboard import SummaryWriter

FORMAT = "lrfinder.RangeTestResult"
Values = tuple[float, ...]
_LOSSES = {"loss": "the loss", "val_loss": "the validation loss"}


@dataclass(frozen=True)
class RangeTestResult:
    """What a range test recorded, never changed afterwards.

    Attributes:
        lr: learning rate of each optimizer step, in the order they were taken, shape `(n,)`. With
            several parameter groups it is the rate of the largest swept one.
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
        val_repeats: raw validation losses of each of them, each of shape `(m,)`.
        batch_size: samples in one optimizer step, over all micro-batches and processes; None if
            unknown.
        maximize: the optimizer raised the losses instead of lowering them.

    Example:
        >>> lr = tuple(10 ** (step / 10 - 6) for step in range(61))
        >>> loss = tuple(0.3 + 2.0 / (1 + (100 * rate) ** 2) for rate in lr)
        >>> result = RangeTestResult(
        ...     lr, loss, step_mode="exp", smooth_f=0.05, stop_reason=StopReason.COMPLETED)
        >>> result
        RangeTestResult(61 steps, lr 1.00e-06 to 1.00e+00, completed)
        >>> f"{result.suggest().lr:.0e}", result.suggest("minimum").lr
        ('1e-02', 0.25)
    """

    lr: Values
    loss: Values
    step_mode: StepMode
    smooth_f: float
    stop_reason: StopReason
    group_lrs: tuple[Values, ...] = ()
    val_steps: tuple[int, ...] = ()
    val_loss: Values = ()
    metrics: Mapping[str, Values] = field(default_factory=dict, hash=False)
    repeats: tuple[Values, ...] = ()
    batch_size: int | None = None
    maximize: bool = False
    val_repeats: tuple[Values, ...] = ()

    @classmethod
    def _from_records(
        cls,
        records: Sequence[Record],
        grid: Grid,
        step_mode: StepMode,
        smooth_f: float,
        *,
        maximize: bool = False,
    ) -> RangeTestResult:
        """Return the result of one sweep, or the mean of several over their common steps."""
        mean = average(records)
        steps = len(mean.losses)
        several = records if len(records) > 1 else []
        return cls(
            lr=tuple(grid.lr[:steps].tolist()),
            loss=tuple(mean.losses),
            step_mode=step_mode,
            smooth_f=smooth_f,
            stop_reason=mean.stop_reason,
            group_lrs=tuple(tuple(group) for group in grid.group_lrs[:steps].T.tolist()),
            val_steps=tuple(mean.val_steps),
            val_loss=tuple(mean.val_losses),
            metrics={name: tuple(values) for name, values in mean.metrics.items()},
            repeats=_rows([record.losses for record in several]),
            val_repeats=_rows([record.val_losses for record in several if record.val_losses]),
            batch_size=mean.batch_size,
            maximize=maximize,
        )

    def __len__(self) -> int:
        return len(self.lr)

    def __repr__(self) -> str:
        swept = f", lr {self.lr[0]:.2e} to {self.lr[-1]:.2e}" if len(self) else ""
        return f"RangeTestResult({len(self)} steps{swept}, {self.stop_reason.value})"

    def _repr_html_(self) -> str:
        return result_html(self._picture())

    @property
    def smoothed_loss(self) -> list[float]:
        """The training loss, smoothed by an exponential moving average.

        A new loss has the weight `smooth_f`. Shape `(n,)`.
        """
        return ema(self.loss, self.smooth_f)

    @property
    def history(self) -> dict[str, list[float]]:
        """`lr`, and the `loss` (of the validation set if used) smoothed with `smooth_f`."""
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
            maximize: set it if larger is better, as for an accuracy. For the losses of an optimizer
                with `maximize=True` it is not needed.

        Raises:
            InvalidInputError: if the quantity was not recorded.
        """
        name = self._name_of(on)
        recorded = {"loss": self.loss, **self.metrics}
        if self.val_loss:
            recorded["val_loss"] = self.val_loss
        if name not in recorded:
            known = ", ".join(map(repr, recorded))
            raise InvalidInputError(f"on must be one of {known}, got {on!r}")
        is_validation = name == "val_loss" and self.val_loss  # a metric may have the same name
        several = self.val_repeats if is_validation else self.repeats if name == "loss" else ()
        steps = np.asarray(self.val_steps if is_validation else range(len(self)), dtype=int)
        sign = -1.0 if self._is_negated(name, maximize) else 1.0
        return Curve(
            lr=np.asarray(self.lr, dtype=np.float64)[steps],
            loss=sign * np.asarray(recorded[name], dtype=np.float64),
            step_mode=self.step_mode,
            stop_reason=self.stop_reason,
            steps=len(self),
            group_lrs=np.asarray([np.asarray(rates)[steps] for rates in self.group_lrs]),
            repeats=sign * np.asarray(several or [recorded[name]], dtype=np.float64),
            batch_size=self.batch_size,
        )

    def suggest(
        self, method: str = "steepest", *, on: str | None = None, maximize: bool = False
    ) -> Suggestion:
        """Return the learning rate that a rule reads off this result.

        Args:
            method: `"steepest"`, `"midpoint"`, `"minimum"`, or the name of a rule that you added to
                `lrfinder.suggestion.METHODS`.
            on: as for `curve`.
            maximize: as for `curve`.

        Raises:
            NoSuggestionError: if the curve does not name a rate; the message says what to change.
            InvalidInputError: if the rule or the quantity does not exist.
        """
        name = self._name_of(on)
        curve = self.curve(on, maximize=maximize)
        try:
            suggestion = suggest(analyze_descent(curve), method)
        except NoSuggestionError as error:
            if maximize or name in _LOSSES:
                raise
            raise NoSuggestionError(
                f"{error}; if {name} is better when larger, pass maximize=True"
            ) from None
        if not self._is_negated(name, maximize):
            return suggestion
        return replace(suggestion, why=f"{suggestion.why} (of minus {_LOSSES.get(name, name)})")

    def lrs_at(self, lr: float) -> tuple[float, ...]:
        """Return the rate of every parameter group where the largest swept one has `lr`.

        Args:
            lr: a rate within the swept range, > 0; the nearest ratio is taken outside of it.

        Raises:
            InvalidInputError: if the rate is not positive.
            NoSuggestionError: if no step was recorded.
        """
        if not lr > 0:
            raise InvalidInputError(f"lr must be a number > 0, got {lr!r}")
        if not len(self):
            analyze_descent(self.curve("loss")).check_significant()  # raises, with the reason
        return self.curve("loss").lrs_at(lr)

    def diagnose(self, *, on: str | None = None, maximize: bool = False) -> tuple[Finding, ...]:
        """Return what a reader of the curve should know; nothing if it is as it should be.

        Args:
            on: as for `curve`.
            maximize: as for `curve`.

        Example:
            >>> flat = RangeTestResult(
            ...     lr=tuple(10.0**-k for k in range(7, 0, -1)), loss=(2.3,) * 7,
            ...     step_mode="exp", smooth_f=0.05, stop_reason=StopReason.COMPLETED)
            >>> [finding.diagnosis.value for finding in flat.diagnose()]
            ['no descent']
        """
        return diagnose(analyze_descent(self.curve(on, maximize=maximize)))

    def plot(
        self,
        skip_start: int = 0,
        skip_end: int = 0,
        log_lr: bool | None = None,
        show_lr: Suggestion | float | None = None,
        ax: Axes | None = None,
        *,
        suggestion: Suggestion | None = None,
    ) -> Axes:
        """Draw the curve and return the Axes; nothing is shown. See `lrfinder.plot`."""
        return plot(
            self, skip_start, skip_end, log_lr=log_lr, show_lr=show_lr, ax=ax, suggestion=suggestion
        )

    def to_dict(self) -> dict[str, Any]:
        """Return every number as plain lists and strings, with a format version."""
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        return _export.to_dict(own, FORMAT)

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> RangeTestResult:
        """Return the result that `to_dict` described.

        Raises:
            KeyError: if a field is missing.
            ValueError: if the fields cannot be those of a result.
        """
        return cls(**_export.result_fields(content))

    def save(self, path: str | PathLike[str]) -> None:
        """Write the result as JSON; NaN and infinity survive.

        Args:
            path: file to write; it is replaced as a whole or not at all. In a process group rank
                0 alone writes it.
        """
        _export.write_json(self.to_dict(), path)

    def to_csv(self, path: str | PathLike[str]) -> None:
        """Write one row per optimizer step as CSV with a header.

        Args:
            path: as for `save`.
        """
        _export.to_csv(_export.columns(self.to_dict(), self.smoothed_loss), path)

    def to_frame(self) -> DataFrame:
        """Return one row per optimizer step as a pandas frame, with the columns of `to_csv`.

        Raises:
            MissingExtraError: if pandas is not installed.
        """
        return _export.to_frame(_export.columns(self.to_dict(), self.smoothed_loss))

    def to_tensorboard(self, writer: SummaryWriter, tag: str = "lr_finder") -> None:
        """Write the rates and losses by step, the picture, and the suggested rate.

        The suggestion becomes a hyper-parameter `lr` of the run, where the curve names one.

        Args:
            writer: a `torch.utils.tensorboard.SummaryWriter`; it stays open.
            tag: what the names of the entries begin with.
        """
        picture = self._picture()
        found = picture.suggestion if isinstance(picture.suggestion, Suggestion) else None
        _export.to_tensorboard(self.to_dict(), figure_of(picture), found, writer=writer, tag=tag)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> RangeTestResult:
        """Read a result that `save` wrote.

        Args:
            path: file to read.

        Raises:
            ResultFileError: if the file is truncated, of another format version, or not ours.
            OSError: if it cannot be read at all.
        """
        return _export.read_json(path, FORMAT, cls.from_dict)

    def _name_of(self, on: str | None) -> str:
        return on or ("val_loss" if self.val_loss else "loss")

    def _is_negated(self, name: str, maximize: bool) -> bool:
        return maximize or (self.maximize and name in _LOSSES)

    def _picture(self, suggestion: Suggestion | None = None) -> Picture:
        """Return what is drawn of this result; without a suggestion, `suggest` finds one."""
        training = analyze_descent(self.curve("loss"))
        validation = analyze_descent(self.curve("val_loss")) if self.val_loss else None
        marked: Suggestion | NoSuggestionError
        try:
            marked = suggestion or suggest(validation or training)
        except NoSuggestionError as error:
            marked = error
        return Picture(training, validation, marked, self.maximize)


def _rows(rows: Sequence[list[float]]) -> tuple[Values, ...]:
    return tuple(tuple(row) for row in common_steps(rows)) if rows else ()


def plot(
    results: RangeTestResult | Mapping[str, RangeTestResult],
    skip_start: int = 0,
    skip_end: int = 0,
    *,
    log_lr: bool | None = None,
    show_lr: Suggestion | float | None = None,
    ax: Axes | None = None,
    suggestion: Suggestion | None = None,
) -> Axes:
    """Draw the curve of a range test, or of several on the same axes, and mark the suggested rate.

    Faint points are the raw losses; the line is the curve that the rules read, smoothed without
    lag. Nothing is shown: save the picture with `ax.figure.savefig(path)`.

    Args:
        results: one result, or several as a mapping from label to result.
        skip_start: points to leave out of the picture at the start, >= 0. Skips that would leave
            fewer than 5 points are ignored. The suggestion is read off the whole curve.
        skip_end: points to leave out at the end, >= 0.
        log_lr: logarithmic axis of rates; None for a logarithmic one after exponential sweeps.
        show_lr: a further rate to mark, > 0, or a suggestion.
        ax: axes to draw on; None for those of a new figure.
        suggestion: what to mark on a single result; None for what its `suggest()` returns. If
            there is none, the picture shows the reason.

    Returns:
        The axes.

    Raises:
        InvalidInputError: if there is nothing to draw, a skip is negative, `show_lr` is not
            positive, or one suggestion is given for several results.

    Example:
        >>> import matplotlib; matplotlib.use("agg")
        >>> sweep = RangeTestResult(
        ...     lr=(0.001, 0.01, 0.1, 1.0, 10.0), loss=(2.3, 2.2, 1.4, 0.9, 3.0), step_mode="exp",
        ...     smooth_f=0.05, stop_reason=StopReason.COMPLETED)
        >>> axes = plot({"SGD": sweep}, show_lr=0.05)
        >>> axes.get_xlabel(), axes.get_xscale()
        ('learning rate', 'log')
    """
    several = isinstance(results, Mapping)
    if several and suggestion is not None:
        raise InvalidInputError(
            "suggestion marks a single result, got a mapping of results; leave suggestion out: "
            "each result is marked with its own"
        )
    labelled = results if isinstance(results, Mapping) else {"": results}
    return draw_pictures(
        {label: result._picture(suggestion) for label, result in labelled.items()},
        skip_start,
        skip_end,
        log_lr=log_lr,
        show_lr=show_lr,
        ax=ax,
        with_labels=several,
    )

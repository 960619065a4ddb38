"""The one loop: set the rate, step, record, stop?"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from torch.optim import Optimizer

from lrfinder._errors import OutOfDataError
from lrfinder._sweep.communicator import Communicator, OnStep, SingleProcess
from lrfinder._sweep.param_groups import set_learning_rates
from lrfinder._sweep.progress import Progress
from lrfinder._sweep.readback import Reader, Scalar
from lrfinder._sweep.step import Step, StepOutcome
from lrfinder._sweep.stopping import StopReason, Watch
from lrfinder._sweep.validation import Validation

# The scaler halves its scale at each skip: 64 in a row bring any scale that float32 holds to
# where a finite gradient cannot overflow.
_MOST_SKIPS_IN_A_ROW = 64


@dataclass
class Recording:
    """What a sweep has recorded so far; the one thing in it that changes.

    Attributes:
        losses: raw training loss of each step.
        val_steps: steps after which validation ran.
        val_losses: its raw losses.
        metrics: further scalars of each step.
        stop_reason: why the sweep ended.
        batch_size: samples in the first update.
    """

    losses: list[float] = field(default_factory=list)
    val_steps: list[int] = field(default_factory=list)
    val_losses: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    stop_reason: StopReason = StopReason.COMPLETED
    batch_size: int | None = None


class Sweep:
    """Runs an optimizer up a ladder of learning rates.

    Args:
        optimizer: its rates are set before every step.
        step: does one update.
        batches: endless batches; may raise `OutOfDataError`.
        rates: the reported rate of each step, shape `(n,)`.
        group_rates: the rates of every parameter group at each step, shape `(n, groups)`.
        watch: decides when it is over.
        progress: counts the steps.
        validation: measures the validation loss; None for none.
        on_step: called as `on_step(lr, loss, step)`; a true answer ends the sweep.
        communicator: the processes that sweep together; None for this one alone.
    """

    def __init__(
        self,
        optimizer: Optimizer,
        step: Step,
        batches: Iterator[Any],
        *,
        rates: Sequence[float],
        group_rates: Sequence[Sequence[float]],
        watch: Watch,
        progress: Progress,
        validation: Validation | None = None,
        on_step: OnStep | None = None,
        communicator: Communicator | None = None,
    ) -> None:
        self._optimizer = optimizer
        self._batches = batches
        self._rates = rates
        self._group_rates = group_rates
        self._watch = watch
        self._progress = progress
        self._validation = validation
        self._communicator = communicator or SingleProcess()
        self._step = self._communicator.report_failures(step)
        self._on_step = self._communicator.wrap_callback(on_step)
        self._reader: Reader | None = None
        self._pending = 0  # steps that were taken and not read yet
        self._recording = Recording()

    def run(self) -> Recording:
        """Sweep until the ladder ends or there is a reason to stop."""
        self._batches = self._communicator.begin_sweep(self._batches, self._terms())
        reason = None
        for lrs in self._group_rates:
            reason = self._update(lrs)
            if reason is not None:
                break
        if reason is None or reason in (StopReason.OUT_OF_DATA, StopReason.ALL_SKIPPED):
            # Those came from the step just taken: an older one may still ask to stop earlier.
            reason = self._take_in(self._reader.drain() if self._reader else []) or reason
        self._recording.stop_reason = reason or StopReason.COMPLETED
        self._communicator.end_sweep()
        return self._recording

    def _terms(self) -> str:
        validation = self._validation.terms if self._validation is not None else "none"
        return (
            f"{len(self._rates)} steps from lr={self._rates[0]:g} to {self._rates[-1]:g}, "
            f"validation: {validation}"
        )

    def _update(self, lrs: Sequence[float]) -> StopReason | None:
        """Do one update at the given rates, again while the scaler skips it."""
        set_learning_rates(self._optimizer, lrs)
        for _ in range(_MOST_SKIPS_IN_A_ROW):
            try:
                outcome = self._step(self._batches)
                arrived = self._push(outcome)
            except OutOfDataError:
                return StopReason.OUT_OF_DATA
            except Exception:
                # Where losses are read late, it may come past the end, and then it never happened.
                reason = self._take_in(self._reader.salvage() if self._reader else [])
                if reason is None:
                    raise
                return reason
            reason = self._take_in(arrived)
            if reason is not None or not outcome.skipped:
                return reason
        return StopReason.ALL_SKIPPED

    def _push(self, outcome: StepOutcome) -> list[list[float]]:
        """Hand the scalars of an update to the reader; return those that it has read."""
        if self._reader is None:
            self._reader = self._begin(outcome)
        if outcome.skipped:
            return self._reader.skip()
        scalars: list[Scalar] = [outcome.loss]
        sizes = [outcome.size]
        if self._recording.metrics or self._validation is not None:
            self._add_others(outcome, scalars, sizes)
        self._pending += 1
        return self._reader.push(scalars, sizes)

    def _add_others(
        self, outcome: StepOutcome, scalars: list[Scalar], sizes: list[int | None]
    ) -> None:
        """Add the metrics of a step and, where it is due, the validation loss after it."""
        step = len(self._recording.losses) + self._pending
        scalars += [outcome.metrics.get(name, math.nan) for name in self._recording.metrics]
        sizes += [outcome.size] * len(self._recording.metrics)
        if self._validation is not None and step % self._validation.every == 0:
            scalars.append(self._communicator.report_failures(self._validation)())
            sizes.append(self._validation.size)

    def _begin(self, outcome: StepOutcome) -> Reader:
        self._recording.batch_size = self._communicator.total_batch_size(outcome.size)
        self._recording.metrics = {name: [] for name in outcome.metrics}
        columns = ["loss", *outcome.metrics]
        if self._validation is not None:
            self._validation.begin(outcome.size)
            columns.append("validation loss")
        return self._communicator.reader(outcome.loss.device, columns)

    def _take_in(self, arrived: list[list[float]]) -> StopReason | None:
        """Record the steps that have arrived, up to the one that ends the sweep."""
        for loss, *others in arrived:
            step = len(self._recording.losses)
            lr = self._rates[step]
            self._recording.losses.append(loss)
            if others:
                self._record_others(step, others)
            self._pending -= 1
            if self._progress.shown:
                self._progress.update(lr, loss)
            if self._on_step is not None and self._on_step(lr, loss, step):
                return StopReason.CALLBACK
            reason = self._watch.update(loss)
            if reason is not None:
                return reason
        return None

    def _record_others(self, step: int, others: Sequence[float]) -> None:
        recording = self._recording
        for values, value in zip(recording.metrics.values(), others, strict=False):
            values.append(value)
        for value in others[len(recording.metrics) :]:
            recording.val_steps.append(step)
            recording.val_losses.append(value)

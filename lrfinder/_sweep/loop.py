"""The loop of a sweep: set the learning rates, take a step, record the loss, decide to stop."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from torch.optim import Optimizer

from lrfinder._errors import InvalidInputError, OutOfDataError
from lrfinder._snapshot.snapshot import Snapshot
from lrfinder._sweep.batches import Batches
from lrfinder._sweep.communicator import Communicator, OnStep
from lrfinder._sweep.grid import Grid
from lrfinder._sweep.loss import StepOutput
from lrfinder._sweep.param_groups import check_learning_rates, learning_rates, set_learning_rates
from lrfinder._sweep.progress import Progress
from lrfinder._sweep.readback import Reader, Scalar
from lrfinder._sweep.step import Step, mean_output
from lrfinder._sweep.stopping import MOST_SKIPS_IN_A_ROW, StopCondition, StopReason
from lrfinder._sweep.validation import Validation

# The loop reads the rates back to see that the optimizer kept them: after each of the first steps,
# then every 16th, because reading a rate that is a tensor can make the host wait.
_FIRST_CHECKS = 3
_CHECK_EVERY = 16


@dataclass
class Record:
    """What a sweep has recorded so far.

    Attributes:
        losses: raw training loss of each step.
        val_steps: steps after which validation ran.
        val_losses: raw validation losses after those steps.
        metrics: further scalars of each step.
        stop_reason: why the sweep ended.
        batch_size: samples in the first optimizer step.
    """

    losses: list[float] = field(default_factory=list)
    val_steps: list[int] = field(default_factory=list)
    val_losses: list[float] = field(default_factory=list)
    metrics: dict[str, list[float]] = field(default_factory=dict)
    stop_reason: StopReason = StopReason.COMPLETED
    batch_size: int | None = None

    def negated(self) -> Record:
        """Return the record with every loss negated."""
        return replace(
            self,
            losses=[-loss for loss in self.losses],
            val_losses=[-loss for loss in self.val_losses],
        )


@dataclass(frozen=True)
class SweepRunner:
    """Runs sweeps and trials that all begin from the same state.

    Attributes:
        snapshot: the state that each of them begins from.
        prepare: called before each; puts the model in training mode and on its device.
        optimizer: its learning rates are set before every step.
        step: takes one optimizer step.
        loader: any iterable of batches, iterated from its beginning in every sweep.
        communicator: the processes that sweep together.
        progress: shows how far the sweep is.
        cached_batches: number of batches that are kept and repeated; None for all of them.
        maximize: the optimizer raises the loss.
        settings: what else every process must have been given alike, in words.
    """

    snapshot: Snapshot
    prepare: Callable[[], None]
    optimizer: Optimizer
    step: Step
    loader: Iterable[Any]
    communicator: Communicator
    progress: Progress
    cached_batches: int | None = None
    maximize: bool = False
    settings: str = ""

    def run(
        self,
        grid: Grid,
        stop: StopCondition,
        *,
        validation: Validation | None = None,
        val_every: int = 1,
        on_step: OnStep | None = None,
    ) -> Record:
        """Train at each learning rate of a grid and return what was recorded.

        Args:
            grid: the rates of each step.
            stop: decides after each loss whether the sweep ends; it gets minus the loss if that is
                maximized.
            validation: measures the validation loss; None for none.
            val_every: optimizer steps from one measurement to the next, >= 1.
            on_step: called as `on_step(lr, loss, step)`; a true answer ends the sweep.
        """
        self.prepare()
        with closing(Batches(self.loader, self.cached_batches)) as batches:
            return _Sweep(self, batches, grid, stop, validation, val_every, on_step).run()


class _Sweep:
    """One pass through a learning-rate grid."""

    def __init__(
        self,
        runner: SweepRunner,
        batches: Iterator[Any],
        grid: Grid,
        stop: StopCondition,
        validation: Validation | None,
        val_every: int,
        on_step: OnStep | None,
    ) -> None:
        self._optimizer = runner.optimizer
        self._communicator = runner.communicator
        self._progress = runner.progress
        self._batches = batches
        self._lrs: list[float] = grid.lr.tolist()
        self._group_lrs: list[list[float]] = grid.group_lrs.tolist()
        self._stop = stop
        self._validation = validation
        self._val_every = val_every
        self._step = self._communicator.report_failures(runner.step)
        self._on_step = self._communicator.wrap_callback(on_step)
        self._reader: Reader | None = None
        self._pending = 0  # steps that were taken and not read yet
        self._sign = -1 if runner.maximize else 1
        self._settings = runner.settings
        self._taken = 0
        self._unfinished: list[StepOutput] = []  # of micro-batches that `update_step` accumulates
        self._record = Record()

    def run(self) -> Record:
        """Sweep until the grid ends or there is a reason to stop.

        Raises:
            InvalidInputError: if the optimizer never stepped, or not at the rates of the grid.
        """
        self._batches = self._communicator.begin_sweep(self._batches, self._description)
        reason = None
        for lrs in self._group_lrs:
            reason = self._step_at(lrs)
            if reason is not None:
                break
        if reason is None or reason in (StopReason.OUT_OF_DATA, StopReason.ALL_SKIPPED):
            # Those came from the step just taken: an older one may still ask to stop earlier.
            reason = self._take_in(self._reader.drain() if self._reader else []) or reason
        if self._unfinished and not self._taken:
            raise InvalidInputError(
                f"update_step never called step() of {type(self._optimizer).__name__}, whose rate "
                f"is swept, on {len(self._unfinished)} batches; step it at least once in "
                f"{MOST_SKIPS_IN_A_ROW} calls, or pass training_step=f with "
                "f(model, batch) -> loss, and the range test steps"
            )
        self._record.stop_reason = reason or StopReason.COMPLETED
        self._communicator.end_sweep()
        return self._record

    @property
    def _description(self) -> str:
        validation = "none"
        if self._validation is not None:
            validation = f"every {self._val_every} steps {self._validation.description}"
        lrs = self._lrs
        sweep = f"{len(lrs)} steps from lr={lrs[0]:g} to {lrs[-1]:g}"
        return f"{sweep}, validation: {validation}, {self._settings}"

    def _step_at(self, lrs: Sequence[float]) -> StopReason | None:
        """Take one optimizer step at the given rates, again while it is skipped."""
        set_learning_rates(self._optimizer, lrs)
        for _ in range(MOST_SKIPS_IN_A_ROW):
            try:
                output = self._completed(self._step(self._batches))
                self._check(output, lrs)
                arrived = self._push(output)
            except OutOfDataError:
                return StopReason.OUT_OF_DATA
            except Exception:
                # If losses are read late, the sweep may have ended before the step that failed.
                reason = self._take_in(self._reader.salvage() if self._reader else [])
                if reason is None:
                    raise
                return reason
            reason = self._take_in(arrived)
            if reason is not None or not output.skipped:
                return reason
        return StopReason.ALL_SKIPPED

    def _completed(self, output: StepOutput) -> StepOutput:
        """Return the mean over the micro-batches of a step that `update_step` accumulates."""
        if output.only_accumulated:
            self._unfinished.append(output.copied())
        elif self._unfinished:
            output = mean_output([*self._unfinished, output])._replace(lrs=output.lrs)
            self._unfinished = []
        return output

    def _check(self, output: StepOutput, lrs: Sequence[float]) -> None:
        """Raise if the optimizer did not use the rates that were set."""
        if output.lrs == []:
            return
        is_due = self._taken < _FIRST_CHECKS or self._taken % _CHECK_EVERY == 0
        self._taken += 1
        if is_due:
            used = learning_rates(self._optimizer) if output.lrs is None else output.lrs
            check_learning_rates(used, lrs)

    def _push(self, output: StepOutput) -> list[list[float]]:
        """Pass the scalars of a step to the reader; return those that have been read."""
        if self._reader is None:
            self._reader = self._begin(output)
        if output.skipped:
            return self._reader.skip()
        scalars: list[Scalar] = [output.loss]
        sizes = [output.size]
        new_names: list[str] = []
        if output.metrics or self._record.metrics or self._validation is not None:
            new_names = self._add_others(output, scalars, sizes)
        self._pending += 1
        return self._reader.push(scalars, sizes, new_names)

    def _add_others(
        self, output: StepOutput, scalars: list[Scalar], sizes: list[int | None]
    ) -> list[str]:
        """Add the validation loss after a step, if it is due, and the metrics of the step.

        Returns:
            The names of the metrics that no step before this one had, which are the last.
        """
        if validation := self._validation_after(len(self._record.losses) + self._pending):
            loss, size = self._communicator.report_failures(validation)()
            scalars.append(loss)
            sizes.append(size)
        new_names = [name for name in output.metrics if name not in self._record.metrics]
        for name in new_names:
            self._record.metrics[name] = [math.nan] * len(self._record.losses)
        scalars += [output.metrics.get(name, math.nan) for name in self._record.metrics]
        sizes += [output.size] * len(self._record.metrics)
        return new_names

    def _validation_after(self, step: int) -> Validation | None:
        """Return the validation if it is due after a step."""
        return self._validation if step % self._val_every == 0 else None

    def _begin(self, output: StepOutput) -> Reader:
        size = None if output.only_accumulated else output.size  # of one of several micro-batches
        self._record.batch_size = self._communicator.total_batch_size(size)
        self._record.metrics = {name: [] for name in output.metrics}
        columns = ["loss"]
        if self._validation is not None:
            self._validation.begin(output.size)
            columns.append("validation loss")
        columns += output.metrics
        return self._communicator.reader(output.loss.device, columns)

    def _take_in(self, arrived: list[list[float]]) -> StopReason | None:
        """Record the steps that have arrived, up to the one that ends the sweep."""
        for loss, *others in arrived:
            step = len(self._record.losses)
            lr = self._lrs[step]
            self._record.losses.append(loss)
            if others or self._record.metrics:
                self._record_others(step, others)
            self._pending -= 1
            if self._progress.shown:
                self._progress.update(lr, loss)
            if self._on_step is not None and self._on_step(lr, loss, step):
                return StopReason.CALLBACK
            reason = self._stop.update(self._sign * loss)
            if reason is not None:
                return reason
        return None

    def _record_others(self, step: int, others: Sequence[float]) -> None:
        record, values = self._record, iter(others)
        if self._validation_after(step):
            record.val_steps.append(step)
            record.val_losses.append(next(values))
        for metric in record.metrics.values():
            metric.append(next(values, math.nan))  # one that first appeared in a later step

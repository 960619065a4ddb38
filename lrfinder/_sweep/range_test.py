"""From a session to a result: one sweep or several, from a start that is flat if none was named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lrfinder._result import RangeTestResult
from lrfinder._sweep.communicator import OnStep
from lrfinder._sweep.grid import StepMode
from lrfinder._sweep.group_rates import GroupRates
from lrfinder._sweep.loop import Recording
from lrfinder._sweep.open_range import MOST_STARTS, Range, begins_flat
from lrfinder._sweep.repeats import average, common_losses
from lrfinder._sweep.session import Session
from lrfinder._sweep.stopping import DivergenceWatch
from lrfinder._sweep.validation import Validation


@dataclass(frozen=True)
class RangeTest:
    """The settings of a range test that do not change from one of its sweeps to the next.

    Args:
        rates_of: the rates of every step of a range.
        step_mode: `"exp"` or `"linear"`.
        smooth_f: weight of a new loss in the smoothed one, in [0, 1).
        diverge_th: as for `DivergenceWatch`.
        validation: measures the validation loss; None for none.
        on_step: called with each recorded step.
    """

    rates_of: Callable[[Range], GroupRates]
    step_mode: StepMode
    smooth_f: float
    diverge_th: float
    validation: Validation | None = None
    on_step: OnStep | None = None

    def run(self, session: Session, span: Range, repeats: int = 1) -> RangeTestResult:
        """Sweep a range, again in other orders of the data where it is repeated.

        Args:
            session: runs the sweeps; left at the end of the last one.
            span: bounds and number of steps.
            repeats: number of sweeps, >= 1.
        """
        rates = self.rates_of(span)
        recordings = [self._sweep(session, rates)]
        for _ in range(repeats - 1):
            session.rewind(new_order=True)
            recordings.append(self._sweep(session, rates))
        return self._result(recordings, rates)

    def run_from_flat(self, session: Session, span: Range, repeats: int = 1) -> RangeTestResult:
        """Do the same from a start that is lowered until the curve begins flat."""
        for _ in range(MOST_STARTS - 1):
            if begins_flat(self.run(session, span)):
                break
            session.rewind()
            span = span.lowered()
        session.rewind()
        return self.run(session, span, repeats)

    def _sweep(self, session: Session, rates: GroupRates) -> Recording:
        watch = DivergenceWatch(self.smooth_f, self.diverge_th)
        return session.run(rates, watch, validation=self.validation, on_step=self.on_step)

    def _result(self, recordings: Sequence[Recording], rates: GroupRates) -> RangeTestResult:
        mean = average(recordings)
        steps = len(mean.losses)
        repeats = common_losses(recordings) if len(recordings) > 1 else []
        return RangeTestResult(
            lr=tuple(rates.reported[:steps].tolist()),
            loss=tuple(mean.losses),
            step_mode=self.step_mode,
            smooth_f=self.smooth_f,
            stop_reason=mean.stop_reason,
            group_lrs=tuple(tuple(group) for group in rates.all[:steps].T.tolist()),
            val_steps=tuple(mean.val_steps),
            val_loss=tuple(mean.val_losses),
            metrics={name: tuple(values) for name, values in mean.metrics.items()},
            repeats=tuple(tuple(losses) for losses in repeats),
            batch_size=mean.batch_size,
        )

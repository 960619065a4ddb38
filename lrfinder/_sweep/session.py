"""Several trainings from one state: sweeps and trials that each begin where the others began."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch.optim import Optimizer

from lrfinder._snapshot.snapshot import Snapshot
from lrfinder._sweep.batches import Batches
from lrfinder._sweep.communicator import Communicator, OnStep
from lrfinder._sweep.group_rates import GroupRates
from lrfinder._sweep.loop import Recording, Sweep
from lrfinder._sweep.progress import Progress
from lrfinder._sweep.step import Step
from lrfinder._sweep.stopping import Watch
from lrfinder._sweep.validation import Validation


class Session:
    """Runs the optimizer through rates, and goes back to the beginning when asked.

    Args:
        snapshot: the state that every run begins with.
        prepare: called before each run, after going back.
        optimizer: its rates are set before every step.
        step: does one update.
        loader: any iterable of batches, walked from its beginning in every run.
        cached_batches: how many batches are held and repeated; None for all.
        progress: counts the steps.
        communicator: the processes that sweep together.
    """

    def __init__(
        self,
        snapshot: Snapshot,
        prepare: Callable[[], None],
        optimizer: Optimizer,
        step: Step,
        loader: Iterable[Any],
        cached_batches: int | None,
        progress: Progress,
        communicator: Communicator,
    ) -> None:
        self._snapshot = snapshot
        self._prepare = prepare
        self._optimizer = optimizer
        self._step = step
        self._loader = loader
        self._cached_batches = cached_batches
        self._progress = progress
        self._communicator = communicator

    def run(
        self,
        rates: GroupRates,
        watch: Watch,
        *,
        validation: Validation | None = None,
        on_step: OnStep | None = None,
    ) -> Recording:
        """Train through the given rates and return what was recorded.

        Args:
            rates: one set of rates for each step.
            watch: decides when it is over.
            validation: measures the validation loss; None for none.
            on_step: called with each recorded step.
        """
        self._prepare()
        batches = Batches(self._loader, self._cached_batches)
        try:
            return Sweep(
                self._optimizer,
                self._step,
                batches,
                rates=rates.reported.tolist(),
                group_rates=rates.all.tolist(),
                watch=watch,
                progress=self._progress,
                validation=validation,
                on_step=on_step,
                communicator=self._communicator,
            ).run()
        finally:
            batches.close()

    def rewind(self, *, new_order: bool = False) -> None:
        """Go back to the beginning.

        Args:
            new_order: draw the data in another order; otherwise in the same one.
        """
        self._snapshot.restore(rng=not new_order)

"""The search of `recommend` itself, played against the laboratory, one seed after the other.

Example:
    Thirty-eight tasks take a few seconds::

        python -m tests.benchmarks.suggestions.played
"""

from __future__ import annotations

from pathlib import Path

from lrfinder import NoSuggestionError, RangeTestResult, StopReason
from lrfinder._finder import DIVERGE_TH, SMOOTH_F
from lrfinder._recommend.length import length_law
from lrfinder._recommend.recommendation import recommend, sweep_steps
from lrfinder._recommend.search import Train
from lrfinder._recommend.trial import TrialStop
from lrfinder._sweep.loop import Record
from lrfinder._sweep.stopping import DivergenceStop
from tests.benchmarks.suggestions.lab import SWEEP_RANGE
from tests.benchmarks.suggestions.simulator import Rates, Simulation, play
from tests.benchmarks.suggestions.tasks import DEVELOPMENT

_STORED = Path("data/benchmark")
_BUDGET = 300


def recommended(simulation: Simulation) -> Rates:
    """Return what `LRFinder.recommend` answers to the recorded losses; None for a refusal."""
    result = _swept(simulation)
    named = type(simulation.optimizer.partition(",")[0].partition(" ")[0], (), {})
    try:
        found = recommend(
            result,
            train_in(simulation),
            budget=_BUDGET - len(result),
            lr_range=SWEEP_RANGE,
            total_steps=simulation.total_steps,
            epoch_steps=0,
            law=length_law(named()),
            validated=False,
        )
    except NoSuggestionError:
        return None
    return found.lr, found.max_lr


def train_in(simulation: Simulation) -> Train:
    """Return what trains for a `Search`: the recorded losses, up to where a trial is stopped."""

    def train(lr: float, steps: int, stop: TrialStop, *, validate: bool) -> Record:
        losses = simulation.train(
            lr, steps, stop=lambda losses: stop.update(losses[-1]) is not None
        )
        return Record(losses)

    return train


def _swept(simulation: Simulation) -> RangeTestResult:
    """Return the recorded range test up to where the finder would have stopped it."""
    lrs, losses = (values.tolist() for values in simulation.sweep(sweep_steps(_BUDGET)))
    stop, reason, taken = DivergenceStop(SMOOTH_F, DIVERGE_TH), None, 0
    while reason is None and taken < len(losses):
        reason = stop.update(losses[taken])
        taken += 1
    simulation.steps -= len(losses) - taken
    rates = tuple(lrs[:taken])
    return RangeTestResult(
        rates,
        tuple(losses[:taken]),
        "exp",
        SMOOTH_F,
        reason or StopReason.COMPLETED,
        group_lrs=(rates,),
    )


def main() -> None:
    """Print how the search does on each seed of the laboratory; it was tuned on seed 0."""
    for seed in range(3):
        played = play(recommended, _STORED / "lab", _STORED, DEVELOPMENT, seeds=[seed])
        refusals = sum(answer is None for (answer,) in played.answers.values())
        found = f"seed {seed}, {refusals} of {len(played.answers)} refused\n{played.table()}"
        print(found, end="\n\n")  # noqa: T201


if __name__ == "__main__":
    main()

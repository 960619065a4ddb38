"""Play a search for a learning rate against recorded trainings, in milliseconds.

Example:
    A search is a function from a `Simulation` to `(lr, max_lr)`, or None for a refusal::

        def search(simulation):
            rates = [1e-4, 1e-3, 1e-2]
            ends = [np.mean(simulation.train(lr, 60)[-20:]) for lr in rates]
            best = rates[int(np.argmin(ends))]
            return best, 3 * best

        stored = Path("data/benchmark")
        found = play(search, stored / "lab", stored, DEVELOPMENT)
        print(found.table())
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from lrfinder import InvalidInputError
from tests.benchmarks.suggestions.lab import EVALUATIONS, SWEEP_RANGE, Array, Recording, recordings
from tests.benchmarks.suggestions.score import CURVES, Score, spread
from tests.benchmarks.suggestions.task import Schedule
from tests.benchmarks.suggestions.tasks import TASKS
from tests.benchmarks.suggestions.truth import Measure, Truth, read_record, truth_from_record

Rates = tuple[float, float] | None
_MEASURES: tuple[Measure, ...] = ("final", "checkpoint")


@dataclass
class Simulation:
    """What a search may do, and what it has cost so far.

    Losses at a rate between two recorded ones are interpolated, linearly in log(lr), step by step;
    a rate outside them gives the losses of the nearest. All trials start from the same state and
    see the same batches in the same order.

    Attributes:
        recording: the trainings of one task and seed.
        optimizer: such as "SGD, momentum 0.9".
        total_steps: planned length of the training, or None if the search is not told.
        steps: optimizer steps taken so far.
        evaluated: batches evaluated so far; a forward pass is about a third of a step.
    """

    recording: Recording
    optimizer: str = ""
    total_steps: int | None = None
    steps: int = 0
    evaluated: int = 0

    def train(
        self,
        lr: float,
        steps: int,
        *,
        start: int = 0,
        stop: Callable[[list[float]], bool] = lambda losses: False,
    ) -> list[float]:
        """Train at a constant rate; return the loss of each step, up to one that is not finite.

        Args:
            lr: learning rate, > 0.
            steps: the trial ends after this many, at most 1,000.
            start: steps of an earlier trial at this rate that goes on; they are not paid again, and
                their losses are returned too.
            stop: called with all losses so far after each step that is paid; True ends the trial.
        """
        recorded: list[float] = self._between(self.recording.losses[:, :steps], lr).tolist()
        losses = recorded[:start]
        for loss in recorded[start:]:
            losses.append(loss)
            self.steps += 1
            if not math.isfinite(loss) or stop(losses):
                break
        return losses

    def evaluate(self, lr: float, after: int) -> Array:
        """Return the loss in evaluation mode on each of the fixed batches.

        Args:
            lr: rate of a trial.
            after: the trial's steps, one of `lab.EVALUATIONS`.
        """
        at = EVALUATIONS.index(after)
        found = self._between(self.recording.evaluations[:, at], lr)
        self.evaluated += len(found)
        return found

    def sweep(self, steps: int) -> tuple[Array, Array]:
        """Return rates and losses of a range test from 1e-7 to 10 that nothing stopped.

        Args:
            steps: one of `lab.SWEEPS`. All of them are counted: subtract from `steps` what an
                early stop saves.
        """
        losses = self.recording.sweeps[steps]
        self.steps += steps
        return np.geomspace(*SWEEP_RANGE, steps), losses

    def _between(self, recorded: Array, lr: float) -> Array:
        """Return what is recorded at a rate; (rates, ...) -> (...)."""
        rates = self.recording.log10_lrs
        x = float(np.clip(math.log10(lr), rates[0], rates[-1]))
        upper = int(np.clip(np.searchsorted(rates, x), 1, len(rates) - 1))
        share = (x - rates[upper - 1]) / (rates[upper] - rates[upper - 1])
        below, above = recorded[upper - 1], recorded[upper]
        both = np.isfinite(below) & np.isfinite(above)
        nearest = above if share > 0.5 else below
        mixed = np.where(both, below, 0) * (1 - share) + np.where(both, above, 0) * share
        return np.where(both, mixed, nearest)


Search = Callable[[Simulation], Rates]


@dataclass
class Played:
    """How a search did.

    Attributes:
        scores: schedule, multiple of the task's steps and measure -> excess, regret and decades by
            task. The search was told the length.
        answers: task and multiple -> what it said, a seed after the other.
        steps: optimizer steps that it took, a game after the other.
    """

    scores: dict[tuple[Schedule, int, Measure], Score]
    answers: dict[tuple[str, int], list[Rates]] = field(default_factory=dict)
    steps: list[int] = field(default_factory=list)

    def table(self) -> str:
        """Return mean, median and worst excess and the number of wild answers, line by line."""
        lines = [f"{'':28}   mean median  worst  tasks  off by ten"]
        for (schedule, length, measure), score in self.scores.items():
            numbers = " ".join(f"{value:6.3f}" for value in score.summary)
            wild = "{} of {}".format(*score.wild)
            name = f"{schedule} {length}x, {measure}"
            lines.append(f"{name:28} {numbers} {len(score.excess):6d}  {wild}")
        mean = spread([_rates(answers, "constant") for answers in self.answers.values()])
        return "\n".join([*lines, f"spread {mean:.2f}, steps {np.mean(self.steps):.0f}"])


def play(
    search: Search,
    lab: Path,
    folder: Path,
    names: Sequence[str],
    *,
    told: bool = True,
    seeds: Sequence[int] | None = None,
) -> Played:
    """Play a search against every recording of some tasks and judge what it says.

    Args:
        search: from a simulation to `(lr, max_lr)`.
        lab: where the recordings are.
        folder: where the truth is, in its subfolder `truth`.
        names: of tasks.
        told: whether it is told the length of training.
        seeds: of the recordings; None for all.

    Raises:
        InvalidInputError: there is no complete recording of any of the tasks.
    """
    played = Played({})
    for name, seed, recording in recordings(lab, names):
        if seeds is not None and seed not in seeds:
            continue
        task = TASKS[name]
        for length in task.lengths:
            total = length * task.steps if told else None
            simulation = Simulation(recording, task.optimizer, total)
            played.answers.setdefault((name, length), []).append(search(simulation))
            played.steps.append(simulation.steps)
    if not played.answers:
        raise InvalidInputError(f"no complete recording of these tasks in {lab}")
    for schedule, length in CURVES:
        for measure in _MEASURES:
            if truths := _truths(folder, played, schedule, length, measure):
                rates = {name: _rates(played.answers[name, length], schedule) for name in truths}
                played.scores[schedule, length, measure] = Score.of(truths, rates)
    return played


def _truths(
    folder: Path, played: Played, schedule: Schedule, length: int, measure: Measure
) -> dict[str, Truth]:
    names = [name for name, multiple in played.answers if multiple == length]
    found = {
        name: truth_from_record(read_record(folder, name), schedule, length, measure)
        for name in names
    }
    return {name: truth for name, truth in found.items() if truth is not None}


def _rates(answers: Sequence[Rates], schedule: Schedule) -> list[float | None]:
    return [rates and rates[schedule == "onecycle"] for rates in answers]

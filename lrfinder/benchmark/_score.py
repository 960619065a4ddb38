"""From suggestions and the truth to numbers: excess, regret, distance, spread, refusals, steps."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lrfinder import RangeTestResult
from lrfinder._errors import NoSuggestionError
from lrfinder.benchmark._finders import FINDERS, Answer
from lrfinder.benchmark._measure import SWEEPS
from lrfinder.benchmark._stored import Stored
from lrfinder.benchmark._task import SCHEDULES, Schedule
from lrfinder.benchmark._truth import Record, Truth, curve_key, read_record, truth_from_record
from lrfinder.suggestion import METHODS
from lrfinder.suggestion.peers import PEER_RULES

CURVES: tuple[tuple[Schedule, int], ...] = tuple(
    (schedule, length) for length in (1, 4) for schedule in SCHEDULES
)
# The spread is read where it means something: over at least this many rates of one task.
_FEWEST_RATES = 2


class Excess(NamedTuple):
    """Final loss over the best loss, minus 1, over tasks; of each task the mean over seeds."""

    mean: float
    median: float
    worst: float


@dataclass(frozen=True, eq=False)
class Score:
    """How one candidate did under one schedule and length.

    Args:
        excess: per task, one value per seed.
        regret: per task, one value per seed.
        decades: per task, the signed distances from the best rate of the seeds with an answer.
    """

    excess: Mapping[str, Sequence[float]]
    regret: Mapping[str, Sequence[float]]
    decades: Mapping[str, Sequence[float]]

    @property
    def by_task(self) -> dict[str, float]:
        """The mean excess of each task over its seeds."""
        return {task: float(np.mean(values)) for task, values in self.excess.items()}

    @property
    def summary(self) -> Excess:
        """The excess over all tasks."""
        values = list(self.by_task.values())
        return Excess(float(np.mean(values)), float(np.median(values)), max(values))

    @property
    def mean_regret(self) -> float:
        """The mean regret over tasks and seeds."""
        return float(np.mean([np.mean(values) for values in self.regret.values()]))

    @property
    def mean_distance(self) -> float:
        """The mean distance from the best rate in decades, over all that were answered."""
        every = [distance for task in self.decades.values() for distance in task]
        return float(np.mean(np.abs(every))) if every else math.nan


class Bench:
    """What is stored of some tasks, with every candidate's answers.

    Args:
        folder: where `truth` and `suggestions` are.
        tasks: names.
    """

    def __init__(self, folder: Path, tasks: Sequence[str]) -> None:
        self.tasks = list(tasks)
        self._records = {task: read_record(folder, task) for task in tasks}
        self._stored = {task: Stored.read(folder, task) for task in tasks}
        self._read: dict[tuple[str, str], list[Answer]] = {}

    @property
    def candidates(self) -> list[str]:
        """Names of all finders and rules that answered for at least one task."""
        names = [name for finder in FINDERS for name in finder.names] + list(rule_names())
        return [n for n in names if any(self.answers(n, task, 1) for task in self.tasks)]

    def answers(self, candidate: str, task: str, length: int) -> list[Answer]:
        """Return one answer per seed; none where it was not asked."""
        if candidate not in rule_names():
            return self._stored[task].told(candidate, length)
        if (candidate, task) not in self._read:
            method, steps = rule_names()[candidate]
            sweeps = self._stored[task].results(steps)
            self._read[candidate, task] = [read(result, method) for result in sweeps]
        return self._read[candidate, task]

    def truth(self, task: str, schedule: Schedule, length: int) -> Truth | None:
        """Return the truth of a task; None where it is not complete."""
        record = self._records[task]
        key = curve_key(schedule, length)
        return truth_from_record(record, schedule, length) if is_complete(record, key) else None

    @property
    def truth_seeds(self) -> str:
        """How many runs there are of each rate, such as "3" or "3 to 6"."""
        counts = {len(record["initial"]) for record in self._records.values()}
        return " to ".join(map(str, sorted({min(counts), max(counts)})))

    def is_measured(self, task: str) -> bool:
        """Whether a task has a truth at its own length and recorded range tests."""
        truths = [self.truth(task, schedule, 1) for schedule in SCHEDULES]
        return None not in truths and bool(self._stored[task].results(SWEEPS[0]))

    def sweep(self, task: str, steps: int) -> RangeTestResult:
        """Return the first recorded range test of a task."""
        return self._stored[task].results(steps)[0]

    def score(self, candidate: str, schedule: Schedule, length: int) -> Score | None:
        """Return how a candidate did on all tasks; None where it has not answered for each."""
        excess, regret, decades = {}, {}, {}
        for task in self.judged(schedule, length):
            truth = self.truth(task, schedule, length)
            rates = [answer.rate(schedule) for answer in self.answers(candidate, task, length)]
            if not rates or truth is None:
                return None
            excess[task] = [truth.excess(rate) for rate in rates]
            regret[task] = [truth.regret(rate) for rate in rates]
            decades[task] = [truth.decades(rate) for rate in rates if rate is not None]
        return Score(excess, regret, decades) if excess else None

    def judged(self, schedule: Schedule, length: int) -> list[str]:
        """Return the tasks whose truth is complete under a schedule and length."""
        return [task for task in self.tasks if self.truth(task, schedule, length) is not None]

    def spread(self, candidate: str) -> float:
        """Return the largest over the smallest rate of the seeds of a task, mean over tasks."""
        spreads = []
        for task in self.tasks:
            rates = [a.lr for a in self.answers(candidate, task, 1) if a.lr is not None]
            if len(rates) >= _FEWEST_RATES:
                spreads.append(max(rates) / min(rates))
        return float(np.mean(spreads)) if spreads else math.nan

    def refusals(self, candidate: str) -> tuple[int, int]:
        """Return how often a candidate answered without a rate, and how often it was asked."""
        answers = self._all(candidate)
        return sum(answer.lr is None for answer in answers), len(answers)

    def steps(self, candidate: str) -> float:
        """Return the optimizer steps it took, mean over all problems."""
        return float(np.mean([answer.steps for answer in self._all(candidate)]))

    def _all(self, candidate: str) -> list[Answer]:
        return [answer for task in self.tasks for answer in self.answers(candidate, task, 1)]


def rule_names() -> dict[str, tuple[str, int]]:
    """Return, for each name in the report, a rule and the steps of the range test it reads."""
    own = {method: (method, SWEEPS[0]) for method in METHODS if method not in PEER_RULES}
    return own | {f"steepest, {steps} steps": ("steepest", steps) for steps in SWEEPS[1:]}


def read(result: RangeTestResult, method: str) -> Answer:
    """Return what a rule reads off a recorded range test."""
    try:
        reading = METHODS[method](result.curve())
    except NoSuggestionError as error:
        return Answer(None, None, len(result), str(error))
    return Answer(reading.lr, reading.max_lr, len(result))


def is_complete(record: Record, curve: str) -> bool:
    """Whether every rate of a curve has been trained for at least one seed."""
    return len(record["final"].get(curve, {})) == grid_size(record) and bool(record["initial"])


def grid_size(record: Record) -> int:
    """Return how many rates the grid of a task has."""
    return round(4 * (record["high"] - record["low"])) + 1 if "low" in record else 0

"""From suggestions and the truth to numbers: excess, regret, distance, spread, refusals, steps."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from lrfinder import NoSuggestionError, RangeTestResult
from lrfinder.suggestion import METHODS
from tests.benchmarks.suggestions.alternatives import ALTERNATIVES, read_alternatives
from tests.benchmarks.suggestions.finders import NAMES, Answer
from tests.benchmarks.suggestions.measure import SWEEPS
from tests.benchmarks.suggestions.stored import Stored
from tests.benchmarks.suggestions.task import SCHEDULES, Schedule
from tests.benchmarks.suggestions.truth import Measure, Truth, read_record, truth_from_record

CURVES: tuple[tuple[Schedule, int], ...] = tuple(
    (schedule, length) for length in (1, 4) for schedule in SCHEDULES
)
RULES = {method: (method, SWEEPS[0]) for method in METHODS} | {
    f"steepest, {steps} steps": ("steepest", steps) for steps in SWEEPS[1:]
}
"""Name in the report -> rule, and steps of the stored range test that it reads."""
EVERY = (*NAMES, *RULES)


class Excess(NamedTuple):
    """Loss over the best loss, minus 1, over tasks; of each task the mean over seeds."""

    mean: float
    median: float
    worst: float


@dataclass(frozen=True, eq=False)
class Score:
    """How one candidate did under one schedule and length.

    Args:
        excess: per task, one value per seed.
        regret: per task, one value per seed; empty where no rate was suggested.
        decades: per task, the signed distances from the best rate of the seeds with an answer.
    """

    excess: Mapping[str, Sequence[float]]
    regret: Mapping[str, Sequence[float]]
    decades: Mapping[str, Sequence[float]]

    @classmethod
    def of(cls, truths: Mapping[str, Truth], rates: Mapping[str, Sequence[float | None]]) -> Score:
        """Judge the rates of each task, one per seed, by its truth; None is a refusal."""
        return cls(
            {task: [truth.excess(rate) for rate in rates[task]] for task, truth in truths.items()},
            {task: [truth.regret(rate) for rate in rates[task]] for task, truth in truths.items()},
            {
                task: [truth.decades(rate) for rate in rates[task] if rate is not None]
                for task, truth in truths.items()
            },
        )

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

    @property
    def wild(self) -> tuple[int, int]:
        """How many answers are off by more than ten, refusals among them, and how many of all."""
        asked = sum(map(len, self.excess.values()))
        near = sum(abs(d) < 1 + 1e-9 for task in self.decades.values() for d in task)
        return asked - near, asked


class Bench:
    """What is stored of some tasks, with every candidate's answers.

    Args:
        folder: where `truth`, `suggestions` and `alternatives` are.
        tasks: names; those without a truth and range tests are left out.
    """

    def __init__(self, folder: Path, tasks: Sequence[str]) -> None:
        self._records = {task: read_record(folder, task) for task in tasks}
        self._stored = {task: Stored.read(folder, task) for task in tasks}
        self._alternatives = {task: read_alternatives(folder, task) for task in tasks}
        self._read: dict[tuple[str, str], list[Answer]] = {}
        self.tasks = [task for task in tasks if self._is_measured(task)]

    def _is_measured(self, task: str) -> bool:
        truths = [self.truth(task, schedule, 1) for schedule in SCHEDULES]
        return None not in truths and bool(self._stored[task].results(SWEEPS[0]))

    @property
    def candidates(self) -> list[str]:
        """Names of all finders and rules that were asked about every task."""
        return [n for n in EVERY if all(self.answers(n, task, 1) for task in self.tasks)]

    @property
    def partial(self) -> list[str]:
        """Names of those that were asked about some of the tasks alone."""
        asked = [n for n in EVERY if any(self.answers(n, task, 1) for task in self.tasks)]
        return [n for n in asked if n not in self.candidates]

    @property
    def alternatives(self) -> list[str]:
        """Names of the optimizers without a rate that were trained on every task."""
        return [n for n in ALTERNATIVES if all(n in self._alternatives[t] for t in self.tasks)]

    def answers(self, candidate: str, task: str, length: int) -> list[Answer]:
        """Return one answer per seed; none where it was not asked."""
        if candidate not in RULES:
            return self._stored[task].told(candidate, length)
        if (candidate, task) not in self._read:
            method, steps = RULES[candidate]
            sweeps = self._stored[task].results(steps)
            self._read[candidate, task] = [read(result, method) for result in sweeps]
        return self._read[candidate, task]

    def truth(
        self, task: str, schedule: Schedule, length: int, measure: Measure = "final"
    ) -> Truth | None:
        """Return the truth of a task; None where it is not stored."""
        return truth_from_record(self._records[task], schedule, length, measure)

    @property
    def truth_seeds(self) -> str:
        """How many runs there are of each rate, such as "3" or "3 to 6"."""
        counts = {len(self._records[task]["initial"]) for task in self.tasks}
        return " to ".join(map(str, sorted({min(counts), max(counts)})))

    def sweep(self, task: str, steps: int) -> RangeTestResult:
        """Return the first recorded range test of a task."""
        return self._stored[task].results(steps)[0]

    def judged(self, schedule: Schedule, length: int, measure: Measure = "final") -> list[str]:
        """Return the tasks whose truth is stored under a schedule and length."""
        return list(self._truths(schedule, length, measure))

    def _truths(self, schedule: Schedule, length: int, measure: Measure) -> dict[str, Truth]:
        found = {task: self.truth(task, schedule, length, measure) for task in self.tasks}
        return {task: truth for task, truth in found.items() if truth is not None}

    def score(
        self, candidate: str, schedule: Schedule, length: int, measure: Measure = "final"
    ) -> Score | None:
        """Return how a candidate did on all judged tasks; None where it lacks one of them.

        Of an alternative it is the loss that it trains to itself.
        """
        truths = self._truths(schedule, length, measure)
        if candidate in ALTERNATIVES:
            losses = {task: self._losses(candidate, task, length, measure) for task in truths}
            excess = {
                t: [truth.excess_of_loss(x) for x in losses[t]] for t, truth in truths.items()
            }
            return Score(excess, {}, {}) if truths and all(excess.values()) else None
        rates = {
            task: [answer.rate(schedule) for answer in self.answers(candidate, task, length)]
            for task in truths
        }
        return Score.of(truths, rates) if truths and all(rates.values()) else None

    def _losses(self, alternative: str, task: str, length: int, measure: Measure) -> list[float]:
        courses = self._alternatives[task].get(alternative, {}).get(f"{length}x", [])
        points = [[math.inf if x is None else x for x in course] for course in courses]
        return [course[-1] if measure == "final" else min(course) for course in points]

    @property
    def versions(self) -> set[str]:
        """Versions of packages that are stored with the records."""
        found = set()
        for task in self.tasks:
            found |= self._stored[task].versions | set(self._records[task].get("versions", []))
            for courses in self._alternatives[task].values():
                found |= set(courses.get("versions", []))
        return found

    def spread(self, candidate: str) -> float:
        """Return the largest over the smallest rate of the seeds of a task, mean over tasks."""
        return spread([[a.lr for a in self.answers(candidate, t, 1)] for t in self.tasks])

    def refusals(self, candidate: str) -> tuple[int, int]:
        """Return how often a candidate answered without a rate, and how often it was asked."""
        answers = self._all(candidate)
        return sum(answer.lr is None for answer in answers), len(answers)

    def steps(self, candidate: str) -> float:
        """Return the optimizer steps it took, mean over all problems."""
        return float(np.mean([answer.steps for answer in self._all(candidate)]))

    def _all(self, candidate: str) -> list[Answer]:
        return [answer for task in self.tasks for answer in self.answers(candidate, task, 1)]


def spread(rates: Iterable[Sequence[float | None]]) -> float:
    """Return the largest over the smallest rate of each sequence, mean over those with two."""
    answered = [[rate for rate in each if rate is not None] for each in rates]
    spreads = [max(each) / min(each) for each in answered if len(each) > 1]
    return float(np.mean(spreads)) if spreads else math.nan


def read(result: RangeTestResult, method: str) -> Answer:
    """Return what a rule reads off a recorded range test."""
    try:
        suggestion = result.suggest(method)
    except NoSuggestionError as error:
        return Answer(None, None, len(result), str(error))
    return Answer(suggestion.lr, suggestion.max_lr, len(result))

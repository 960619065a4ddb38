"""What every rate of a grid trains to, as a curve that a suggestion can be judged on."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from lrfinder import InvalidInputError
from tests.benchmarks.suggestions.task import Schedule

Record = dict[str, Any]
Runs = Mapping[str, Sequence[float | None]]
"""log10 of the rate as it is stored -> final loss of each seed."""
Measure = Literal["final", "checkpoint"]


@dataclass(frozen=True, eq=False)
class Truth:
    """Validation loss over the learning rate, for one task, schedule and length.

    A run is never worth more than no training: whoever looks at it keeps the initial weights. So
    the loss of each run is capped at its seed's initial loss, which makes a diverged run finite;
    only then follow the mean over seeds and the interpolation, linear in log(lr). A rate outside
    the grid counts as no training, and so does a refusal (`lr=None`) or a rate that is not finite.

    Args:
        log10_lrs: rates of the grid, ascending.
        final: validation losses of the runs, (seeds, rates), inf where training diverged.
        initial: validation losses before training, (seeds,).

    Example:
        >>> truth = Truth([-2, -1, 0], [[0.5, 0.25, float("inf")]], [1.0])
        >>> truth.best_lr, truth.best
        (0.1, 0.25)
        >>> truth.excess(0.01), truth.excess(None)
        (1.0, 3.0)
    """

    log10_lrs: Any
    final: Any
    initial: Any

    def __post_init__(self) -> None:
        final, initial = np.asarray(self.final, float), np.asarray(self.initial, float)
        if final.shape != (len(initial), len(self.log10_lrs)):
            raise InvalidInputError(
                f"expected final losses of shape {(len(initial), len(self.log10_lrs))}, "
                f"(seeds, rates), got {final.shape}"
            )

    @property
    def losses(self) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Mean over seeds of the capped final loss at each rate of the grid."""
        initial = np.asarray(self.initial, float)[:, None]
        capped: np.ndarray[Any, np.dtype[np.float64]] = np.fmin(self.final, initial).mean(axis=0)
        return capped

    @property
    def untrained(self) -> float:
        """Mean over seeds of the loss before training."""
        return float(np.mean(self.initial))

    @property
    def best(self) -> float:
        """The lowest loss of the grid."""
        return float(self.losses.min())

    @property
    def best_lr(self) -> float:
        """The rate that trains to the lowest loss; the lowest of equals."""
        return float(10.0 ** self.log10_lrs[int(self.losses.argmin())])

    def loss(self, lr: float | None) -> float:
        """Return the expected final loss at a rate; None is a refusal."""
        if lr is None or not (math.isfinite(lr) and lr > 0):
            return self.untrained
        outside = self.untrained
        log10_lr = math.log10(lr)
        return float(np.interp(log10_lr, self.log10_lrs, self.losses, left=outside, right=outside))

    def excess(self, lr: float | None) -> float:
        """Return loss / best loss - 1."""
        return self.loss(lr) / self.best - 1.0

    def regret(self, lr: float | None) -> float:
        """Return the share of the reachable improvement that is missed, in [0, 1]."""
        return (self.loss(lr) - self.best) / (self.untrained - self.best)

    def excess_of_loss(self, loss: float) -> float:
        """Return a validation loss / best loss - 1.

        The loss is capped at the mean before training: it may be of a seed that the grid lacks.
        """
        return float(np.fmin(loss, self.untrained)) / self.best - 1.0

    def decades(self, lr: float) -> float:
        """Return how far a rate is above (> 0) or below (< 0) the best one."""
        return math.log10(lr / self.best_lr)


def curve_key(schedule: Schedule, length: int) -> str:
    """Return the name under which the runs of one curve are stored, such as "onecycle 4x"."""
    return f"{schedule} {length}x"


def record_path(folder: Path, task: str) -> Path:
    """Return the file in which a task's runs are stored."""
    return folder / "truth" / f"{task}.json"


def read_record(folder: Path, task: str) -> Record:
    """Return what is stored of a task; a record without runs if there is nothing yet."""
    path = record_path(folder, task)
    empty: Record = {"task": task, "initial": [], "final": {}, "course": {}}
    return empty | (json.loads(path.read_text()) if path.exists() else {})


def capped_means(runs: Runs, initial: Sequence[float]) -> dict[str, float]:
    """Return the mean over seeds at each rate, every run capped at its seed's initial loss."""
    return {
        rate: float(
            np.mean([min(_number(x), cap) for x, cap in zip(losses, initial, strict=False)])
        )
        for rate, losses in runs.items()
    }


def truth_from_record(
    record: Record, schedule: Schedule = "constant", length: int = 1, measure: Measure = "final"
) -> Truth | None:
    """Return the curve of one schedule and length; None if it has not been computed.

    Args:
        record: as `read_record` returns it.
        schedule: "constant" or "onecycle".
        length: 1, or 4 for runs of four times the steps.
        measure: "final" for the loss at the end, "checkpoint" for the lowest of the ten points,
            which is what early stopping keeps.
    """
    key = curve_key(schedule, length)
    stored = record.get("final" if measure == "final" else "course", {}).get(key)
    known = record["final"].get(key, {})
    if not stored or not record["initial"] or set(stored) != set(known):
        return None
    keys = sorted(stored, key=float)
    # While seeds are being added, some rates have more of them than others.
    seeds = min(len(record["initial"]), *(len(losses) for losses in stored.values()))
    losses = [[_number(x) for x in stored[key][:seeds]] for key in keys]
    return Truth([float(key) for key in keys], np.transpose(losses), record["initial"][:seeds])


def _number(stored: float | list[float | None] | None) -> float:
    """Return a final loss, or the lowest of a course; null is a run that diverged."""
    if isinstance(stored, list):
        return min(map(_number, stored))
    return math.inf if stored is None else stored

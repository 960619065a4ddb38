"""Which learning rates are tried: by factors of 2, uphill from where the sweep fell."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from lrfinder._recommend.trial import Trial, TrialStop, tail_mean

# Trials lie a factor of 2 apart: under 0.3 decades, which a parabola through three bridges.
FACTOR = 2.0
# A last trial that the budget cuts short is still worth making at this share of its length.
_SHORTEST = 0.6

Train = Callable[[float, int, TrialStop], list[float]]


class Search:
    """A hill climb over learning rates, within a budget of optimizer steps.

    Args:
        train: trains afresh at a rate, for a number of steps unless the stop condition ends it
            before; returns the losses.
        budget: optimizer steps for all trials together, >= `steps`.
        steps: optimizer steps of one trial, >= 3.
    """

    def __init__(self, train: Train, budget: int, steps: int) -> None:
        self.trials: list[Trial] = []
        self._train = train
        self._budget = budget
        self._steps = steps

    @property
    def best(self) -> Trial:
        """The trial with the lowest loss."""
        return min(self.trials, key=lambda trial: trial.loss)

    def run(self, start_lr: float, reached: float) -> None:
        """Try rates until both neighbours of the best one lose, or the budget is spent.

        A trial has more steps at its rate than a sweep, so one that ends above what the sweep
        reached was far too high, and the search goes on two factors below it.

        Args:
            start_lr: first rate, > 0.
            reached: lowest loss of the sweep.
        """
        if self._try(start_lr).loss > reached and self._can_go_on():
            self._try(start_lr / FACTOR**2)
        for factor in (FACTOR, 1 / FACTOR):
            while self._can_go_on() and _tried(self.trials, self.best.lr * factor) is None:
                before = self.best.loss
                if self._try(self.best.lr * factor).loss >= before:
                    break

    def _try(self, lr: float) -> Trial:
        best = self.best if self.trials else None
        incumbent = best.losses if best is not None and best.lr < lr else None
        steps = min(self._steps, self._left())
        losses = self._train(lr, steps, TrialStop(self._steps, incumbent))
        trial = Trial(lr, self._loss_of(losses, best), tuple(losses))
        self.trials.append(trial)
        return trial

    def _loss_of(self, losses: Sequence[float], best: Trial | None) -> float:
        """Return a trial's result; one that ended early keeps the lead or lag that it had then."""
        if len(losses) == self._steps or best is None or not math.isfinite(losses[-1]):
            return tail_mean(losses)
        return best.loss + (tail_mean(losses) - tail_mean(best.losses[: len(losses)]))

    def _left(self) -> int:
        return self._budget - sum(len(trial.losses) for trial in self.trials)

    def _can_go_on(self) -> bool:
        return self._left() >= _SHORTEST * self._steps


def parabola_minimum(trials: Sequence[Trial]) -> float:
    """Return the rate where the parabola through the best trial and its neighbours is lowest.

    The parabola is in log(lr). Where a neighbour diverged it counts as twice as far behind as the
    other one; where there is none, the best trial's own rate is returned.

    Args:
        trials: at least one.
    """
    best = min(trials, key=lambda trial: trial.loss)
    lower, higher = (_tried(trials, best.lr * f) for f in (1 / FACTOR, FACTOR))
    if lower is None or higher is None:
        return best.lr
    rises = [trial.loss - best.loss for trial in (lower, higher)]
    finite = [rise for rise in rises if math.isfinite(rise)]
    if not finite:
        return best.lr
    left, right = (rise if rise in finite else 2 * finite[0] for rise in rises)
    offset = 0.5 * (left - right) / (left + right) if left + right > 0 else 0.0
    return float(best.lr * FACTOR**offset)


def _tried(trials: Sequence[Trial], lr: float) -> Trial | None:
    return next((trial for trial in trials if math.isclose(trial.lr, lr, rel_tol=1e-6)), None)

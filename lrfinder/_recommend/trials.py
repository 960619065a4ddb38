"""Short trainings at constant rates: losses in, the next rate out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from lrfinder._sweep.stopping import StopReason

# Trials lie a factor of 2 apart: under 0.3 decades, which a parabola through three bridges.
FACTOR = 2.0
# The last third of a trial is its result: late enough to have forgotten the start, long enough to
# average the noise.
_TAIL = 1 / 3
# A rate that is higher and behind is given up after this share of a trial, looked at this often.
_GIVE_UP_FROM = 0.4
_GIVE_UP_EVERY = 6
# A last trial that the budget cuts short is still worth making at this share of its length.
_SHORTEST = 0.6


@dataclass(frozen=True)
class Trial:
    """One short training at a constant rate, from the state that the range test began with.

    Attributes:
        lr: learning rate of the group with the largest one, > 0.
        loss: mean training loss of its last third; inf where it diverged.
        losses: raw training loss of each step.
    """

    lr: float
    loss: float
    losses: tuple[float, ...]


class TrialWatch:
    """Ends a trial that is not finite, or that is behind a lower rate on the same batches.

    A high rate is ahead early and falls back later, because its noise stays when the progress is
    made. So one that is behind already will not win; a lower one that is behind still may.

    Args:
        steps: length of a whole trial.
        rival: losses of the best trial so far where it ran at a lower rate; None otherwise.
    """

    def __init__(self, steps: int, rival: Sequence[float] | None) -> None:
        self._from = math.ceil(steps * _GIVE_UP_FROM)
        self._rival = rival
        self._losses: list[float] = []

    def update(self, loss: float) -> StopReason | None:
        """Take the loss of one step in; return the reason to stop, or None to go on."""
        self._losses.append(loss)
        if not math.isfinite(loss):
            return StopReason.NON_FINITE
        steps = len(self._losses)
        if self._rival is None or steps < self._from or steps % _GIVE_UP_EVERY:
            return None
        behind = tail_mean(self._losses) > tail_mean(self._rival[:steps])
        return StopReason.DIVERGED if behind else None


def tail_mean(losses: Sequence[float]) -> float:
    """Return the mean over the last third; inf where that is not a number.

    Args:
        losses: shape `(n,)`, n >= 1.
    """
    tail = losses[-max(1, round(len(losses) * _TAIL)) :]
    return math.fsum(tail) / len(tail) if all(map(math.isfinite, tail)) else math.inf


def climb(
    start_lr: float,
    reached: float,
    budget: int,
    steps: int,
    train: Callable[[float, int, TrialWatch], list[float]],
) -> list[Trial]:
    """Try rates by factors of 2, uphill from a first one, until both neighbours of the best lose.

    A trial has more steps at its rate than a sweep, so one that ends above what the sweep reached
    was far too high, and the search goes on two factors below it.

    Args:
        start_lr: first rate, > 0.
        reached: lowest loss of the sweep.
        budget: optimizer steps for all trials together, >= `steps`.
        steps: optimizer steps of one trial, >= 3.
        train: trains afresh at a rate, for a number of steps unless the watch ends it before;
            returns the losses.

    Returns:
        The trials in the order they were made.
    """
    trials: list[Trial] = []

    def attempt(lr: float) -> Trial:
        best = min(trials, key=lambda trial: trial.loss, default=None)
        rival = best.losses if best is not None and best.lr < lr else None
        losses = train(lr, min(steps, left()), TrialWatch(steps, rival))
        trial = Trial(lr, _result(losses, steps, best), tuple(losses))
        trials.append(trial)
        return trial

    def left() -> int:
        return budget - sum(len(trial.losses) for trial in trials)

    best = attempt(start_lr)
    if best.loss > reached and left() >= _SHORTEST * steps:
        best = min(best, attempt(start_lr / FACTOR**2), key=lambda trial: trial.loss)
        start_lr = best.lr
    for factor in (FACTOR, 1 / FACTOR):
        while left() >= _SHORTEST * steps and not _tried(trials, best.lr * factor):
            trial = attempt(best.lr * factor)
            if trial.loss >= best.loss:
                break
            best = trial
    return trials


def _result(losses: Sequence[float], steps: int, best: Trial | None) -> float:
    """Return a trial's result; one that ended early keeps the lead or lag that it had then."""
    if len(losses) == steps or best is None or not math.isfinite(losses[-1]):
        return tail_mean(losses)
    behind = tail_mean(losses) - tail_mean(best.losses[: len(losses)])
    return best.loss + behind


def vertex(trials: Sequence[Trial]) -> float:
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

"""Which learning rates are tried: short probes find where training learns, trials refine."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from operator import attrgetter
from typing import Protocol

import numpy as np

from lrfinder._recommend.length import LengthLaw, length_scale
from lrfinder._recommend.trial import (
    Trial,
    TrialStop,
    is_within_noise,
    overfits_after,
    tail,
    tail_mean,
)
from lrfinder._sweep.loop import Record
from lrfinder.suggestion._descent import noise_level

# Probes lie this factor apart: the best of them is bracketed within one step up or down.
_PROBE_FACTOR = 2.5
# Where a probe has not learned, or has left the level of the start, the next is a decade away.
_DECADE = 10.0
# Probes are compared over their last half. Of 6 differences there, all have the same sign by chance
# in 1 of 32 pairs.
_PROBE_TAIL = 1 / 2
_SHORTEST_PROBE = 8
# The length of a probe is the first level's budget divided by this.
_PROBES_IN_BUDGET = 20
# A large budget is spent in levels. Each has this many times the budget of the one before, and
# begins at its answer: longer trials alone would never get far from what the probes found.
_LEVEL_FACTOR = 3
_SMALLEST_LEVEL = 200
# Changes below this share of the spread of the batches count as none.
_NO_CHANGE = 0.3
# Below this share of the loss that it began with, a trial is on its way to a loss of zero.
_NEAR_ZERO = 0.1
# Share of the search's budget after which no further probe is begun.
_PROBE_SHARE = 0.4
# The best of several trials of pure noise is rarely this many standard errors below the start.
_PROGRESS_ERRORS = 3.0
# Trials lie a factor of 2 apart: under 0.3 decades, which a parabola through three bridges.
FACTOR = 2.0
# Whole trials that the rest of the budget pays for; further ones fit in because some end early.
# With validation only whole trials can win, and the best one with its two neighbours makes three.
_TRIALS, _VALIDATED_TRIALS = 2.6, 3.0
# A last trial that the budget cuts short is still worth making at this share of its length.
_SHORTEST_TRIAL = 0.6


class Train(Protocol):
    """Trains afresh at one rate."""

    def __call__(self, lr: float, steps: int, stop: TrialStop, *, validate: bool) -> Record:
        """Train for some steps unless the stop condition ends it before; return the record."""


class Search:
    """A search over learning rates within a budget of optimizer steps.

    Every run begins with the same state and sees the same batches, so losses are compared step by
    step. Probes are short and far apart: they go up by decades while nothing is learned,
    down by decades while the loss leaves the level of its start, and then bracket the best rate.
    Trials are longer: a hill climb by factors of 2 from there. A large budget is spent in levels of
    ever longer trials; those of an earlier level count as probes. If there is a validation loss, it
    decides between trials; whether training learns at all is seen in the training loss.

    Args:
        train: trains from the same state each time.
        untrained: losses of the same batches while the model has hardly changed.
        budget: optimizer steps for all probes and trials, > 0.
        lr_range: lowest and highest rate that may be tried.
        law: how the best rate falls with the number of steps.
        validated: whether `train` gives a validation loss.
        total_steps: optimizer steps of the planned run. No trial is longer than this, or than two
            probes if they are longer. None if unknown: then only the budget limits the trials.
        others_train: whether groups that are not swept train as well, so that the loss falls at any
            rate of the others. Then no fall is too small.

    Attributes:
        probes: short runs that found where to try, in the order they were made.
        trials: runs that were compared, all of one length unless they ended early.
        trial_steps: optimizer steps of a whole trial.
        untrained: losses of the batches of a probe while the model has hardly changed.
        initial_loss: the training loss that the trials began with, the mean of `untrained`.
        noise: standard deviation of the loss from batch to batch, before training.
    """

    def __init__(
        self,
        train: Train,
        untrained: Sequence[float],
        *,
        budget: int,
        lr_range: tuple[float, float],
        law: LengthLaw,
        validated: bool = False,
        total_steps: int | None = None,
        others_train: bool = False,
    ) -> None:
        self.probes: list[Trial] = []
        self.trials: list[Trial] = []
        self.trial_steps = 0
        self.lr_range = lr_range
        self.total_steps = total_steps
        self._others_train = others_train
        self._train = train
        self._levels = _levels(budget)
        self._budget = self._levels[0]
        self._probe_steps = min(
            len(untrained), max(_SHORTEST_PROBE, self._budget // _PROBES_IN_BUDGET)
        )
        self.untrained = untrained[: self._probe_steps]
        # A trial that is hardly longer than a probe says no more than a probe.
        self._longest = max(total_steps or budget, 2 * self._probe_steps)
        self._law = law
        self._whole_trials = _VALIDATED_TRIALS if validated else _TRIALS

    @property
    def best(self) -> Trial:
        """The trial with the lowest loss."""
        return _best(self.trials)

    @property
    def best_in_training(self) -> Trial:
        """The trial with the lowest training loss; without validation, `best`."""
        return min(self.trials, key=lambda trial: trial.training_loss)

    def run(self, start_lr: float) -> None:
        """Try rates until both neighbours of the best one lose, or the budget is spent.

        Args:
            start_lr: first rate, > 0; moved to the nearest one that may be tried.
        """
        self._bracket(self._find_learning(self._probe(self._within(start_lr))))
        steps, lr = self._probe_steps, parabola_minimum(self.probes)
        for budget in self._levels:
            self._budget, exponent = budget, self.exponent
            self.probes, self.trials = self.probes + self.trials, []
            self.trial_steps = min(self._longest, max(3, int(self._left() / self._whole_trials)))
            # The answer so far is the best rate for shorter runs.
            self._climb(self._within(lr * length_scale(steps, self.trial_steps, exponent)))
            steps, lr = self.trial_steps, self.best_lr
            if steps == self._longest:
                return

    @property
    def best_lr(self) -> float:
        """The rate that the trials recommend: where the parabola through them is lowest.

        On a plateau their losses say little about what comes after it, but a higher rate leaves it
        sooner: there it is the highest of those within the noise of the best.
        """
        if not self.is_on_plateau:
            return parabola_minimum(self.trials)
        return max(t.lr for t in self.trials if t is self.best or is_within_noise(t, self.best))

    @property
    def exponent(self) -> float:
        """Power of the number of steps with which the best constant rate falls.

        Where the loss goes towards zero, it falls less than a peak does; see `length_law`.
        """
        lowest = min((tail_mean(trial.losses) for trial in self.trials), default=math.inf)
        if self._follows_law and 0 <= lowest < _NEAR_ZERO * self.initial_loss:
            return self._law.interpolating
        return self.peak_exponent

    @property
    def peak_exponent(self) -> float:
        """The same for the peak of a cycle: the law's `usual` power, with two exceptions.

        On a plateau it is 0. If the best trial overfits it is 1, unless the optimizer lowers its
        own steps (Adagrad): how far a small rate gets depends on rate times steps, and a longer run
        should not get further than the best trial.

        It is not smaller where the loss goes towards zero: a constant rate that stays high is near
        the edge of stability, so that a peak has little room above it.
        """
        if self._follows_law:
            return self._law.usual
        return 0.0 if self.is_on_plateau else 1.0

    @property
    def _follows_law(self) -> bool:
        """Whether neither a plateau nor overfitting decides how the rate falls."""
        if not self.trials:
            return True
        overfits = self._law.usual > 0 and overfits_after(self.best) is not None
        return not (self.is_on_plateau or overfits)

    def _has_gone_to_zero(self, trial: Trial) -> bool:
        """Return whether next to nothing is left of the loss of the untrained model."""
        left = tail_mean(trial.losses)
        # A sweep that starts too high explodes at once; its first loss is still that of the model.
        return 0 <= left < min(_NEAR_ZERO * self.initial_loss, self.untrained[0] / 2)

    @property
    def is_on_plateau(self) -> bool:
        """Whether no trial has fallen by more than the loss varies from batch to batch."""
        lowest = self.best_in_training
        if self._others_train or self._has_gone_to_zero(lowest):
            return False
        fall = self.initial_loss - lowest.training_loss
        return fall < self.noise or fall < float(np.std(tail(lowest.losses), ddof=1))

    @property
    def initial_loss(self) -> float:
        """The training loss that the trials began with."""
        return float(np.mean(self.untrained))

    @property
    def noise(self) -> float:
        """Standard deviation of the loss from batch to batch."""
        if self._others_train:  # while the others make it fall
            return noise_level(np.asarray(self.untrained))
        return float(np.std(self.untrained, ddof=1))

    def has_progressed(self, trial: Trial) -> bool:
        """Return whether a trial ended below the loss it began with by more than noise.

        With one sample in a batch, losses vary by as much as their mean, and no fall is more than
        that. So a trial has progressed too if next to nothing is left of the loss.
        """
        if self._others_train:
            return math.isfinite(trial.training_loss)
        error = self.noise * math.sqrt(1 / len(self.untrained) + 1 / len(tail(trial.losses)))
        fall = self.initial_loss - trial.training_loss
        return fall > _PROGRESS_ERRORS * error or self._has_gone_to_zero(trial)

    def _find_learning(self, probe: Trial) -> Trial:
        """Go up or down by decades until a probe learns; halve the way where both are too far."""
        while self._can_probe() and self._change(probe) >= 0:
            too_high = self._change(probe) > 0
            lr = probe.lr / _DECADE if too_high else probe.lr * _DECADE
            others = [p.lr for p in self.probes if (self._change(p) > 0) != too_high]
            if too_high and others and lr <= max(others):
                lr = math.sqrt(probe.lr * max(others))
            elif not too_high and others and lr >= min(others):
                lr = math.sqrt(probe.lr * min(others))
            lr = self._within(lr)
            if _at(self.probes, lr) is not None:
                break
            probe = self._probe(lr)
        return probe

    def _bracket(self, probe: Trial) -> None:
        """Go up, else down, by single steps while the loss of the probes falls."""
        while self._can_probe() and self._change(probe) < 0:
            for factor in (_PROBE_FACTOR, 1 / _PROBE_FACTOR):
                lr = self._within(probe.lr * factor)
                if self._can_probe() and _at(self.probes, lr) is None:
                    other = self._probe(lr)
                    if self._change(other) < 0 and other.loss <= probe.loss:
                        probe = other
                        break
            else:
                return

    def _climb(self, lr: float) -> None:
        """Try rates by factors of 2 until both neighbours of the best one lose."""
        trial = self._try(lr)
        while not self._is_usable(trial) and self._left() >= _SHORTEST_TRIAL * self.trial_steps:
            if (elsewhere := self._untried_rate(trial)) is None:
                break
            trial = self._try(elsewhere)
        for factor in (FACTOR, 1 / FACTOR):
            while self._left() >= _SHORTEST_TRIAL * self.trial_steps:
                best, lr = self.best, self._within(self.best.lr * factor)
                if _at(self.trials, lr) is not None or self._try(lr).loss >= best.loss:
                    break

    def _is_usable(self, trial: Trial) -> bool:
        """Return whether a trial has learned and, if it was validated, gives a finite loss."""
        return self.has_progressed(trial) and math.isfinite(trial.loss)

    def _untried_rate(self, trial: Trial) -> float | None:
        """Return where to go from a trial without progress; None if nothing is left to try.

        Go up a decade if it changed nothing, else down; if that rate was tried, go above them all.
        """
        beside = trial.lr * _DECADE if self._change(trial) == 0 else trial.lr / _DECADE
        above = max(tried.lr for tried in self.trials) * _DECADE
        rates = map(self._within, (beside, above))
        return next((lr for lr in rates if _at(self.trials, lr) is None), None)

    def _probe(self, lr: float) -> Trial:
        stop = TrialStop(self._probe_steps, None)
        losses = tuple(self._train(lr, self._probe_steps, stop, validate=False).losses)
        whole = len(losses) == self._probe_steps
        probe = Trial(lr, tail_mean(losses, _PROBE_TAIL) if whole else math.inf, losses)
        if self._change(probe) > 0:
            probe = replace(probe, loss=math.inf)
        self.probes.append(probe)
        return probe

    def _change(self, probe: Trial) -> int:
        """Return -1 if a probe may have learned, 1 if it has raised the loss, 0 if nothing changed.

        On the same batches even a small change has the same sign at every step. Where signs are
        mixed, the training is noisy: if the changes are larger than the spread of the batches,
        their mean decides; if they are smaller, the probe is worth a comparison.
        """
        if not math.isfinite(probe.loss):
            return 1
        steps = min(len(self.untrained), len(probe.losses))
        changes = np.subtract(probe.losses[:steps], self.untrained[:steps])[steps // 2 :]
        size = float(np.abs(changes).mean())
        spread = self.noise if self._others_train else float(np.std(self.untrained))
        if size <= _NO_CHANGE * spread:
            return 0
        same_sign = len(set(np.sign(changes).tolist())) == 1
        return int(np.sign(changes.mean())) if same_sign or size > spread else -1

    def _try(self, lr: float) -> Trial:
        best = self.best if self.trials else None
        incumbent = best.losses if best is not None and best.lr < lr else None
        steps = min(self.trial_steps, self._left())
        stop = TrialStop(self.trial_steps, incumbent)
        record = self._train(lr, steps, stop, validate=True)
        loss = self._loss_of(record, best)
        trial = Trial(lr, loss, tuple(record.losses), tuple(record.val_losses))
        self.trials.append(trial)
        return trial

    def _loss_of(self, record: Record, best: Trial | None) -> float:
        """Return a trial's result; one that ended early keeps its lead or lag in training.

        Early in training the validation loss says little about its end: it favours low rates.
        """
        losses = record.losses
        if not math.isfinite(losses[-1]):
            return math.inf
        if len(losses) == self.trial_steps or best is None or not math.isfinite(best.loss):
            return tail_mean(record.val_losses or losses)
        return best.loss + (tail_mean(losses) - tail_mean(best.losses[: len(losses)]))

    def _within(self, lr: float) -> float:
        low, high = self.lr_range
        return min(max(lr, low), high)

    def _left(self) -> int:
        return self._budget - sum(len(trial.losses) for trial in (*self.probes, *self.trials))

    def _can_probe(self) -> bool:
        return self._left() >= (1 - _PROBE_SHARE) * self._budget + self._probe_steps


def _levels(budget: int) -> list[int]:
    """Return what may be spent by the end of each level; the last is the whole budget."""
    levels = [budget]
    while levels[0] // _LEVEL_FACTOR >= _SMALLEST_LEVEL:
        levels.insert(0, levels[0] // _LEVEL_FACTOR)
    return levels


def parabola_minimum(trials: Sequence[Trial]) -> float:
    """Return the rate where the parabola through the best trial and its neighbours is lowest.

    The parabola is in log(lr). Where a neighbour diverged it counts as twice as far behind as the
    other one; where there is none, the best trial's own rate is returned.

    Args:
        trials: at least one.
    """
    best = _best(trials)
    lower, higher = neighbours(trials, best)
    if lower is None or higher is None:
        return best.lr
    left, right = lower.loss - best.loss, higher.loss - best.loss
    if math.isinf(left) and math.isinf(right):
        return best.lr
    left = 2 * right if math.isinf(left) else left
    right = 2 * left if math.isinf(right) else right
    down, up = math.log(best.lr / lower.lr), math.log(higher.lr / best.lr)
    bend = left * up + right * down
    offset = 0.5 * (left * up**2 - right * down**2) / bend if bend > 0 else 0.0
    return best.lr * math.exp(offset)


def neighbours(trials: Sequence[Trial], trial: Trial) -> tuple[Trial | None, Trial | None]:
    """Return the trials at the next lower and the next higher rate, where there are any."""
    lower = (each for each in trials if each.lr < trial.lr)
    higher = (each for each in trials if each.lr > trial.lr)
    rate = attrgetter("lr")
    return max(lower, key=rate, default=None), min(higher, key=rate, default=None)


def _best(trials: Sequence[Trial]) -> Trial:
    return min(trials, key=lambda trial: trial.loss)


def _at(trials: Sequence[Trial], lr: float) -> Trial | None:
    return next((trial for trial in trials if math.isclose(trial.lr, lr, rel_tol=1e-6)), None)

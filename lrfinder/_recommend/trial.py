"""One short run at a constant learning rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrfinder._sweep.stopping import StopReason

# The last third of a trial is its result: late enough to have forgotten the start, long enough to
# average the noise.
_TAIL = 1 / 3
# From this share of its length on, a trial that is behind a lower rate is given up; this is checked
# every so many steps.
_GIVE_UP_FROM = 0.4
_GIVE_UP_EVERY = 6
# Parts of the validation batches, measured in turn: a round over all of them averages out how they
# differ, and a trial has several rounds.
VAL_PARTS = 8
# Optimizer steps from one validation of a trial to the next; a forward pass takes about a third of
# a step, so a trial takes about a sixth longer.
VAL_EVERY = 2
# The validation loss has risen if it takes back this share of its fall, and this many standard
# errors: the lowest of several rounds is below the others by noise alone.
_OVERFITTING, _RISE_SIGMAS = 0.1, 3.0
# Two trials differ if the mean difference of their losses is this many standard errors from 0.
_SIGMAS = 2.0


@dataclass(frozen=True)
class Trial:
    """One short run at a constant rate, from the state that the range test began with.

    Attributes:
        lr: learning rate of the largest swept group, > 0.
        loss: its result, the mean of its last validation losses, or of its last training losses
            where there is no validation; inf where it diverged. A trial that was ended early keeps
            the lead or lag in training that it had then.
        losses: raw training loss of each step; minus it where the optimizer maximizes, here and
            in the other losses.
        val_losses: validation loss after every second step; empty if it was not validated.

    Example:
        >>> Trial(lr=0.1, loss=0.52, losses=(2.3, 1.1, 0.52))
        Trial(lr=0.1, loss=0.52, losses=(2.3, 1.1, 0.52), val_losses=())
    """

    lr: float
    loss: float
    losses: tuple[float, ...]
    val_losses: tuple[float, ...] = ()

    @property
    def training_loss(self) -> float:
        """The result by the training loss alone; of a validated trial without lead or lag."""
        return tail_mean(self.losses) if self.val_losses else self.loss


class TrialStop:
    """Ends a trial that is not finite, or that is behind a lower rate on the same batches.

    A high rate is ahead early and falls back later, because its noise stays when the progress is
    made. So one that is behind already will not win; a lower one that is behind still may.

    Args:
        steps: length of a whole trial.
        incumbent: losses of the best trial so far where it ran at a lower rate; None otherwise.
    """

    def __init__(self, steps: int, incumbent: Sequence[float] | None) -> None:
        self._from = math.ceil(steps * _GIVE_UP_FROM)
        self._incumbent = incumbent
        self._losses: list[float] = []

    def update(self, loss: float) -> StopReason | None:
        """Take the loss of one step in; return the reason to stop, or None to go on."""
        self._losses.append(loss)
        if not math.isfinite(loss):
            return StopReason.NON_FINITE
        steps = len(self._losses)
        if self._incumbent is None or steps < self._from or steps % _GIVE_UP_EVERY:
            return None
        behind = tail_mean(self._losses) > tail_mean(self._incumbent[:steps])
        return StopReason.DIVERGED if behind else None


def tail(losses: Sequence[float], share: float = _TAIL) -> Sequence[float]:
    """Return the last losses, which are the result of a trial.

    Args:
        losses: shape `(n,)`.
        share: of the losses that counts, in (0, 1].
    """
    return losses[-max(1, round(len(losses) * share)) :]


def tail_mean(losses: Sequence[float], share: float = _TAIL) -> float:
    """Return the mean of the last losses; inf where that is not a number."""
    last = tail(losses, share)
    return math.fsum(last) / len(last) if all(map(math.isfinite, last)) else math.inf


def is_within_noise(trial: Trial, best: Trial) -> bool:
    """Return whether two trials on the same batches differ by less than noise.

    It is the validation loss that is compared, if there is one.
    """
    one, other = (each.val_losses or each.losses for each in (trial, best))
    steps = min(len(one), len(other))
    last, best_last = np.asarray([tail(losses[:steps]) for losses in (one, other)])
    finite = math.isfinite(trial.loss) and np.isfinite([last, best_last]).all()
    if len(last) < 2 or not finite:
        return False
    behind = last - best_last
    return bool(behind.mean() < _SIGMAS * behind.std(ddof=1) / math.sqrt(len(behind)))


def overfits_after(trial: Trial) -> int | None:
    """Return the steps after which the validation loss of a trial rises; None if it does not.

    The mean of its last round over the validation batches is compared with the lowest round's.
    """
    rounds = len(trial.val_losses) // VAL_PARTS
    if rounds < 2 or not np.isfinite(trial.val_losses).all():
        return None
    losses = np.reshape(trial.val_losses[-rounds * VAL_PARTS :], (rounds, VAL_PARTS))
    means = losses.mean(axis=1)
    lowest = int(means.argmin())
    rise = losses[-1] - losses[lowest]  # on the same batches
    noise = _RISE_SIGMAS * rise.std(ddof=1) / math.sqrt(VAL_PARTS)
    if rise.mean() <= max(noise, _OVERFITTING * (means[0] - means[lowest])):
        return None
    measured = len(trial.val_losses) - (rounds - lowest - 0.5) * VAL_PARTS
    return round(len(trial.losses) * measured / len(trial.val_losses))

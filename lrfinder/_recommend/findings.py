"""What the trials say in words: the reason, what to know about it, and why there is no answer."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lrfinder._errors import NoSuggestionError
from lrfinder._recommend.search import Search, neighbours
from lrfinder._recommend.trial import is_within_noise, overfits_after, tail_mean
from lrfinder.suggestion import Descent, Diagnosis, Finding

# From the second pass on, a batch may be learned by heart.
_FEW_PASSES = 2
# The trials have left the descent of the sweep beyond this factor.
_FAR_FROM_SWEEP = 10.0


def check_progress(search: Search, quantity: str) -> None:
    """Raise `NoSuggestionError` if no trial has learned anything, or no loss can be compared.

    Args:
        search: its runs are done.
        quantity: what the trials lower, such as "minus the loss".
    """
    lowest = search.best_in_training
    if not search.has_progressed(lowest):
        raise NoSuggestionError(_why_no_progress(search, tail_mean(lowest.losses), quantity))
    if math.isfinite(search.best.loss):
        return
    if math.isfinite(lowest.training_loss):
        raise NoSuggestionError(
            "the validation loss of no trial is finite, although the training loss is; check the "
            "batches of val_loader"
        )
    raise NoSuggestionError("the loss of no trial is finite; lower start_lr")


def _why_no_progress(search: Search, lowest: float, quantity: str) -> str:
    rates = [trial.lr for trial in (*search.probes, *search.trials)]
    total_steps = search.total_steps
    is_short = total_steps is not None and search.trial_steps >= total_steps
    remedy = f"train for more than {total_steps} steps" if is_short else "raise budget"
    return (
        f"no learning rate lowers {quantity} by more than its noise: {len(rates)} trials from "
        f"lr={min(rates):.1e} to {max(rates):.1e} began at {search.initial_loss:.4g}, with a "
        f"noise of {search.noise:.2g}, and ended at {lowest:.4g} at best; {remedy}, "
        "use larger batches, or check that the model can learn the task"
    )


def why(search: Search, scale: float, quantity: str) -> str:
    """Return the reason of an answer that is the best trial's rate times `scale`."""
    best = search.best
    trials = f"of {len(search.trials)} trials of {search.trial_steps} steps"
    if search.is_on_plateau:
        return (
            f"{trials} none got far below the {search.initial_loss:.4g} they began with; of those "
            "within the noise of the best this has the highest rate"
        )
    if best.val_losses:
        quantity = quantity.replace("loss", "validation loss")
    found = f"{trials} the one at lr={best.lr:.1e} ended lowest, with {quantity} at {best.loss:.4g}"
    if len(best.losses) < search.trial_steps:  # its loss at the end is an estimate
        found = (
            f"{trials} the one at lr={best.lr:.1e} was ahead when the budget ended it after "
            f"{len(best.losses)} steps"
        )
    if scale == 1:
        return found
    length = f"{search.total_steps} steps" if search.total_steps is not None else "a longer run"
    return f"{found}; for {length} that rate is multiplied by {scale:.2g}"


def trial_findings(
    search: Search,
    epoch_steps: float,
    descent: Descent,
    best_lr: float,
    quantity: str,
) -> tuple[Finding, ...]:
    """Return what a user should know about the trials; what the sweep shows is not among it.

    Args:
        search: its runs are done.
        epoch_steps: optimizer steps of one pass through the data; 0 if they are not known.
        descent: that of the sweep.
        best_lr: the rate that the trials recommend.
        quantity: as for `check_progress`.
    """
    return (
        *_run_findings(search, epoch_steps, quantity),
        *_neighbour_findings(search),
        *_sweep_findings(descent, best_lr),
    )


def _run_findings(search: Search, epoch_steps: float, quantity: str) -> Iterator[Finding]:
    """Yield what a user should know about the runs themselves."""
    best, steps = search.best, search.trial_steps
    if search.is_on_plateau:
        yield Finding(
            Diagnosis.PLATEAU,
            f"After {steps} steps {quantity} is down from {search.initial_loss:.4g} to "
            f"{tail_mean(search.best_in_training.losses):.4g}: raise budget, so that trials get "
            "further.",
            doubtful=True,
        )
    if (lowest := overfits_after(best)) is not None:
        yield Finding(
            Diagnosis.OVERFITTING,
            f"At lr={best.lr:.1e} it is lowest after about {lowest} of {steps} steps: train for "
            "fewer steps, or keep the best checkpoint.",
            doubtful=True,
        )
    if not best.val_losses and 0 < _FEW_PASSES * epoch_steps <= steps:
        yield Finding(
            Diagnosis.REPEATED_DATA,
            f"{steps} steps are {steps / epoch_steps:.1f} passes: pass val_loader, which shows "
            "overfitting.",
            doubtful=False,
        )


def _neighbour_findings(search: Search) -> Iterator[Finding]:
    """Yield what the trials beside the best one leave open."""
    best = search.best
    lower, higher = neighbours(search.trials, best)
    if lower is None or higher is None:
        yield Finding(Diagnosis.BEST_TRIAL_AT_THE_EDGE, _beyond(search), doubtful=True)
    beside = [trial for trial in (lower, higher) if trial is not None]
    if beside and all(is_within_noise(trial, best) for trial in beside):
        yield Finding(
            Diagnosis.TRIALS_ALIKE,
            "Any rate within the interval does; raise budget or use larger batches for a finer "
            "answer.",
            doubtful=False,
        )


def _beyond(search: Search) -> str:
    """Return how the rates beyond the best trial can be tried."""
    lr, (lowest, highest) = search.best.lr, search.lr_range
    if math.isclose(lr, lowest):
        return f"It is at the lowest rate: lower start_lr below {lowest:.1e}."
    if math.isclose(lr, highest):
        return f"It is at the highest rate: raise end_lr above {highest:.1e}."
    side = "below" if neighbours(search.trials, search.best)[0] is None else "above"
    return f"No trial of the same length {side} lr={lr:.1e} was made: raise budget."


def _sweep_findings(descent: Descent, best_lr: float) -> Iterator[Finding]:
    """Yield a finding if the trials have left the descent of the sweep."""
    if not descent.is_significant:
        return
    first, last = float(descent.lr[descent.last_above(0.1)]), descent.minimum_lr
    if not first / _FAR_FROM_SWEEP < best_lr < last * _FAR_FROM_SWEEP:
        yield Finding(
            Diagnosis.SWEEP_AND_TRIALS_DISAGREE,
            f"The sweep falls from lr={first:.1e} to {last:.1e}: look at the picture, and raise "
            "budget.",
            doubtful=True,
        )

"""From a sweep and the trials around its descent to one recommended rate."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from os import PathLike
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from lrfinder import _export
from lrfinder._errors import NoSuggestionError
from lrfinder._plotting import PAIR_SIZE, draw_trials, figure_html
from lrfinder._recommend.length import LengthLaw, length_scale
from lrfinder._recommend.search import FACTOR, Search, Train, neighbours
from lrfinder._recommend.trial import VAL_PARTS, Trial, is_within_noise, overfits_after
from lrfinder._result import RangeTestResult
from lrfinder.suggestion import (
    Confidence,
    Descent,
    Diagnosis,
    Finding,
    Suggestion,
    analyze_descent,
)
from lrfinder.suggestion._diagnosis import confidence
from lrfinder.suggestion._suggest import CYCLE

if TYPE_CHECKING:
    from matplotlib.axes import Axes

FORMAT = "lrfinder.Recommendation"
# Share of the budget for the sweep: it only has to say where to begin.
_SWEEP_SHARE = 1 / 6
# Over the usual eight decades a sweep of fewer steps passes the descent in three or four; one of
# more shows nothing that the trials would need.
_FEWEST_SWEEP_STEPS, _MOST_SWEEP_STEPS = 40, 100
# What is left of a smaller budget after the sweep makes trials of under 20 steps.
SMALLEST_BUDGET = 120
# From the edge of stability to the best rate: a decade, as on our tasks in the median.
_BELOW_THE_EDGE = 10.0
# The peak of one cycle over the best constant rate: it is held for a moment, and annealing takes
# away the noise that a constant rate keeps. On our tasks the ratio is 10 ** 0.5 in the median and
# within a quarter decade of it on nearly all; too high costs more than too low.
_PEAK = 3.0
# The interval holds the rates that lose less than this share of the best trial's fall.
_INTERVAL_LOSS = 0.05
# The noise of the loss before training is told by at least two batches.
_FEWEST_LOSSES = 2
# From the second pass on, a batch may be learned by heart.
_FEW_PASSES = 2
# The trials have left the descent of the sweep beyond this factor.
_FAR = 10.0


@dataclass(frozen=True)
class Recommendation(Suggestion):
    """A learning rate that was compared with others in trials, with every number behind it.

    Attributes:
        best_trial_lr: rate that was best over the length of a trial, before the length of training
            was taken into account.
        total_steps: planned length of training in optimizer steps; None if it was not given.
        result: the sweep that told the trials where to begin.
        probes: the shorter runs, which found the rates to try, in the order they were made.
        trials: the runs that were compared, in the order they were made.

    Example:
        >>> import torch
        >>> from lrfinder import LRFinder
        >>> _ = torch.manual_seed(0)
        >>> inputs = torch.randn(64, 3)
        >>> model = torch.nn.Linear(3, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> finder = LRFinder(model, optimizer, torch.nn.MSELoss())
        >>> found = finder.recommend([(inputs, inputs.sum(1, keepdim=True))], progress=False)
        >>> found.steps <= 300, found.min_lr < found.lr <= found.max_lr
        (True, True)
    """

    best_trial_lr: float = math.nan
    total_steps: int | None = None
    result: RangeTestResult | None = field(default=None, repr=False)
    probes: tuple[Trial, ...] = field(default=(), repr=False)
    trials: tuple[Trial, ...] = field(default=(), repr=False)

    @property
    def steps(self) -> int:
        """Optimizer steps that sweep, probes and trials recorded together.

        On an accelerator a few more are taken: a loss arrives some steps late.
        """
        sweep = 0 if self.result is None else len(self.result)
        return sweep + sum(len(trial.losses) for trial in (*self.probes, *self.trials))

    def plot(self, axes: Sequence[Axes] | None = None) -> tuple[Axes, Axes]:
        """Draw the sweep and, beside it, the trials; nothing is shown.

        Args:
            axes: two axes to draw on; None for those of a new figure.

        Returns:
            The axes of the sweep and of the trials.
        """
        if axes is None:
            from matplotlib import pyplot

            axes = pyplot.figure(figsize=PAIR_SIZE, layout="constrained").subplots(1, 2)
        left, right = axes
        if self.result is not None:
            self.result.plot(ax=left, suggestion=self)
        validated = any(trial.val_losses for trial in self.trials)
        quantity = "validation loss" if validated else "training loss"
        if self.result is not None and self.result.maximize:
            quantity = f"minus the {quantity}"
        draw_trials(
            right,
            probes=[] if validated else [(trial.lr, trial.loss) for trial in self.probes],
            trials=[(trial.lr, trial.loss) for trial in self.trials],
            best_lr=self.best_trial_lr,
            lr=self.lr,
            interval=self.interval or (self.lr, self.lr),
            quantity=quantity,
        )
        return left, right

    def _repr_html_(self) -> str:
        from matplotlib.figure import Figure  # which pyplot does not know of

        figure = Figure(figsize=PAIR_SIZE, layout="constrained")
        self.plot(figure.subplots(1, 2))
        return f"<div>{figure_html(figure)}{super()._repr_html_()}</div>"

    def save(self, path: str | PathLike[str]) -> None:
        """Write the recommendation as JSON, with its sweep and its trials.

        Args:
            path: file to write; it is replaced as a whole or not at all. In a process group rank
                0 alone writes it.
        """
        own = {each.name: getattr(self, each.name) for each in fields(self)}
        own |= {
            "confidence": self.confidence.value if self.confidence else None,
            "findings": [(f.diagnosis.value, f.advice, f.doubtful) for f in self.findings],
            "result": self.result.to_dict() if self.result else None,
            "probes": [vars(trial) for trial in self.probes],
            "trials": [vars(trial) for trial in self.trials],
        }
        _export.write_json(_export.to_dict(own, FORMAT), path)

    @classmethod
    def load(cls, path: str | PathLike[str]) -> Recommendation:
        """Read a recommendation that `save` wrote.

        Args:
            path: file to read.

        Raises:
            ResultFileError: if the file is truncated, of another format version, or not ours.
            OSError: if it cannot be read at all.
        """
        return _export.read_json(path, FORMAT, cls._from_dict)

    @classmethod
    def _from_dict(cls, content: dict[str, Any]) -> Recommendation:
        own = {each.name: content[each.name] for each in fields(cls)}
        if not (own["trials"] and own["result"]):
            raise ValueError("no trials or no sweep")
        for name in ("lr", "min_lr", "max_lr", "best_trial_lr"):
            own[name] = float(own[name])
        own["lrs"] = _export.floats(own["lrs"])
        own["interval"] = _export.floats(own["interval"]) if own["interval"] else None
        own["confidence"] = Confidence(own["confidence"]) if own["confidence"] else None
        own["findings"] = tuple(
            Finding(Diagnosis(diagnosis), str(advice), doubtful=bool(doubtful))
            for diagnosis, advice, doubtful in own["findings"]
        )
        own["result"] = RangeTestResult.from_dict(own["result"])
        for name in ("probes", "trials"):
            own[name] = tuple(
                Trial(
                    float(t["lr"]),
                    float(t["loss"]),
                    _export.floats(t["losses"]),
                    _export.floats(t["val_losses"]),
                )
                for t in own[name]
            )
        return cls(**own)


def sweep_steps(budget: int) -> int:
    """Return how many steps of a budget the sweep takes."""
    return min(max(_FEWEST_SWEEP_STEPS, round(budget * _SWEEP_SHARE)), _MOST_SWEEP_STEPS)


def recommend(
    result: RangeTestResult,
    train: Train,
    *,
    budget: int,
    lr_range: tuple[float, float],
    total_steps: int | None,
    epoch_steps: float,
    law: LengthLaw,
    validated: bool,
    others_train: bool = False,
) -> Recommendation:
    """Try rates around the descent of a sweep and return the one to train with.

    The search begins where nine tenths of the sweep's fall are done, which noise moves less than
    the minimum itself. The best trial is best for a run as short as a trial. The best constant rate
    falls with a power of the number of steps, so the answer is
    `best * (trial_steps / total_steps) ** exponent`. `max_lr` follows in the same way.

    Args:
        result: the sweep.
        train: as for `Search`.
        budget: optimizer steps for all probes and trials together.
        lr_range: lowest and highest rate that may be tried.
        total_steps: planned optimizer steps of the training; None for four times a trial.
        epoch_steps: optimizer steps of one pass through the data; 0 if they are not known.
        law: how the best rate falls with the number of steps.
        validated: whether `train` gives a validation loss.
        others_train: as for `Search`.

    Raises:
        NoSuggestionError: if no trial gets below the loss that it began with by more than noise,
            or the sweep has no two finite losses.

    References:
        `length_law` for the law of the length.
    """
    descent = analyze_descent(result.curve("loss"))
    # Only the last loss can be infinite or NaN: the sweep ends there.
    losses = [loss for loss in descent.curve.loss.tolist() if math.isfinite(loss)]
    if not losses:
        descent.check_significant()  # raises, with the reason
    if len(losses) < _FEWEST_LOSSES:
        raise NoSuggestionError(
            f"the sweep recorded {len(losses)} finite losses, too few to compare trials with; "
            "lower start_lr"
        )
    search = Search(
        train,
        losses,
        budget=budget,
        lr_range=lr_range,
        law=law,
        validated=validated,
        total_steps=total_steps,
        others_train=others_train,
    )
    search.run(_first_rate(descent, lr_range))
    _check_progress(search)
    best_lr = search.best_lr
    scale, peak_scale = (
        length_scale(search.trial_steps, total_steps, exponent)
        for exponent in (search.exponent, search.peak_exponent)
    )
    lr = best_lr * scale
    max_lr = max(lr, best_lr * peak_scale * _PEAK)
    low, high = interval(search.trials, best_lr, _initial_loss(search))
    findings = (  # those of the sweep alone are in `result.diagnose()`
        *_run_findings(search, epoch_steps),
        *_neighbour_findings(search),
        *_sweep_findings(descent, best_lr),
    )
    return Recommendation(
        lr=lr,
        method="recommend",
        why=_why(search, scale),
        min_lr=max_lr * CYCLE,
        max_lr=max_lr,
        lrs=result.lrs_at(lr),
        interval=(low * scale, high * scale),
        confidence=confidence(findings, [lr]),
        findings=findings,
        best_trial_lr=best_lr,
        total_steps=total_steps,
        result=result,
        probes=tuple(search.probes),
        trials=tuple(search.trials),
        batch_size=result.batch_size,
    )


def interval(trials: Sequence[Trial], best_lr: float, initial_loss: float) -> tuple[float, float]:
    """Return the lowest and highest rate between which the trials lose little.

    Args:
        trials: at least one.
        best_lr: always inside the interval, with at least half a step on either side.
        initial_loss: loss that the trials began with.
    """
    best = min(trial.loss for trial in trials)
    allowed = best + _INTERVAL_LOSS * max(0.0, initial_loss - best)
    good = [trial.lr for trial in trials if trial.loss <= allowed or trial.loss == best]
    half_step = math.sqrt(FACTOR)
    return min(*good, best_lr / half_step), max(*good, best_lr * half_step)


def _initial_loss(search: Search) -> float:
    """Return the loss that the trials began with: the validation loss if they have one."""
    lowest = min(search.trials, key=lambda trial: trial.lr)
    first = [loss for loss in lowest.val_losses[:VAL_PARTS] if math.isfinite(loss)]
    return fmean(first) if first else search.initial_loss


def _first_rate(descent: Descent, lr_range: tuple[float, float]) -> float:
    """Return where nine tenths of the fall are done, else a decade below the edge of stability."""
    if descent.is_significant:
        return float(descent.lr[descent.last_above(0.9)])
    if not len(descent.lr):
        return lr_range[0]
    on_level = descent.loss <= np.median(descent.raw) + 4 * descent.noise
    return float(descent.lr[np.flatnonzero(on_level)[-1]]) / _BELOW_THE_EDGE


def _check_progress(search: Search) -> None:
    """Raise `NoSuggestionError` if no trial has learned anything, or no loss can be compared."""
    lowest = search.best_in_training
    if not search.has_progressed(lowest):
        raise NoSuggestionError(_why_no_progress(search, lowest))
    if not math.isfinite(search.best.loss):
        raise NoSuggestionError(
            "the validation loss of no trial is finite, although the training loss falls; check "
            "the batches of val_loader"
        )


def _why_no_progress(search: Search, lowest: Trial) -> str:
    rates = [trial.lr for trial in (*search.probes, *search.trials)]
    total_steps = search.total_steps
    is_short = total_steps is not None and search.trial_steps >= total_steps
    remedy = f"train for more than {total_steps} steps" if is_short else "raise budget"
    return (
        f"no learning rate lowers the loss by more than its noise: {len(rates)} trials from "
        f"lr={min(rates):.1e} to {max(rates):.1e} began at {search.initial_loss:.4g}, with a "
        f"noise of {search.noise:.2g}, and ended at {lowest.training_loss:.4g} at best; {remedy}, "
        "use larger batches, or check that the model can learn the task"
    )


def _run_findings(search: Search, epoch_steps: float) -> Iterator[Finding]:
    """Yield what a user should know about the runs themselves."""
    best, steps = search.best, search.trial_steps
    if search.is_on_plateau:
        yield Finding(
            Diagnosis.PLATEAU,
            f"After {steps} steps the loss is down from {search.initial_loss:.4g} to "
            f"{search.best_in_training.training_loss:.4g}: raise budget, so that trials get "
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
    return f"No rate {side} lr={lr:.1e} was tried: raise budget."


def _sweep_findings(descent: Descent, best_lr: float) -> Iterator[Finding]:
    """Yield a finding if the trials have left the descent of the sweep."""
    if not descent.is_significant:
        return
    first, last = float(descent.lr[descent.last_above(0.1)]), descent.minimum_lr
    if not first / _FAR < best_lr < last * _FAR:
        yield Finding(
            Diagnosis.SWEEP_AND_TRIALS_DISAGREE,
            f"The sweep falls from lr={first:.1e} to {last:.1e}: look at the picture, and raise "
            "budget.",
            doubtful=True,
        )


def _why(search: Search, scale: float) -> str:
    best = search.best
    trials = f"of {len(search.trials)} trials of {search.trial_steps} steps"
    if search.is_on_plateau:
        return (
            f"{trials} none got far below the {search.initial_loss:.4g} they began with; of those "
            "within the noise of the best this has the highest rate"
        )
    kind = "validation loss" if best.val_losses else "loss"
    found = f"{trials} the one at lr={best.lr:.1e} ended lowest, at a {kind} of {best.loss:.4g}"
    if len(best.losses) < search.trial_steps:  # its loss at the end is an estimate
        found = (
            f"{trials} the one at lr={best.lr:.1e} was ahead when the budget ended it after "
            f"{len(best.losses)} steps"
        )
    if scale == 1:
        return found
    length = f"{search.total_steps} steps" if search.total_steps is not None else "a longer run"
    return f"{found}; for {length} that rate is multiplied by {scale:.2g}"

"""From a sweep and the trials around its descent to one recommended rate."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from os import PathLike
from statistics import fmean
from typing import TYPE_CHECKING, Any

import numpy as np

from lrfinder import _export
from lrfinder._errors import NoSuggestionError
from lrfinder._plotting import PAIR_SIZE, draw_trials, figure_html
from lrfinder._recommend.findings import check_progress, trial_findings, why
from lrfinder._recommend.length import LengthLaw, length_scale
from lrfinder._recommend.search import FACTOR, Search, Train
from lrfinder._recommend.trial import VAL_PARTS, Trial
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
from lrfinder.suggestion._suggest import MIN_OF_MAX_LR

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
_PEAK_OVER_CONSTANT = 3.0
# The interval holds the rates that lose less than this share of the best trial's fall.
_INTERVAL_LOSS = 0.05
# Estimating the noise takes at least two losses.
_FEWEST_LOSSES = 2


@dataclass(frozen=True, kw_only=True)
class Recommendation(Suggestion):
    """A learning rate that was compared with others in trials, with every number behind it.

    Attributes:
        best_trial_lr: rate that was best over the length of a trial, before the length of training
            was taken into account.
        total_steps: planned length of training in optimizer steps; None if it was not given.
        result: the sweep, which says where the trials begin.
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

    best_trial_lr: float
    total_steps: int | None
    result: RangeTestResult = field(repr=False)
    probes: tuple[Trial, ...] = field(repr=False)
    trials: tuple[Trial, ...] = field(repr=False)

    @property
    def steps(self) -> int:
        """Optimizer steps that sweep, probes and trials recorded together.

        On an accelerator a few more are taken: a loss arrives some steps late.
        """
        runs = (*self.probes, *self.trials)
        return len(self.result) + sum(len(trial.losses) for trial in runs)

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
        self.result.plot(ax=left, suggestion=self)
        validated = any(trial.val_losses for trial in self.trials)
        quantity = "validation loss" if validated else "training loss"
        if self.result.maximize:
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
            "result": self.result.to_dict(),
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
            if not 0 < own[name] < math.inf:
                raise ValueError(f"{name} is no learning rate")
        if not (isinstance(own["method"], str) and isinstance(own["why"], str)):
            raise ValueError("no reason")
        own["lrs"] = _export.floats(own["lrs"])
        low, high = _export.floats(own["interval"])
        own["interval"] = low, high
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
        if not any(math.isfinite(trial.loss) for trial in own["trials"]):
            raise ValueError("no trial with a finite loss")
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
    search = Search(
        train,
        _losses_of_sweep(descent),
        budget=budget,
        lr_range=lr_range,
        law=law,
        validated=validated,
        total_steps=total_steps,
        others_train=others_train,
    )
    search.run(_first_rate(descent, lr_range))
    quantity = "minus the loss" if result.maximize else "the loss"
    check_progress(search, quantity)
    best_lr = search.best_lr
    scale, peak_scale = (
        length_scale(search.trial_steps, total_steps, exponent)
        for exponent in (search.exponent, search.peak_exponent)
    )
    lr = best_lr * scale
    max_lr = max(lr, best_lr * peak_scale * _PEAK_OVER_CONSTANT)
    low, high = interval(search.trials, best_lr, _initial_loss(search))
    findings = trial_findings(search, epoch_steps, descent, best_lr, quantity)
    return Recommendation(
        lr=lr,
        method="recommend",
        why=why(search, scale, quantity),
        min_lr=max_lr * MIN_OF_MAX_LR,
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


def _losses_of_sweep(descent: Descent) -> list[float]:
    """Return the finite losses of the sweep, of which the first are those before training."""
    # Only the last loss can be infinite or NaN: the sweep ends there.
    losses = [loss for loss in descent.curve.loss.tolist() if math.isfinite(loss)]
    if not losses:
        descent.check_significant()  # raises, with the reason
    if len(losses) < _FEWEST_LOSSES:
        raise NoSuggestionError(
            f"the sweep recorded {len(losses)} finite losses, too few to compare trials with; "
            "lower start_lr"
        )
    return losses


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

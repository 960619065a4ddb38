"""The recommended way: a coarse sweep, short trials around its descent, one rate."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np

from lrfinder._errors import InvalidInputError, NoSuggestionError
from lrfinder._recommend.length import length_scale
from lrfinder._recommend.search import FACTOR, Search, Train, parabola_minimum
from lrfinder._recommend.trial import Trial
from lrfinder._result import RangeTestResult
from lrfinder.suggestion import Descent, Suggestion, analyze_descent

# Share of the budget for the sweep: it only has to say where to begin.
_SWEEP_SHARE = 1 / 6
# Trials that the rest of the budget pays in full.
_TRIALS = 4
# After a second sweep it pays this many, so that the best one still has both neighbours.
_FEWEST_TRIALS = 3
# Over the usual eight decades a sweep of fewer steps passes the descent in three or four.
_FEWEST_SWEEP_STEPS = 40
# What is left of a smaller budget after the sweep makes trials of under 20 steps.
SMALLEST_BUDGET = 120
# From the edge of stability to the best rate: a decade, as on our tasks in the median.
_BELOW_THE_EDGE = 10.0
# The peak of one cycle over the best constant rate: it is held for a moment, and annealing takes
# away the noise that a constant rate keeps. On our tasks the ratio is 10 ** 0.5 in the median and
# within a quarter decade of it on nearly all; too high costs more than too low.
_PEAK = 3.0
# Lower bound of a cyclic schedule as a share of the upper one.
_CYCLE = 1 / 4
# The interval holds the rates that lose less than this share of the best trial's fall.
_INTERVAL_LOSS = 0.05


@dataclass(frozen=True)
class Recommendation(Suggestion):
    """A learning rate that short trainings were made for, with every number behind it.

    Attributes:
        best_trial_lr: rate that was best over the length of a trial, before the length of training
            was taken into account.
        total_steps: planned length of training, or None.
        result: the sweep that told the trials where to begin.
        trials: the short trainings, in the order they were made.

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
    trials: tuple[Trial, ...] = field(default=(), repr=False)

    @property
    def steps(self) -> int:
        """Optimizer steps that sweep and trials took together."""
        sweep = 0 if self.result is None else len(self.result)
        return sweep + sum(len(trial.losses) for trial in self.trials)


@dataclass(frozen=True)
class Plan:
    """How a budget of optimizer steps is spent.

    Attributes:
        sweep_steps: steps of the sweep.
        trial_steps: steps of one trial.
        trials_budget: steps of all trials together.
    """

    sweep_steps: int
    trial_steps: int
    trials_budget: int

    @property
    def can_sweep_again(self) -> bool:
        """Whether a sweep of twice the steps would leave half of the trials' budget."""
        return 4 * self.sweep_steps <= self.trials_budget

    def with_second_sweep(self) -> Plan:
        """Return the plan that pays a sweep of twice the steps from the trials' budget."""
        steps = 2 * self.sweep_steps
        left = self.trials_budget - steps
        return Plan(steps, left // _FEWEST_TRIALS, left)


def make_plan(budget: int) -> Plan:
    """Divide a budget between the sweep and the trials.

    Args:
        budget: optimizer steps, >= 120.

    Raises:
        InvalidInputError: if the budget is too small.
    """
    if isinstance(budget, bool) or not isinstance(budget, int) or budget < SMALLEST_BUDGET:
        raise InvalidInputError(
            f"expected a budget of at least {SMALLEST_BUDGET} optimizer steps, got {budget!r}; "
            "300 is a good start"
        )
    sweep_steps = max(_FEWEST_SWEEP_STEPS, round(budget * _SWEEP_SHARE))
    trials_budget = budget - sweep_steps
    return Plan(sweep_steps, trials_budget // _TRIALS, trials_budget)


def recommend(
    result: RangeTestResult,
    plan: Plan,
    train: Train,
    total_steps: int | None = None,
    *,
    exponent: float,
) -> Recommendation:
    """Try rates around the descent of a sweep and return the one to train with.

    The trials begin where nine tenths of the sweep's fall are done, which noise moves less than
    the minimum itself, and go uphill by factors of 2. The best of them is best for a training as
    short as a trial. The best constant rate falls with a power of the number of steps, so the
    answer is `best * (trial_steps / total_steps) ** exponent`.

    Args:
        result: the sweep.
        plan: how many steps a trial has and how many there are in all.
        train: trains afresh at a rate, for a number of steps unless the stop condition ends it
            before; returns the losses.
        total_steps: planned optimizer steps of the training; None for four times a trial.
        exponent: power of the number of steps with which the rate falls, see `length_exponent`.

    Raises:
        NoSuggestionError: if no trial gets below the loss that it began with.

    References:
        Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017,
        section 3.3, for a lower bound of a quarter of the upper one; `length_exponent` for the
        rest.
    """
    descent = analyze_descent(result.curve())
    search = Search(train, plan.trials_budget, plan.trial_steps)
    search.run(first_rate(descent), reached=descent.bottom)
    _check_progress(search.best, descent.top)
    best_lr = parabola_minimum(search.trials)
    scale = length_scale(plan.trial_steps, total_steps, exponent)
    lr = best_lr * scale
    max_lr = lr * _PEAK
    low, high = interval(search.trials, best_lr, descent.top)
    return Recommendation(
        lr=lr,
        method="recommend",
        why=_why(search, plan, total_steps, scale),
        min_lr=max_lr * _CYCLE,
        max_lr=max_lr,
        lrs=result.lrs_at(lr),
        interval=(low * scale, high * scale),
        best_trial_lr=best_lr,
        total_steps=total_steps,
        result=result,
        trials=tuple(search.trials),
        batch_size=result.batch_size,
    )


def first_rate(descent: Descent) -> float:
    """Return the rate at which the trials begin.

    That is where nine tenths of the fall are done, or, if no fall stands above the noise, a decade
    below the last rate at which the loss is still on its level.
    """
    if descent.is_significant:
        return float(descent.lr[descent.last_above(0.9)])
    on_level = descent.loss <= np.median(descent.raw) + 4 * descent.noise
    return float(descent.lr[np.flatnonzero(on_level)[-1]]) / _BELOW_THE_EDGE


def interval(trials: list[Trial], best_lr: float, top: float) -> tuple[float, float]:
    """Return the lowest and highest rate between which the trials lose little.

    Args:
        trials: at least one.
        best_lr: the rate that is in the interval in any case.
        top: loss that the trials began with.
    """
    best = min(trial.loss for trial in trials)
    good = [t.lr for t in trials if t.loss <= best + _INTERVAL_LOSS * (top - best)]
    half_step = math.sqrt(FACTOR)
    return min(*good, best_lr / half_step), max(*good, best_lr * half_step)


def _check_progress(best: Trial, top: float) -> None:
    if not best.loss < top:
        raise NoSuggestionError(
            f"expected a trial that gets below the loss of {top:.4g} it began with, got "
            f"{best.loss:.4g} at best (lr={best.lr:.1e}); raise budget, use larger batches, or "
            "check that the model can learn the task"
        )


def _why(search: Search, plan: Plan, total_steps: int | None, scale: float) -> str:
    length = f"{total_steps} steps" if total_steps is not None else "a longer training"
    best = search.best
    return (
        f"of {len(search.trials)} trials of {plan.trial_steps} steps the one at lr={best.lr:.1e} "
        f"ended lowest, at a loss of {best.loss:.4g}; for {length} that rate is taken times "
        f"{scale:.2g}"
    )

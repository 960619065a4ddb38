"""What is said about trials, where the loss is a known function of the rate."""

import math

import numpy as np
import pytest

from lrfinder._recommend.length import LengthLaw
from lrfinder._recommend.recommendation import interval, recommend
from lrfinder._recommend.trial import Trial, is_within_noise, tail_mean
from lrfinder._sweep.loop import Record
from lrfinder.suggestion import Confidence, Diagnosis
from tests.recommend.helpers import BATCHES, Training
from tests.suggestion.helpers import logistic, result


def recommended(train, fall_at, budget=250):
    """Recommend after a sweep that falls around a rate and explodes above 30 times that."""
    loss = logistic(60, centre=fall_at, width=0.2, top=2.0, explode_at=30 * fall_at)
    return recommend(
        result(loss + BATCHES[:60]),
        train,
        budget=budget,
        lr_range=(1e-7, 10.0),
        total_steps=None,
        epoch_steps=0,
        law=LengthLaw(0.4, 0.2),
        validated=False,
    )


def diagnoses(found):
    return {finding.diagnosis for finding in found.findings}


@pytest.mark.parametrize(("fall_at", "disagree"), [(1e-4, True), (3e-2, False)])
def test_trials_far_above_the_descent_of_the_sweep_are_reported(fall_at, disagree):
    found = recommended(Training(0.1).train, fall_at)
    assert found.best_trial_lr > 0.03
    assert (Diagnosis.SWEEP_AND_TRIALS_DISAGREE in diagnoses(found)) is disagree
    assert (found.confidence is Confidence.HIGH) is not disagree


def test_trials_far_below_the_descent_of_the_sweep_are_reported():
    found = recommended(Training(1e-5, limit=3).train, fall_at=1e-2)
    assert found.best_trial_lr < 1e-4
    assert Diagnosis.SWEEP_AND_TRIALS_DISAGREE in diagnoses(found)


def whatever_the_rate(lr, steps, stop, *, validate):
    """Train to the same loss at any rate, but for a noise that the rate begins."""
    noise = np.random.default_rng(round(1e9 * lr)).normal(scale=0.02, size=steps)
    return Record([2 * math.exp(-step / 6) + noise[step] for step in range(steps)])


def test_trials_that_differ_by_noise_alone_are_reported():
    assert Diagnosis.TRIALS_ALIKE in diagnoses(recommended(whatever_the_rate, fall_at=1e-2))
    assert Diagnosis.TRIALS_ALIKE not in diagnoses(recommended(Training(0.1).train, fall_at=3e-2))


@pytest.mark.parametrize("budget", [120, 140, 250])
@pytest.mark.parametrize("fall_at", [1e-3, 3e-2])
def test_the_reason_names_a_loss_only_if_the_best_trial_had_it(budget, fall_at):
    """A last trial that the budget cuts short may win, but its loss at the end is an estimate."""
    found = recommended(Training(0.1).train, fall_at, budget)
    best = min(found.trials, key=lambda trial: trial.loss)
    whole = max(len(trial.losses) for trial in found.trials)
    if len(best.losses) == whole:
        assert f"ended lowest, with the loss at {tail_mean(best.losses):.4g}" in found.why
    else:
        assert f"was ahead when the budget ended it after {len(best.losses)} steps" in found.why


def trial(*losses, val_losses=()):
    return Trial(0.1, losses[-1], losses, val_losses)


@pytest.mark.parametrize(("behind", "alike"), [(1.1, True), (1.2, False), (-3.0, True)])
def test_trials_differ_beyond_two_standard_errors_of_the_difference_in_their_last_third(
    behind, alike
):
    """The differences are `behind` plus 1, -1, 1 and -1: two standard errors are 1.155."""
    best = trial(*[9.0] * 8, 5.0, 4.0, 7.0, 2.0)
    ends = (6.0 + behind, 3.0 + behind, 8.0 + behind, 1.0 + behind)
    assert is_within_noise(trial(*[0.0] * 8, *ends), best) is alike
    assert is_within_noise(trial(*[0.0] * 8, *ends, 99.0, 99.0), best) is alike, "common steps"
    validated = trial(7.0, 7.0, val_losses=(0.0,) * 8 + ends)
    assert is_within_noise(validated, trial(5.0, 5.0, val_losses=best.losses)) is alike


def test_a_trial_that_diverged_differs():
    assert not is_within_noise(trial(*[1.0] * 11, math.inf), trial(*[1.0] * 12))


@pytest.mark.parametrize(
    ("initial_loss", "expected"),
    [
        (2.0, (0.2, 0.4 * math.sqrt(2))),
        (3.5, (0.2, 0.8)),
        (0.5, (0.4 / math.sqrt(2), 0.4 * math.sqrt(2))),
    ],
)
def test_the_interval_holds_what_loses_a_twentieth_of_the_fall_and_half_a_step(
    initial_loss, expected
):
    losses = {0.1: math.inf, 0.2: 1.04, 0.4: 1.0, 0.8: 1.11}
    trials = [Trial(lr, loss, ()) for lr, loss in losses.items()]
    assert interval(trials, 0.4, initial_loss) == pytest.approx(expected)

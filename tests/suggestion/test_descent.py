"""The analysed descent: where it begins, where it ends, and what it costs."""

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrfinder import NoSuggestionError, StopReason
from lrfinder.suggestion import METHODS, Diagnosis, analyze_descent
from tests.suggestion.helpers import logistic, result


def with_explosion(height, length=3):
    """A descent to 0.3 that is followed by losses of a given height."""
    return np.r_[logistic(100, explode_at=100)[:80], np.geomspace(10, height, length)]


@pytest.mark.parametrize("height", [1e3, 1e6, 1e28])
@pytest.mark.parametrize("method", ["steepest", "midpoint", "minimum"])
def test_the_height_of_an_explosion_does_not_change_the_answer(height, method):
    once, again = (result(with_explosion(h)).suggest(method) for h in (100.0, height))
    assert (once.lr, once.max_lr) == (again.lr, again.max_lr)


def test_a_fall_back_from_an_explosion_is_no_descent():
    """An adaptive optimizer far above its rates: 0.7, then 1e4, then down to 20 again."""
    spike = np.r_[logistic(100, top=2.3, bottom=0.7, explode_at=100)[:85], 6e3, 1e4, 900, 200, 20]
    swept = result(spike, stop=StopReason.DIVERGED)
    for method in METHODS:
        assert swept.suggest(method).lr < swept.lr[85]
    assert analyze_descent(swept.curve()).exploded


def test_a_bump_before_the_descent_is_no_part_of_it():
    smooth = logistic(100, centre=1e-2, explode_at=100)
    bump = smooth + 1.5 * np.exp(-(((np.arange(100) - 30) / 4) ** 2))
    assert result(bump).suggest().lr == pytest.approx(result(smooth).suggest().lr, rel=0.3)


@given(st.lists(st.floats(-1e6, 1e6), min_size=5, max_size=60))
def test_the_smoothed_curve_never_leaves_the_range_of_the_losses(losses):
    descent = analyze_descent(result(losses).curve())
    assert descent.loss.min() >= min(losses)
    assert descent.loss.max() <= max(losses)


def test_a_rate_at_an_end_of_the_sweep_is_refused_with_the_bound_to_move():
    falling_from_the_start = result(np.abs(np.arange(100) - 5.0))
    with pytest.raises(NoSuggestionError, match="lower start_lr"):
        falling_from_the_start.suggest("minimum")
    halving = result(np.geomspace(3, 0.1, 100), step_mode="linear")
    with pytest.raises(NoSuggestionError, match=r"lower end_lr to 1e\+00 for smaller steps"):
        halving.suggest("steepest")
    falling_at_the_end = result(2.3 - np.exp((np.arange(100) - 99) / 3.0))
    with pytest.raises(NoSuggestionError, match="raise end_lr"):
        falling_at_the_end.suggest()


@pytest.mark.parametrize(
    ("loss", "advice"),
    [
        (2.3 + 0.01 * np.sin(7 * np.arange(100) ** 2), "larger batches"),
        (1e6 + 0.4 * (logistic() - 2.3), "falls by .* float32 hardly resolves in a loss of 1e.06"),
        (np.full(100, 2.3), "no learning rate changes the loss, 2.3, .* the parameters in the"),
        (np.linspace(1, 3, 100), "opponent of a GAN"),
        (np.r_[np.full(60, 2.3), np.linspace(2.3, 9.0, 40)], "raise num_iter"),
    ],
)
def test_the_advice_of_a_refusal_fits_its_cause(loss, advice):
    with pytest.raises(NoSuggestionError, match=advice):
        result(loss).suggest()


@pytest.mark.parametrize(
    "loss",
    [
        2.3 + 0.01 * np.sin(7 * np.arange(25) ** 2),
        np.r_[np.full(15, 2.3), np.linspace(2.3, 9.0, 10)],
    ],
)
def test_more_points_of_a_validation_come_from_a_lower_val_every(loss):
    measured = replace(result(np.ones(100)), val_steps=tuple(range(0, 100, 4)), val_loss=(*loss,))
    with pytest.raises(NoSuggestionError, match="lower val_every") as refused:
        measured.suggest()
    assert "num_iter" not in str(refused.value)


@pytest.mark.parametrize(
    "loss",
    [
        [2.3, 2.3, 2.2],
        2.3 + 0.01 * np.sin(7 * np.arange(40) ** 2),
        2.3 - np.exp((np.arange(65) - 64) / 3.0),
    ],
    ids=["too few", "only noise", "still falling"],
)
@pytest.mark.parametrize(
    ("stop", "advice"),
    [
        (StopReason.OUT_OF_DATA, "pass a loader that can be iterated again"),
        (StopReason.CALLBACK, "let on_step end the sweep later"),
    ],
)
def test_a_sweep_that_was_ended_from_outside_has_to_go_on(loss, stop, advice):
    """More steps would end it at a still lower rate."""
    with pytest.raises(NoSuggestionError) as refused:
        result(loss, stop=stop).suggest()
    assert advice in str(refused.value)
    assert "num_iter" not in str(refused.value)


def test_an_explosion_counts_as_a_rise_after_the_minimum():
    swept = result(with_explosion(1e4), lr=np.geomspace(1e-7, 1, 83))
    assert Diagnosis.NEVER_DIVERGED not in {finding.diagnosis for finding in swept.diagnose()}


def test_a_hundred_thousand_steps_take_less_than_a_second():
    long = result(logistic(100_000, noise=0.05))
    begin = time.process_time()
    suggestion = long.suggest()
    assert time.process_time() - begin < 1.0
    assert suggestion.lr == pytest.approx(1e-3, rel=0.3)

"""The steepest-descent rule against curves whose steepest point is known."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lrfinder import NoSuggestionError
from tests.suggestion.helpers import logistic, result


@pytest.mark.parametrize("centre", [1e-5, 1e-3, 3e-2])
@pytest.mark.parametrize("points", [50, 100, 200, 400])
def test_a_logistic_fall_is_steepest_at_its_centre_however_many_steps_sweep_it(centre, points):
    suggestion = result(logistic(points, centre)).suggest()
    step = 8 / (points - 1)  # decades
    assert abs(np.log10(float(suggestion) / centre)) <= max(0.1, step)


def test_on_a_linear_sweep_the_slope_is_taken_against_the_rate_itself():
    lr = np.linspace(1e-4, 1.0, 200)
    loss = 2 - 1.5 / (1 + np.exp(-(lr - 0.4) / 0.05))
    assert result(loss, lr, step_mode="linear").suggest().lr == pytest.approx(0.4, abs=0.01)


def test_the_same_losses_read_as_linear_and_as_exponential_name_the_same_step():
    loss = logistic(100, 1e-2)
    exponential, linear = result(loss), result(loss, step_mode="linear")
    assert exponential.lr.index(exponential.suggest().lr) == linear.lr.index(linear.suggest().lr)


@settings(max_examples=50, deadline=None)
@given(scale=st.floats(1e-6, 1e6), shift=st.floats(-1e3, 1e3), seed=st.integers(0, 99))
@pytest.mark.parametrize("method", ["steepest", "midpoint", "minimum"])
def test_a_suggestion_does_not_change_under_a_times_loss_plus_b(method, scale, shift, seed):
    noise = 0.02 * np.random.default_rng(seed).normal(size=100)
    loss = logistic(100, 1e-3) + noise
    # The shift is in units of the loss: float64 must still hold the curve beside it.
    assert result(scale * (loss + shift)).suggest(method).lr == pytest.approx(
        result(loss).suggest(method).lr, rel=1e-9
    )


def test_noise_moves_the_answer_by_less_than_a_third_of_a_decade():
    curves = [logistic(100, 1e-3, noise=0.05, seed=seed) for seed in range(50)]
    answers = [np.log10(result(curve).suggest().lr) for curve in curves]
    assert np.std(answers) < 0.15
    assert abs(np.mean(answers) + 3) < 0.1


def test_an_explosion_does_not_pull_the_answer_towards_it():
    tame = result(logistic(100, 1e-2, explode_at=1.0)).suggest().lr
    wild_curve = logistic(100, 1e-2, explode_at=1.0)
    wild_curve[wild_curve > 2.3] = 1e6
    assert result(wild_curve).suggest().lr == pytest.approx(tame, rel=0.3)


def test_what_is_right_of_the_minimum_is_never_suggested():
    loss = logistic(100, 1e-3)
    loss[92:] = np.linspace(50, 5, 8)  # falls faster than anything before
    suggestion = result(loss).suggest()
    assert suggestion.lr < 1e-2


def test_one_outlier_batch_changes_nothing_that_matters():
    clean, spiked = logistic(100, 1e-3), logistic(100, 1e-3)
    spiked[30] += 20
    assert result(spiked).suggest().lr == pytest.approx(result(clean).suggest().lr, rel=0.2)


def test_nan_in_the_middle_is_bridged_and_infinity_at_the_end_is_cut():
    loss = logistic(100, 1e-3)
    whole = result(loss).suggest().lr
    loss[40], loss[-3:] = np.nan, [np.inf, np.nan, np.inf]
    assert result(loss).suggest().lr == pytest.approx(whole, rel=0.25)  # one step is 1.2


def test_a_causal_average_would_have_answered_several_times_too_high():
    """The fault this rule avoids: the other finders take the slope of an average that lags."""
    from lrfinder._sweep.smoothing import ema

    loss = logistic(100, 1e-3, explode_at=5.0)
    lagged = np.gradient(np.array(ema(loss, 0.05)))
    at = np.geomspace(1e-7, 10, 100)[int(np.argmin(lagged[: np.argmin(loss) + 20]))]
    assert at > 2 * result(loss).suggest().lr


@pytest.mark.parametrize(
    ("loss", "says"),
    [
        (np.linspace(1, 3, 50), "only rises"),
        ([1.0, 0.5, np.nan, np.nan, np.nan], "at least 5 finite points, got 2 of 5"),
        ([], "at least 5 finite points, got 0 of 0"),
        (np.full(100, 2.3), "no learning rate changes the loss"),
        (np.array([2.0, 2.1, 1.9, 2.0, 2.05] * 20), "only noise|only rises"),
    ],
)
def test_a_curve_without_a_descent_is_refused_with_the_reason(loss, says):
    with pytest.raises(NoSuggestionError, match=says):
        result(loss).suggest()


def test_the_reason_is_a_sentence_with_the_numbers():
    suggestion = result(logistic()).suggest()
    assert suggestion.method == "steepest"
    assert "2.3" in suggestion.why
    assert f"{suggestion.lr:.2e}" in str(suggestion)


@pytest.mark.parametrize("points", [50, 100, 200])
def test_pure_noise_is_refused_nine_times_in_ten(points):
    rng = np.random.default_rng(points)
    refused = 0
    for _ in range(200):
        try:
            result(2.3 + 0.1 * rng.normal(size=points)).suggest()
        except NoSuggestionError:
            refused += 1
    assert refused > 0.9 * 200


def test_the_midpoint_of_a_logistic_fall_is_its_centre_and_the_minimum_rule_a_quarter():
    recorded = result(logistic(400, 1e-3))
    assert recorded.suggest("midpoint").lr == pytest.approx(1e-3, rel=0.1)
    minimum = recorded.suggest("minimum")
    raw_minimum = recorded.lr[int(np.argmin(recorded.loss))]
    assert minimum.lr == pytest.approx(raw_minimum / 4, rel=0.3)


@pytest.mark.parametrize("method", ["steepest", "midpoint", "minimum"])
def test_the_peak_of_a_cycle_is_half_the_rate_with_the_lowest_loss_and_not_below_the_rate(method):
    long_fall = result(logistic(400, 1e-3))
    raw_minimum = long_fall.lr[int(np.argmin(long_fall.loss))]
    assert long_fall.suggest(method).max_lr == pytest.approx(raw_minimum / 2, rel=0.3)
    fell_at_once = result(np.where(np.arange(100) < 60, 2.3, 0.3) + 1e-3 * np.arange(100))
    suggestion = fell_at_once.suggest(method)
    assert suggestion.min_lr <= suggestion.lr <= suggestion.max_lr

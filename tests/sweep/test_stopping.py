"""When a sweep is over: only the shape of the curve counts, not its level or its unit."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrfinder import InvalidInputError, StopReason
from lrfinder._sweep.stopping import DivergenceStop, check_diverge_th


def stop(losses, smooth_f=0.05, diverge_th=5.0):
    """Return the index of the loss that ends the sweep and the reason; None if none does."""
    watch = DivergenceStop(smooth_f, diverge_th)
    for index, loss in enumerate(losses):
        reason = watch.update(float(loss))
        if reason is not None:
            return index, reason
    return None


def sweep_curve(seed, *, noise=0.05, blow_up=70):
    """A plateau at 1, a descent to 0, and an exponential rise from step `blow_up` on."""
    step = np.arange(100)
    descent = 1 / (1 + np.exp((step - 45) / 4))
    rise = np.where(step > blow_up, np.expm1(np.maximum(step - blow_up, 0) / 3), 0)
    return descent + rise + noise * np.random.default_rng(seed).normal(size=100)


@given(st.integers(0, 10_000), st.floats(1e-6, 1e6), st.floats(-500, 500))
def test_the_step_of_the_stop_does_not_change_under_a_times_loss_plus_b(seed, a, b):
    losses = sweep_curve(seed)
    assert stop(a * (losses + b)) == stop(losses)


@given(st.integers(0, 10_000))
def test_a_rising_curve_stops_before_its_end_and_not_before_its_rise(seed):
    index, reason = stop(sweep_curve(seed, blow_up=70))
    assert reason is StopReason.DIVERGED
    assert 70 < index < 99


@given(st.integers(0, 10_000), st.floats(-100, 100))
def test_a_descent_does_not_stop_at_any_level(seed, level):
    assert stop(sweep_curve(seed, blow_up=100) + level) is None


def test_losses_that_fall_below_zero_do_not_stop():
    assert stop(np.linspace(1.0, -50.0, 100)) is None


def test_losses_that_fall_to_almost_zero_do_not_stop():
    noise = np.abs(np.random.default_rng(0).normal(size=100))
    assert stop(np.geomspace(1.0, 1e-12, 100) * (1 + noise)) is None


@given(st.integers(0, 10_000), st.floats(0.01, 100))
def test_pure_noise_does_not_stop(seed, sigma):
    assert stop(2.3 + sigma * np.random.default_rng(seed).normal(size=300)) is None


@given(st.floats(1e-3, 1e6), st.lists(st.integers(-1, 1), min_size=2, max_size=100))
def test_a_constant_loss_that_flickers_in_its_last_bit_does_not_stop(level, flicker):
    level = np.float32(level)
    assert stop(level + np.spacing(level) * np.asarray(flicker, dtype=np.float32)) is None


@given(st.integers(0, 10_000), st.integers(0, 99), st.floats(-1e6, 1e6))
def test_one_outlier_of_any_size_does_not_stop(seed, at, size):
    losses = sweep_curve(seed, blow_up=100)
    losses[at] += size
    assert stop(losses) is None


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("at", [0, 1, 50])
def test_a_loss_that_is_not_finite_stops_at_once(value, at):
    losses = sweep_curve(0)
    losses[at] = value
    assert stop(losses) == (at, StopReason.NON_FINITE)


def test_an_infinite_threshold_never_stops_on_finite_losses():
    assert stop(np.geomspace(1, 1e30, 100), diverge_th=math.inf) is None


def test_without_smoothing_the_sweep_stops_one_step_after_a_rise_of_four_times_the_fall():
    losses = [*np.linspace(1, 0, 20), 0, 0, *np.linspace(0, 10, 101)[1:]]
    index, _ = stop(losses, smooth_f=0, diverge_th=5)
    assert losses[index - 2] <= 4 < losses[index - 1]


@pytest.mark.parametrize("diverge_th", [1, 0.5, -3, math.nan])
def test_a_threshold_of_one_or_less_is_refused(diverge_th):
    with pytest.raises(InvalidInputError, match="diverge_th must be a number > 1, got"):
        check_diverge_th(diverge_th)


@pytest.mark.parametrize("reason", StopReason)
def test_every_reason_is_told_in_a_sentence(reason):
    assert reason.sentence.endswith(".")

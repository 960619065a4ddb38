"""Smoothing without lag: what goes in flat or straight comes out so."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrfinder._sweep.smoothing import ema
from lrfinder.suggestion._smoothing import gaussian_slope, gaussian_smooth

numbers = st.floats(-1e3, 1e3)
lengths = st.integers(1, 60)
widths = st.floats(0.3, 20)
curves = st.lists(numbers, min_size=1, max_size=60)


@given(numbers, lengths, widths)
def test_a_constant_stays_constant_without_lag(constant, length, width):
    smooth = gaussian_smooth([constant] * length, width)
    np.testing.assert_allclose(smooth, constant, rtol=1e-9, atol=1e-9)


@given(numbers, numbers, st.integers(2, 60), widths)
def test_a_straight_line_stays_straight_up_to_both_ends(level, slope, length, width):
    line = level + slope * np.arange(length)
    scale = 1 + np.abs(line).max()
    np.testing.assert_allclose(gaussian_smooth(line, width), line, atol=1e-8 * scale)
    np.testing.assert_allclose(gaussian_slope(line, width), slope, atol=1e-8 * scale)


@given(curves, widths)
def test_smoothing_a_mirrored_curve_mirrors_the_smooth_one(losses, width):
    forward, backward = gaussian_smooth(losses, width), gaussian_smooth(losses[::-1], width)
    np.testing.assert_allclose(backward[::-1], forward, atol=1e-6)


def test_the_middle_of_a_step_is_found_where_it_is_and_not_later():
    step = np.where(np.arange(101) < 50, 1.0, 0.0)
    assert np.argmin(gaussian_slope(step, 3.0)) in (49, 50)
    late = np.argmin(np.abs(np.asarray(ema(step, 0.05)) - 0.5))
    assert late > 60, "the causal average is what makes other finders late"


def test_noise_falls_as_the_kernel_says():
    rng = np.random.default_rng(0)
    noise = rng.normal(size=1500)
    inner = gaussian_smooth(noise, 4.0)[50:-50]
    expected = 1 / np.sqrt(2 * np.sqrt(np.pi) * 4.0)  # norm of a Gaussian weight of width 4
    assert inner.std() == pytest.approx(expected, rel=0.1)

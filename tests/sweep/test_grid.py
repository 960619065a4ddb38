"""The learning-rate grid: pure numbers."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrfinder import InvalidInputError
from lrfinder._sweep.grid import decades, learning_rate_grid

rates = st.floats(1e-12, 1e6)
steps = st.integers(2, 500)
modes = st.sampled_from(["exp", "linear"])


@st.composite
def bounds(draw):
    low = draw(rates)
    return low, low * draw(st.floats(1.001, 1e9))


@given(bounds(), steps, modes)
def test_both_ends_are_exact(bound, num_iter, mode):
    start, end = bound
    assert learning_rate_grid(start, end, num_iter, mode)[[0, -1]].tolist() == [start, end]


@given(bounds(), st.integers(2, 100), modes)
def test_rates_rise_from_step_to_step(bound, num_iter, mode):
    assert (np.diff(learning_rate_grid(*bound, num_iter, mode)) > 0).all()


@given(bounds(), steps)
def test_an_exponential_ladder_is_the_geometric_sequence(bound, num_iter):
    start, end = bound
    expected = [start * (end / start) ** (k / (num_iter - 1)) for k in range(num_iter)]
    np.testing.assert_allclose(
        learning_rate_grid(start, end, num_iter, "exp"), expected, rtol=1e-12
    )


@given(bounds(), steps)
def test_a_linear_ladder_is_the_arithmetic_sequence(bound, num_iter):
    start, end = bound
    expected = [start + (end - start) * k / (num_iter - 1) for k in range(num_iter)]
    np.testing.assert_allclose(
        learning_rate_grid(start, end, num_iter, "linear"), expected, rtol=1e-12
    )


def test_a_ladder_from_1e_7_to_10_spans_eight_decades():
    assert decades(1e-7, 10) == pytest.approx(8)


@pytest.mark.parametrize(
    ("start", "end"),
    [
        *((0.0, 1.0), (-1e-3, 1.0), (math.nan, 1.0), (1e-3, math.inf), (1.0, 1e-3), (0.1, 0.1)),
        *((True, 10.0), (0.1, True), ("1e-3", 1.0)),
    ],
)
def test_rates_that_are_not_positive_finite_and_rising_are_refused(start, end):
    with pytest.raises(InvalidInputError, match=r"_lr must be .*, got .*; "):
        learning_rate_grid(start, end, 10)


@pytest.mark.parametrize("num_iter", [1, 0, -3, 2.0, True, "10", None])
def test_fewer_than_two_whole_steps_are_refused(num_iter):
    with pytest.raises(InvalidInputError, match=r"num_iter must be .* >= 2, got"):
        learning_rate_grid(1e-3, 1.0, num_iter)


def test_an_unknown_step_mode_is_refused_with_the_known_ones():
    with pytest.raises(InvalidInputError, match="'exp', 'linear', got 'cosine'"):
        learning_rate_grid(1e-3, 1.0, 10, "cosine")

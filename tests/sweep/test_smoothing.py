"""The moving average: a constant stays that constant, and there is no hidden debiasing."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrfinder import InvalidInputError
from lrfinder._sweep.smoothing import checked_smooth_f, ema

numbers = st.floats(-1e3, 1e3)
lengths = st.integers(1, 60)
factors = st.floats(0, 0.999)
curves = st.lists(numbers, min_size=1, max_size=60)


@given(numbers, lengths, factors)
def test_the_average_of_a_constant_is_that_constant_to_the_last_bit(constant, length, factor):
    assert ema([constant] * length, factor) == [constant] * length


@given(curves, st.floats(0.001, 0.999))
def test_the_average_is_the_one_that_torch_lr_finder_records(losses, smooth_f):
    expected = []
    for iteration, loss in enumerate(losses):
        first = iteration == 0
        expected.append(loss if first else smooth_f * loss + (1 - smooth_f) * expected[-1])
    np.testing.assert_allclose(ema(losses, smooth_f), expected, rtol=1e-9, atol=1e-9)


@given(curves)
def test_a_factor_of_zero_records_the_raw_values(losses):
    assert ema(losses, 0) == losses


def test_a_factor_of_numpy_or_a_fraction_is_a_float():
    for smooth_f in (np.float32(0.5), Fraction(1, 2)):
        assert type(checked_smooth_f(smooth_f)) is float


@pytest.mark.parametrize("smooth_f", [1.0, 1.5, -0.1, float("nan")])
def test_a_factor_outside_zero_to_one_is_refused(smooth_f):
    with pytest.raises(InvalidInputError, match=r"smooth_f must be a number in \[0, 1\), got"):
        checked_smooth_f(smooth_f)

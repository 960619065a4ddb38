"""The numbers behind a picture: skips, bands and limits, held to properties."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from lrfinder._plotting.lines import line_of, visible_rates, y_limits
from lrfinder.suggestion import analyze_descent
from tests.plotting.helpers import exploding, falling, result


def training_line(result, skip_start=0, skip_end=0):
    return line(result, "loss", skip_start, skip_end)


def validation_line(result, skip_start=0, skip_end=0):
    return line(result, "val_loss", skip_start, skip_end)


def line(result, name, skip_start, skip_end):
    seen = visible_rates(result.curve("loss"), skip_start, skip_end)
    return line_of(analyze_descent(result.curve(name)), *seen)


losses = st.lists(
    st.floats(-1e6, 1e6, allow_subnormal=False) | st.just(float("nan")), min_size=1, max_size=60
)


@given(losses, st.integers(0, 200), st.integers(0, 200))
def test_skips_never_empty_a_curve(values, skip_start, skip_end):
    lr = np.geomspace(1e-5, 1, len(values) + 1)[1:]
    line = training_line(result(lr, values), skip_start, skip_end)
    assert len(line.lr) == len(line.raw) == len(line.smoothed) >= min(5, len(values))


@given(st.integers(0, 47), st.integers(0, 48))
def test_skips_that_leave_a_shape_leave_out_exactly_that_many(skip_start, skip_end):
    sweep = falling()
    line = training_line(sweep, skip_start, skip_end)
    assert line.lr.tolist() == list(sweep.lr[skip_start : 100 - skip_end])


def test_validation_keeps_to_the_rates_that_are_seen():
    sweep = falling(val_steps=(0, 30, 60, 90), val_loss=(4.0, 3.0, 2.0, 1.0))
    assert validation_line(sweep, 20, 20).raw.tolist() == [3.0, 2.0]
    assert validation_line(sweep, 31, 41).raw.tolist() == []


@given(st.floats(0.01, 100), st.floats(-1000, 1000))
def test_limits_follow_a_change_of_unit_and_of_origin(scale, shift):
    sweep = exploding()
    moved = result(sweep.lr, [scale * loss + shift for loss in sweep.loss])
    bottom, top = y_limits([training_line(sweep)])
    expected = scale * bottom + shift, scale * top + shift
    np.testing.assert_allclose(y_limits([training_line(moved)]), expected, rtol=1e-4, atol=1e-4)


def test_limits_hold_every_curve():
    low = falling()
    high = result(low.lr, [loss + 5 for loss in low.loss])
    bottom, top = y_limits([training_line(low), training_line(high)])
    assert bottom < min(low.loss)
    assert top > max(high.loss)


def test_a_constant_curve_leaves_the_limits_to_matplotlib():
    assert y_limits([training_line(result([1e-3, 1e-2, 1e-1], [2.0, 2.0, 2.0]))]) is None

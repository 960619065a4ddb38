"""The measures, against numbers worked out by hand."""

import math

import numpy as np
import pytest

from lrfinder import InvalidInputError
from tests.benchmarks.suggestions.truth import Truth, truth_from_record

INF = math.inf


@pytest.fixture
def truth():
    """Two seeds; the mean capped losses are 0.9, 0.5, 0.2, 0.6, 1.2 and untrained is 1.2."""
    final = [[0.8, 0.4, 0.1, 0.7, INF], [1.0, 0.6, 0.3, 0.5, 9.0]]
    return Truth([-4, -3, -2, -1, 0], final, [1.0, 1.4])


def test_a_diverged_or_worse_run_counts_as_no_training(truth):
    assert truth.losses == pytest.approx([0.9, 0.5, 0.2, 0.6, 1.2])
    assert truth.untrained == pytest.approx(1.2)


def test_nan_counts_as_no_training():
    assert Truth([0, 1], [[math.nan, 0.5]], [2.0]).losses == pytest.approx([2.0, 0.5])


def test_the_best_rate_is_the_lowest_point_of_the_mean(truth):
    assert truth.best_lr == pytest.approx(1e-2)
    assert truth.best == pytest.approx(0.2)


@pytest.mark.parametrize(
    ("lr", "loss"),
    [(1e-2, 0.2), (10**-2.5, 0.35), (10**-1.75, 0.3), (10**-0.5, 0.9), (1.0, 1.2)],
)
def test_the_loss_is_linear_in_log_lr_between_grid_points(truth, lr, loss):
    assert truth.loss(lr) == pytest.approx(loss)
    assert truth.excess(lr) == pytest.approx(loss / 0.2 - 1)
    assert truth.regret(lr) == pytest.approx(loss - 0.2)  # (untrained - best) is 1 here


@pytest.mark.parametrize("lr", [None, math.nan, INF, 0.0, -1.0, 1e-5, 2.0])
def test_a_refusal_and_a_rate_outside_the_grid_count_as_no_training(truth, lr):
    assert truth.excess(lr) == pytest.approx(5.0)
    assert truth.regret(lr) == pytest.approx(1.0)


def test_the_distance_is_positive_above_the_best_rate(truth):
    assert truth.decades(10**-1.5) == pytest.approx(0.5)
    assert truth.decades(10**-3.25) == pytest.approx(-1.25)


def test_losses_of_another_shape_are_refused():
    with pytest.raises(InvalidInputError, match=r"shape \(2, 3\)"):
        Truth([0, 1, 2], np.zeros((3, 2)), [1.0, 1.0])


def test_a_record_is_read_with_null_as_infinity_and_rates_in_numeric_order():
    runs = {"-10.00": [1.5, None], "-9.75": [0.5, 0.7]}
    record = {"initial": [1.0, 2.0], "final": {"onecycle 4x": runs}}
    truth = truth_from_record(record, "onecycle", 4)
    assert truth.log10_lrs == [-10.0, -9.75]
    assert truth.losses == pytest.approx([(1.0 + 2.0) / 2, 0.6])


def test_seeds_that_some_rates_lack_are_left_out():
    runs = {"-1.00": [0.1, 0.9], "0.00": [0.3]}
    truth = truth_from_record({"initial": [1.0, 1.0], "final": {"constant 1x": runs}})
    assert truth.losses == pytest.approx([0.1, 0.3])

"""What a result says about its own numbers."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lrfinder import InvalidInputError, RangeTestResult, StopReason
from lrfinder._sweep.grid import learning_rate_grid


def make(**fields):
    lr = tuple(learning_rate_grid(1e-4, 1.0, 5).tolist())
    defaults = {
        "lr": lr,
        "loss": (5.0, 4.0, 3.0, 2.0, 1.0),
        "step_mode": "exp",
        "smooth_f": 0.5,
        "stop_reason": StopReason.COMPLETED,
        "group_lrs": (lr,),
    }
    return RangeTestResult(**(defaults | fields))


def test_the_history_is_the_smoothed_loss_against_the_rate():
    history = make(loss=(4.0, 0.0, 0.0, 0.0, 8.0)).history
    assert history["lr"] == pytest.approx([1e-4, 1e-3, 1e-2, 1e-1, 1.0], rel=1e-12)
    assert history["loss"] == [4.0, 2.0, 1.0, 0.5, 4.25]


def test_with_validation_the_history_is_that_of_the_validation_loss():
    result = make(val_steps=(0, 2, 4), val_loss=(3.0, 2.0, 1.0))
    assert result.history == {"lr": [1e-4, 1e-2, 1.0], "loss": [3.0, 2.5, 1.75]}


def test_a_rule_reads_the_quantity_that_was_asked_for():
    result = make(
        val_steps=(0, 4), val_loss=(3.0, 2.0), metrics={"accuracy": (0.1, 0.2, 0.3, 0.4, 0.5)}
    )
    assert result.curve("loss").loss.tolist() == [5, 4, 3, 2, 1]
    assert result.curve("val_loss").lr.tolist() == [1e-4, 1.0]
    assert result.curve().loss.tolist() == [3, 2], "the validation loss comes first"
    assert make().curve().loss.tolist() == [5, 4, 3, 2, 1]


def test_a_metric_may_be_called_like_the_validation_loss():
    result = make(metrics={"val_loss": (0.1, 0.2, 0.3, 0.4, 0.5)})
    curve = result.curve("val_loss")
    assert curve.lr.tolist() == list(result.lr)
    assert curve.loss.tolist() == [0.1, 0.2, 0.3, 0.4, 0.5]


def test_what_is_to_be_maximised_is_turned_over():
    metrics = {"accuracy": (0.1, 0.2, 0.3, 0.4, 0.5)}
    curve = make(metrics=metrics).curve("accuracy", maximize=True)
    assert curve.loss.tolist() == [-0.1, -0.2, -0.3, -0.4, -0.5]


def test_a_quantity_that_was_not_recorded_is_refused_with_those_that_were():
    with pytest.raises(InvalidInputError, match="one of 'loss', 'accuracy', got 'reward'"):
        make(metrics={"accuracy": (0.0,) * 5}).curve("reward")
    with pytest.raises(InvalidInputError, match="on must be one of 'loss', got 'val_loss'"):
        make().curve("val_loss")


@given(st.floats(1e-4, 1.0))
def test_groups_with_a_ratio_keep_it_at_every_rate(lr):
    reported = learning_rate_grid(1e-4, 1.0, 5)
    result = make(group_lrs=tuple(map(tuple, np.outer([1.0, 0.1, 0.0], reported).tolist())))
    assert result.lrs_at(lr) == pytest.approx((lr, 0.1 * lr, 0.0), rel=1e-9)


@pytest.mark.parametrize("lr", [0, -1e-3, float("nan")])
def test_the_rates_of_groups_at_no_rate_are_refused(lr):
    with pytest.raises(InvalidInputError, match="lr must be a number > 0, got"):
        make().lrs_at(lr)


@given(st.floats(0, 1))
def test_groups_with_ranges_of_their_own_stand_at_the_same_step(where):
    first, second = learning_rate_grid(1e-4, 1.0, 5), learning_rate_grid(1e-6, 1e-5, 5)
    result = make(group_lrs=(tuple(first.tolist()), tuple(second.tolist())))
    lr = 1e-4 * 1e4**where
    assert result.lrs_at(lr) == pytest.approx((lr, 1e-6 * 10**where), rel=1e-6)


def test_a_group_that_is_not_swept_keeps_its_rate_everywhere():
    result = make()
    fixed = replace(result, group_lrs=((0.3,) * len(result), result.lr))
    for lr in (result.lr[0] / 10, result.lr[1], result.lr[-1] * 10):
        assert fixed.lrs_at(lr) == (0.3, lr)

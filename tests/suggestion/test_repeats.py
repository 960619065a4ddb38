"""Suggestions from repeated sweeps."""

import math

import numpy as np
import pytest

from tests.suggestion.helpers import logistic, result


def test_repeats_give_the_geometric_mean_and_the_interval_of_their_own_answers():
    rows = [logistic(100, centre) for centre in (1e-4, 1e-3, 1e-2)]
    repeated = result(np.mean(rows, axis=0), repeats=rows)
    alone = [result(row).suggest().lr for row in rows]
    suggestion = repeated.suggest()
    assert suggestion.lr == pytest.approx(math.prod(alone) ** (1 / 3))
    assert suggestion.interval == (min(alone), max(alone))


def test_a_single_sweep_has_an_interval_of_one_rate():
    suggestion = result(logistic()).suggest()
    assert suggestion.interval == (suggestion.lr, suggestion.lr)


def test_a_repeat_that_shows_nothing_is_left_out():
    rows = [logistic(100, 1e-3), np.full(100, 2.3)]
    repeated = result(np.mean(rows, axis=0), repeats=rows)
    assert repeated.suggest().lr == result(rows[0]).suggest().lr

"""Leave-one-task-out against tasks whose excess is a known function of the rate."""

import numpy as np
import pytest

from lrfinder.benchmark._finders import Answer
from lrfinder.benchmark._leave_one_out import leave_one_out
from lrfinder.benchmark._truth import Truth


class FakeBench:
    """Tasks whose final loss doubles for every decade away from a best rate of 1e-2."""

    def __init__(self, suggested):
        self._suggested = suggested

    def judged(self, _schedule, _length):
        return list(self._suggested)

    def answers(self, _candidate, task, _length):
        return [Answer(self._suggested[task], self._suggested[task], 100)]

    def truth(self, _task, _schedule, _length):
        grid = np.arange(-6, 3)
        return Truth(grid, [1.0 + np.abs(grid + 2)], [100.0])


def test_a_factor_that_is_right_everywhere_is_found_without_the_task_itself():
    bench = FakeBench({"a": 1e-3, "b": 1e-3, "c": 1e-3})
    found = leave_one_out(bench, "any", "constant", 1)
    assert found.as_it_is == pytest.approx(1)
    assert found.left_out == pytest.approx(0)
    assert found.best == pytest.approx(0)
    assert found.factor == pytest.approx(10)


def test_a_factor_that_suits_one_task_alone_is_charged_to_it():
    """Two tasks are right as they are, one is a decade low: the others choose no change for it."""
    found = leave_one_out(FakeBench({"a": 1e-2, "b": 1e-2, "c": 1e-3}), "any", "constant", 1)
    assert found.left_out == pytest.approx(1 / 3)


def test_too_few_tasks_say_nothing():
    assert leave_one_out(FakeBench({"a": 1e-2, "b": 1e-2}), "any", "constant", 1) is None

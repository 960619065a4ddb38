"""Optimizers without a rate train real, tiny problems, and what they reach is stored."""

import json
import math

import pytest

from tests.benchmarks.helpers import LINE
from tests.benchmarks.suggestions import alternatives
from tests.benchmarks.suggestions.alternatives import (
    ALTERNATIVES,
    Alternative,
    measure_alternatives,
    read_alternatives,
    train_course,
)
from tests.benchmarks.suggestions.task import course, validation_loss

SAME = Alternative(lambda optimizer: optimizer, "torch")


@pytest.mark.parametrize("name", ALTERNATIVES)
def test_an_alternative_trains(name):
    alternative = ALTERNATIVES[name]
    pytest.importorskip(alternative.package)
    before = validation_loss(LINE.problem(0))
    losses = train_course(LINE.problem(0), alternative, 2000)
    assert len(losses) == 10
    assert losses[-1] < before / 2


def test_an_optimizer_in_its_own_place_gives_the_course_of_a_constant_rate():
    problem = LINE.problem(0)
    problem.optimizer.param_groups[0]["lr"] = 0.1
    assert train_course(problem, SAME, 20) == course(LINE, 0.1, "constant", 20, seed=0)


def test_a_cosine_ends_at_a_rate_of_zero():
    problem = LINE.problem(0)
    problem.optimizer.param_groups[0]["lr"] = 0.1
    train_course(problem, Alternative(lambda optimizer: optimizer, "torch", anneals=True), 20)
    assert problem.optimizer.param_groups[0]["lr"] == pytest.approx(0, abs=1e-12)


def test_trainings_are_stored_once_and_made_again_when_named(line, tmp_path, monkeypatch):
    made = []

    def make(optimizer):
        made.append(optimizer)
        return optimizer

    two = {"a": Alternative(make, "torch"), "b": Alternative(make, "not_there")}
    monkeypatch.setattr(alternatives, "ALTERNATIVES", two)
    measure_alternatives([line], tmp_path, workers=1, seeds=2)
    stored = read_alternatives(tmp_path, line)
    assert {name: {k: len(v) for k, v in found.items()} for name, found in stored.items()} == {
        "a": {"1x": 2, "4x": 2}
    }
    assert len(made) == 4
    measure_alternatives([line], tmp_path, workers=1, seeds=2)
    assert len(made) == 4
    measure_alternatives([line], tmp_path, workers=1, seeds=2, again=["a"])
    assert len(made) == 8
    assert read_alternatives(tmp_path, line) == stored


def test_a_training_that_diverges_is_stored_as_null(line, tmp_path, monkeypatch):
    def make(optimizer):
        optimizer.param_groups[0]["lr"] = 1e30
        return optimizer

    monkeypatch.setattr(alternatives, "ALTERNATIVES", {"a": Alternative(make, "torch")})
    measure_alternatives([line], tmp_path, workers=1, seeds=1)
    (losses,) = json.loads((tmp_path / "alternatives" / "line.json").read_text())["a"]["4x"]
    assert losses[-1] is None
    assert not any(x is not None and math.isinf(x) for x in losses)

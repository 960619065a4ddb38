"""Optimizers without a rate train real, tiny problems, and what they reach is stored."""

import json
import math
from dataclasses import replace
from importlib import metadata

import pytest
import torch
from torch import nn

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
    assert list(stored) == ["a"]
    assert [len(stored["a"][length]) for length in ("1x", "4x")] == [2, 2]
    assert stored["a"]["versions"] == [f"torch {metadata.version('torch')}"]
    assert len(made) == 4
    measure_alternatives([line], tmp_path, workers=1, seeds=2)
    assert len(made) == 4
    measure_alternatives([line], tmp_path, workers=1, seeds=2, again=["a"])
    assert len(made) == 8
    assert read_alternatives(tmp_path, line) == stored
    monkeypatch.setattr(alternatives, "in_parallel", lambda *_, **__: [])
    measure_alternatives([line], tmp_path, workers=1, seeds=2, again=["a"])  # is stopped at once
    assert read_alternatives(tmp_path, line) == {}


def test_versions_are_not_told_of_trainings_that_are_partly_older(line, tmp_path, monkeypatch):
    monkeypatch.setattr(alternatives, "ALTERNATIVES", {"a": SAME})
    path = tmp_path / "alternatives" / f"{line}.json"
    path.parent.mkdir()
    path.write_text(json.dumps({"a": {"1x": [[1.0] * 10]}}))
    measure_alternatives([line], tmp_path, workers=1, seeds=2)
    stored = read_alternatives(tmp_path, line)["a"]
    assert {name: len(courses) for name, courses in stored.items()} == {"1x": 2, "4x": 2}


@pytest.mark.parametrize(
    ("name", "apart"),
    [("AdamW", True), ("Muon", True), ("Adafactor", True), ("Adam", False), ("NAdam", False)],
)
def test_d_adaptation_decays_the_weights_as_the_optimizer_in_whose_place_it_is(name, apart):
    pytest.importorskip("dadaptation")
    if not hasattr(torch.optim, name):
        pytest.skip(f"this PyTorch has no torch.optim.{name}")
    optimizer = getattr(torch.optim, name)([nn.Parameter(torch.ones(2, 2))], weight_decay=0.1)
    replaced = ALTERNATIVES["D-Adaptation"].make(optimizer)
    assert replaced.param_groups[0]["decouple"] is apart
    assert replaced.param_groups[0]["weight_decay"] == 0.1


@pytest.mark.parametrize("norm", [nn.BatchNorm1d, nn.BatchNorm2d])
def test_the_statistics_of_batch_norm_are_those_of_the_averaged_weights(norm):
    pytest.importorskip("schedulefree")
    shape = (1,) if norm is nn.BatchNorm1d else (1, 1, 1)
    model = nn.Sequential(nn.Linear(1, 1), nn.Unflatten(1, shape), norm(1), nn.Flatten())
    passes = []
    model.register_forward_pre_hook(lambda module, _: passes.append(module[2].training))
    optimizer = torch.optim.SGD(model.parameters())
    problem = replace(LINE.problem(0), model=model, optimizer=optimizer)
    train_course(problem, ALTERNATIVES["Schedule-Free AdamW"], 10)
    # Ten steps, and before each of ten validations a pass over the eight batches.
    assert passes.count(True) == 10 + 10 * 8


def test_a_training_that_diverges_is_stored_as_null(line, tmp_path, monkeypatch):
    def make(optimizer):
        optimizer.param_groups[0]["lr"] = 1e30
        return optimizer

    monkeypatch.setattr(alternatives, "ALTERNATIVES", {"a": Alternative(make, "torch")})
    measure_alternatives([line], tmp_path, workers=1, seeds=1)
    (losses,) = json.loads((tmp_path / "alternatives" / "line.json").read_text())["a"]["4x"]
    assert losses[-1] is None
    assert not any(x is not None and math.isinf(x) for x in losses)

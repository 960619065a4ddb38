"""Asking finders: what they are told, what is kept, and what is asked again."""

import json
import math
from importlib import metadata

import pytest
import torch

from lrfinder import LRFinder, RangeTestResult, StopReason
from tests.benchmarks.helpers import LINE
from tests.benchmarks.suggestions import measure as _measure
from tests.benchmarks.suggestions.finders import FINDERS, Answer, Finder
from tests.benchmarks.suggestions.measure import SEEDS, SWEEPS, measure
from tests.benchmarks.suggestions.stored import Stored


def train(problem, steps):
    for inputs, targets in list(problem.train_loader)[:steps]:
        problem.optimizer.zero_grad()
        problem.criterion(problem.model(inputs), targets).backward()
        problem.optimizer.step()


@pytest.fixture
def asked(monkeypatch, line):
    """Two finders of known answers in place of the real ones; the list of questions they got."""
    questions = []

    def two(problem, planned_steps):
        questions.append(("two", planned_steps))
        train(problem, 3)
        return {"low": 0.01, "pair": (0.1, 0.2)}

    def planner(problem, planned_steps):
        questions.append(("planner", planned_steps))
        return {"planner": 1 / planned_steps}

    finders = (Finder(("low", "pair"), two), Finder(("planner",), planner, reads_plan=True))
    monkeypatch.setattr(_measure, "FINDERS", finders)
    return questions


def test_each_finder_is_asked_once_per_seed_and_told_the_steps_if_it_reads_them(asked, tmp_path):
    measure(["line"], tmp_path, workers=1)
    assert asked.count(("two", 4)) == SEEDS
    assert asked.count(("planner", 4)) == asked.count(("planner", 16)) == SEEDS
    assert len(asked) == 3 * SEEDS
    stored = Stored.read(tmp_path, "line")
    assert stored.told("low", 1) == [Answer(0.01, 0.01, 3)] * SEEDS
    assert stored.told("pair", 4) == [Answer(0.1, 0.2, 3)] * SEEDS
    assert [a.lr for a in stored.told("planner", 1)] == [1 / 4] * SEEDS
    assert [a.lr for a in stored.told("planner", 4)] == [1 / 16] * SEEDS


def test_what_is_stored_is_not_asked_again_unless_it_is_named(asked, tmp_path):
    measure(["line"], tmp_path, workers=1)
    asked.clear()
    measure(["line"], tmp_path, workers=1)
    assert asked == []
    measure(["line"], tmp_path, workers=1, again=["planner"])
    assert sorted(set(asked)) == [("planner", 4), ("planner", 16)]


def test_the_finders_that_are_named_are_asked_alone(asked, tmp_path):
    measure(["line"], tmp_path, workers=1, finders=["pair"])
    assert set(asked) == {("two", 4)}
    measure(["line"], tmp_path, workers=1, finders=["sweep"])
    stored = Stored.read(tmp_path, "line")
    assert len(asked) == SEEDS
    assert set(stored.answers) == {"low", "pair"}
    assert set(stored.sweeps) == set(map(str, SWEEPS))


def test_records_tell_the_versions_that_they_were_made_with(asked, tmp_path):
    measure(["line"], tmp_path, workers=1, finders=["pair", "sweep"])
    stored = Stored.read(tmp_path, "line")
    used = f"lrfinder {metadata.version('lrfinder')}, torch {metadata.version('torch')}"
    assert stored.versions == {used}
    for seed in stored.answers["pair"]["1x"].values():
        del seed["versions"]  # as in a record that is older
    assert [answer.versions for answer in stored.told("pair", 1)] == [""] * SEEDS


def test_what_is_to_be_asked_again_is_forgotten_even_if_it_is_stopped(asked, tmp_path, monkeypatch):
    measure(["line"], tmp_path, workers=1)
    monkeypatch.setattr(_measure, "in_parallel", lambda *_, **__: [])
    measure(["line"], tmp_path, workers=1, again=["planner", "sweep"])
    stored = Stored.read(tmp_path, "line")
    assert (stored.told("planner", 1), stored.results(100)) == ([], [])
    assert len(stored.told("pair", 1)) == SEEDS


def test_a_stopped_measurement_goes_on_where_it_was(asked, tmp_path):
    measure(["line"], tmp_path, workers=1)
    path = tmp_path / "suggestions" / "line.json"
    whole = path.read_text()
    content = json.loads(whole)
    del content["sweeps"]["200"]
    del content["answers"]["planner"]["4x"]["2"]
    path.write_text(json.dumps(content))
    asked.clear()
    measure(["line"], tmp_path, workers=1)
    assert asked == [("planner", 16)]
    assert path.read_text() == whole


def test_the_stored_range_test_is_the_one_that_the_finder_makes(asked, tmp_path):
    measure(["line"], tmp_path, workers=1)
    for size in SWEEPS:
        problem = LINE.problem(2)
        finder = LRFinder(problem.model, problem.optimizer, problem.criterion)
        made = finder.range_test(problem.train_loader, num_iter=size, progress=False)
        stored = Stored.read(tmp_path, "line").results(size)[2]
        assert stored.lr == pytest.approx(made.lr, rel=1e-12)
        as_float32 = torch.tensor(made.loss).float(), torch.tensor(stored.loss).float()
        assert torch.equal(*as_float32)
        assert stored.stop_reason is made.stop_reason


def test_a_range_test_with_losses_that_are_not_numbers_is_read_as_it_was_stored(tmp_path):
    losses = (2.0, 1.0, 3.0, math.inf, math.nan)
    result = RangeTestResult(
        (0.1, 0.2, 0.4, 0.8, 1.6), losses, "exp", 0.05, StopReason.NON_FINITE, batch_size=8
    )
    stored = Stored("any")
    stored.add_sweep(100, 0, result)
    stored.write(tmp_path)
    (read,) = Stored.read(tmp_path, "any").results(100)
    assert repr(read.loss) == repr(losses)
    assert read.lr == pytest.approx(result.lr)
    assert read.batch_size == 8


def test_an_error_is_a_refusal_of_all_names_with_its_steps_and_its_message():
    def fails(problem, _planned_steps):
        train(problem, 2)
        raise IndexError("out of points")

    answers = Finder(("a", "b"), fails).answers(LINE.problem(0), 4)
    assert answers == dict.fromkeys("ab", Answer(None, None, 2, "IndexError: out of points"))


@pytest.mark.parametrize("rate", [math.nan, math.inf, 0.0, -0.1, (0.1, 0.0)])
def test_a_rate_that_is_not_a_positive_number_is_a_refusal_of_that_name_alone(rate):
    finder = Finder(("a", "b"), lambda *_: {"a": rate, "b": 0.5})
    answers = finder.answers(LINE.problem(0), 4)
    assert answers["a"].lr is None
    assert answers["b"] == Answer(0.5, 0.5, 0)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("recommend", {}),
        ("recommend, steps given", {"total_steps": 50}),
        ("recommend, steps and validation given", {"total_steps": 50, "val_loader": True}),
        ("recommend, 1000 steps", {"total_steps": 50, "budget": 1000}),
        ("recommend, 3000 steps", {"total_steps": 50, "budget": 3000}),
    ],
)
def test_the_recommended_way_is_measured_with_both_of_its_rates(name, options):
    (finder,) = (finder for finder in FINDERS if finder.names == (name,))
    (answer,) = finder.answers(LINE.problem(0), 50).values()
    problem = LINE.problem(0)
    if "val_loader" in options:
        options = options | {"val_loader": problem.val_loader}
    ours = LRFinder(problem.model, problem.optimizer, problem.criterion)
    found = ours.recommend(problem.train_loader, progress=False, **options)
    assert (answer.lr, answer.max_lr) == (found.lr, found.max_lr)
    assert answer.steps == found.steps

"""From answers to the numbers of the report, against numbers worked out by hand."""

import json
import re

import numpy as np
import pytest

from lrfinder import InvalidInputError, NoSuggestionError, RangeTestResult, StopReason
from tests.benchmarks.helpers import LINE
from tests.benchmarks.suggestions import report as _report
from tests.benchmarks.suggestions.finders import Answer
from tests.benchmarks.suggestions.report import report
from tests.benchmarks.suggestions.score import Bench, read
from tests.benchmarks.suggestions.stored import Stored

# Two tasks, untrained at 3.0: excess is 0 at the best rate (0.1 and 0.01), 1 at a decade off, and 2
# for a refusal. Regret is half of that.
FINAL = {
    "a": {"-2.00": [2.0], "-1.00": [1.0], "0.00": [2.0]},
    "b": {"-2.00": [1.0], "-1.00": [2.0], "0.00": [3.0]},
}
CURVES = ("constant 1x", "onecycle 1x")


STEP = 8 / 99  # decades from one rate of a sweep to the next


def sweep(seed):
    """One curve, two steps to the left with each seed."""
    x = np.linspace(-7, 1, 100)
    y = x + 2 * STEP * seed
    loss = 2 - np.tanh(2 * (y + 2)) + np.expm1(np.clip(3 * y, 0, 5))
    return RangeTestResult(
        tuple(10.0**x), tuple(loss), "exp", 0.05, StopReason.COMPLETED, batch_size=1
    )


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(_report, "TASKS", dict.fromkeys(FINAL, LINE))
    (tmp_path / "truth").mkdir()
    for task, final in FINAL.items():
        record = {"task": task, "low": -2, "high": 0, "initial": [3.0]}
        # A grid of a quarter of a decade, linear in between as the measure is.
        known = np.array([[float(k), v[0]] for k, v in final.items()])
        grid = {f"{x:.2f}": [float(np.interp(x, *known.T))] for x in np.arange(-2, 0.1, 0.25)}
        record["final"] = dict.fromkeys(CURVES, grid)
        (tmp_path / "truth" / f"{task}.json").write_text(json.dumps(record))
        stored = Stored(task)
        for seed in range(2):
            stored.add_sweep(100, seed, sweep(seed))
            stored.add_sweep(200, seed, sweep(seed))
            stored.add_answer("recommend", 1, seed, Answer(0.1, 0.1 * 10**-seed, 300))
        stored.add_answer("ignite", 1, 0, Answer(None, None, 90, "RuntimeError: shape"))
        stored.add_answer("ignite", 1, 1, Answer(0.1, 0.1, 100))
        stored.write(tmp_path)
    return tmp_path


@pytest.fixture
def bench(folder):
    return Bench(folder, ["a", "b"])


def test_excess_is_the_mean_over_seeds_then_the_mean_median_and_worst_of_the_tasks(bench):
    assert bench.score("recommend", "constant", 1).by_task == pytest.approx({"a": 0.0, "b": 1.0})
    assert bench.score("recommend", "constant", 1).summary == pytest.approx((0.5, 0.5, 1.0))


def test_under_onecycle_the_other_rate_is_judged(bench):
    # max_lr is 0.1 and 0.01: best and a decade off for "a", the other way round for "b".
    assert bench.score("recommend", "onecycle", 1).by_task == pytest.approx({"a": 0.5, "b": 0.5})


def test_a_refusal_counts_as_no_training_and_has_no_distance(bench):
    score = bench.score("ignite", "constant", 1)
    assert score.by_task == pytest.approx({"a": (2 + 0) / 2, "b": (2 + 1) / 2})
    assert score.mean_regret == pytest.approx((0.5 + 0.75) / 2)
    assert score.mean_distance == pytest.approx((0 + 1) / 2)
    assert bench.refusals("ignite") == (2, 4)
    assert bench.steps("ignite") == pytest.approx(95)


def test_the_spread_is_the_largest_over_the_smallest_rate_of_a_task(bench):
    assert bench.spread("recommend") == pytest.approx(1.0)
    assert bench.spread("steepest") == pytest.approx(10 ** (2 * STEP))
    assert np.isnan(bench.spread("ignite"))  # one answer of two has no spread


def test_a_task_whose_truth_is_not_stored_is_not_judged(bench, folder):
    assert bench.score("recommend", "constant", 4) is None
    path = folder / "truth" / "b.json"
    record = json.loads(path.read_text())
    del record["final"]["onecycle 1x"]
    path.write_text(json.dumps(record))
    assert Bench(folder, ["a", "b"]).tasks == ["a"]


def test_the_best_checkpoint_is_judged_where_courses_are_stored(bench, folder):
    assert bench.score("recommend", "constant", 1, "checkpoint") is None
    for task in ("a", "b"):
        path = folder / "truth" / f"{task}.json"
        record = json.loads(path.read_text())
        rates = record["final"]["constant 1x"]
        # At one point of each run the loss was 0.5, and at the rate 0.1 of "a" 0.25.
        courses = {rate: [[0.5, *losses]] for rate, losses in rates.items()}
        if task == "a":
            courses["-1.00"] = [[2.0, 0.25, None]]
        path.write_text(json.dumps(record | {"course": {"constant 1x": courses}}))
    score = Bench(folder, ["a", "b"]).score("ignite", "constant", 1, "checkpoint")
    # Of "a" one refusal, 3.0 / 0.25 - 1, and the best; of "b" one refusal, 3.0 / 0.5 - 1.
    assert score.by_task == pytest.approx({"a": 11 / 2, "b": 5 / 2})


def test_answers_off_by_more_than_ten_are_counted_with_the_refusals(bench):
    assert bench.score("ignite", "constant", 1).wild == (2, 4)
    assert bench.score("recommend", "onecycle", 1).wild == (0, 4)


def test_an_optimizer_without_a_rate_is_compared_with_the_best_rate(folder):
    (folder / "alternatives").mkdir()
    for task, last in (("a", [0.5, 1.5]), ("b", [None, 2.0])):
        courses = {"1x": [[0.9, last[0]], [0.9, last[1]]]}
        text = json.dumps({"Prodigy": courses})
        (folder / "alternatives" / f"{task}.json").write_text(text)
    bench = Bench(folder, ["a", "b"])
    score = bench.score("Prodigy", "constant", 1)
    # The best rate reaches 1.0; a run that diverged counts as no training, 3.0.
    assert score.by_task == pytest.approx({"a": (-0.5 + 0.5) / 2, "b": (2.0 + 1.0) / 2})
    assert bench.alternatives == ["Prodigy"]


def test_a_candidate_that_was_not_asked_about_every_task_has_no_score(bench, folder):
    stored = Stored.read(folder, "b")
    stored.forget(["recommend"])
    stored.write(folder)
    bench = Bench(folder, ["a", "b"])
    assert bench.score("recommend", "constant", 1) is None
    assert "recommend" not in bench.candidates
    assert bench.partial == ["recommend"]


def test_a_rule_is_read_off_the_stored_range_test(monkeypatch):
    first, second = (read(sweep(seed), "steepest") for seed in (0, 1))
    assert (first.steps, first.refusal) == (100, "")
    # The loss falls fastest at 1e-2, and the second curve lies two steps to the left.
    assert 1e-2 / 3 < first.lr < 3e-2
    assert first.lr / second.lr == pytest.approx(10 ** (2 * STEP))
    assert first.max_lr >= first.lr

    def refuses(*_):
        raise NoSuggestionError("no descent")

    monkeypatch.setattr(RangeTestResult, "suggest", refuses)
    assert read(sweep(0), "steepest") == Answer(None, None, 100, "no descent")


def test_the_report_holds_the_numbers_and_both_pictures(folder, monkeypatch):
    monkeypatch.setattr(_report, "DEVELOPMENT", ["a", "b"])
    report(["a", "b"], folder)
    page = (folder / "README.md").read_text()
    assert "| recommend | 0.500 / 0.500 / 1.000 | 0.500 / 0.500 / 0.500 |\n" in page
    assert "| ignite | 0.625 | 0.625 | 0.500 | 2 of 4 | 2 of 4 |  | 95 |" in page
    assert re.search(r"\| a \| 1.0e-01 \| 1.0e-01 \| 0.000 / 0.500 \|", page)
    assert "{" not in page
    for picture in re.findall(r"\((.*?\.png)\)", page):
        assert (folder / picture).stat().st_size > 10_000


@pytest.fixture
def undrawn(monkeypatch):
    for name in ("draw_excess", "draw_task"):
        monkeypatch.setattr(_report, name, lambda *_: None)


@pytest.mark.usefixtures("undrawn")
def test_tasks_that_were_held_out_are_shown_alone_and_with_those_held_out(folder, monkeypatch):
    monkeypatch.setattr(_report, "HELD_OUT", ["a"])
    monkeypatch.setattr(_report, "DEVELOPMENT", ["b"])
    monkeypatch.setattr(_report, "ONCE_HELD_OUT", ("b",))
    report(["a", "b"], folder)
    page = (folder / "README.md").read_text()
    _, _, moved = page.partition("\n## Tasks that were held out\n")
    assert "`b`" in moved
    assert "| recommend | 1.000 / 0.500 |\n" in moved
    assert "| recommend | 0.500 / 0.500 / 1.000 | 0.500 / 0.500 / 0.500 |\n" in moved
    assert "tasks held out: 1, tasks for development: 1" in page
    assert f"| line |  |  | {LINE.optimizer} |" in page


@pytest.mark.usefixtures("undrawn")
def test_the_report_says_who_was_not_asked_about_all_tasks(folder, monkeypatch, caplog):
    monkeypatch.setattr(_report, "DEVELOPMENT", ["a", "b"])
    stored = Stored.read(folder, "b")
    stored.forget(["recommend"])
    stored.write(folder)
    report(["a", "b"], folder)
    page = (folder / "README.md").read_text()
    (line,) = (line for line in page.splitlines() if line.startswith("Not here"))
    assert ": recommend; " in line
    assert "ignite" not in line
    assert "Tasks for development: left out, as some were not asked about: recommend" in caplog.text


def test_a_report_on_nothing_says_what_to_run(tmp_path, monkeypatch):
    monkeypatch.setattr(_report, "DEVELOPMENT", ["a", "b"])
    with pytest.raises(InvalidInputError, match="run the stages truth and suggest first"):
        report(["a"], tmp_path)

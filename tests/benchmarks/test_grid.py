"""The truth's grid: what is stored is kept, what is missing is run."""

import json
from importlib import metadata

import pytest

from tests.benchmarks.helpers import LINE
from tests.benchmarks.suggestions.grid import compute, wanted
from tests.benchmarks.suggestions.task import POINTS, Task, course, initial_loss
from tests.benchmarks.suggestions.tasks import TASKS


def valley_at(best):
    """Return the final losses of a task whose best log10 of the rate is known."""
    return lambda rate: [abs(float(rate) - best)]


@pytest.mark.parametrize("best", [-4.6, -3.0, -2.2, -0.6, 0.3])
def test_the_grid_grows_until_the_best_rate_has_quarters_of_a_decade_on_both_sides(best):
    task = Task("any", None, steps=1, low=-4.0, high=-1.0)
    runs, loss = {}, valley_at(best)
    while missing := [rate for rate in wanted(task, runs, [9.0]) if rate not in runs]:
        runs |= {rate: loss(rate) for rate in missing}
    rates = sorted(map(float, runs))
    found = min(rates, key=lambda rate: loss(rate)[0])
    assert found == min((q / 4 for q in range(-40, 20)), key=lambda rate: loss(rate)[0])
    assert {found - 0.25, found + 0.25} <= set(rates)
    assert rates[0] <= -4.0
    assert rates[-1] >= -1.0


def test_the_grid_does_not_follow_a_loss_that_falls_for_ever():
    task, runs = Task("any", None, steps=1, low=-4.0, high=-1.0), {}
    while missing := [rate for rate in wanted(task, runs, [9.0]) if rate not in runs]:
        runs |= {rate: [-float(rate)] for rate in missing}
    assert max(map(float, runs)) == 2.0


def test_stored_rates_between_those_of_the_grid_stay_wanted():
    task = Task("any", None, steps=1, low=-1.0, high=0.0)
    assert "0.20" in wanted(task, {"0.20": [1.0]}, [2.0])


def test_a_stopped_grid_goes_on_and_ends_as_if_it_had_not_been_stopped(line, tmp_path):
    path = tmp_path / "truth" / "line.json"
    compute([line], tmp_path, workers=1, seeds=2)
    whole = path.read_text()

    record = json.loads(whole)
    record["initial"].pop()  # a seed was not reached
    for name in ("final", "course"):
        del record[name]["onecycle 4x"]  # nor this curve
        del record[name]["constant 1x"]["-0.50"]  # nor this rate
        record[name]["constant 4x"]["-1.00"].pop()  # nor the second seed of this one
    record["final"]["constant 1x"]["-1.00"][0] = 42.0  # marks a run that is there
    path.write_text(json.dumps(record))
    compute([line], tmp_path, workers=1, seeds=2)

    resumed, expected = json.loads(path.read_text()), json.loads(whole)
    assert resumed["final"]["constant 1x"]["-1.00"][0] == 42.0
    expected["final"]["constant 1x"]["-1.00"][0] = 42.0
    assert resumed == expected
    assert [file.name for file in path.parent.iterdir()] == ["line.json"]


def test_what_is_stored_is_what_training_gives(line, tmp_path):
    compute([line], tmp_path, workers=1, seeds=1)
    record = json.loads((tmp_path / "truth" / "line.json").read_text())
    assert record["initial"] == [initial_loss(LINE, seed=0)]
    assert list(record["final"]) == ["constant 1x", "onecycle 1x", "constant 4x", "onecycle 4x"]
    losses = course(LINE, 10**-0.5, "onecycle", 16, seed=0)
    assert record["final"]["onecycle 4x"]["-0.50"] == [losses[-1]]
    assert record["course"]["onecycle 4x"]["-0.50"] == [pytest.approx(losses, rel=1e-5)]


def test_a_record_tells_its_versions_unless_a_part_of_it_is_older(line, tmp_path):
    compute([line], tmp_path, workers=1, seeds=1, lengths=[1])
    path = tmp_path / "truth" / "line.json"
    record = json.loads(path.read_text())
    assert record.pop("versions") == [f"torch {metadata.version('torch')}"]
    assert "held_out" not in record
    path.write_text(json.dumps(record))
    compute([line], tmp_path, workers=1, seeds=2, lengths=[1])
    assert "versions" not in json.loads(path.read_text())


def test_final_losses_without_a_course_are_kept_unless_courses_are_asked_for(line, tmp_path):
    compute([line], tmp_path, workers=1, seeds=1, lengths=[1])
    path = tmp_path / "truth" / "line.json"
    whole = json.loads(path.read_text())
    path.write_text(json.dumps(whole | {"course": {}}))
    compute([line], tmp_path, workers=1, seeds=1, lengths=[1])
    assert json.loads(path.read_text())["course"] == {}
    compute([line], tmp_path, workers=1, seeds=1, lengths=[1], courses=True)
    assert json.loads(path.read_text()) == whole
    more = {rate: [*losses, 7.0] for rate, losses in whole["final"]["constant 1x"].items()}
    path.write_text(json.dumps(whole | {"final": {"constant 1x": more}, "course": {}}))
    compute([line], tmp_path, workers=1, seeds=1, lengths=[1], courses=True)
    assert json.loads(path.read_text())["final"]["constant 1x"] == more  # no seed is lost
    assert {len(c) for runs in whole["course"]["constant 1x"].values() for c in runs} == {POINTS}


def test_every_task_begins_with_a_grid_of_five_rates_or_more():
    assert all(len(wanted(task, {}, [])) >= 5 for name, task in TASKS.items() if name != "line")

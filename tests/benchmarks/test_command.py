"""The command as a whole, with our finder alone."""

import json

import pytest

from lrfinder import InvalidInputError
from tests.benchmarks.suggestions import alternatives, measure
from tests.benchmarks.suggestions.__main__ import main
from tests.benchmarks.suggestions.finders import FINDERS

NAMES = {name for finder in FINDERS[:2] for name in finder.names}


@pytest.fixture(autouse=True)
def ours_alone(monkeypatch, line):
    monkeypatch.setattr(measure, "FINDERS", FINDERS[:2])
    monkeypatch.setattr(measure, "SEEDS", 1)
    monkeypatch.setattr(alternatives, "ALTERNATIVES", {})


def run(stage, tmp_path):
    options = ["--tasks", "line", "--seeds", "1", "--workers", "1", "--output", str(tmp_path)]
    main([*stage, *options])


def test_truth_then_the_command_without_a_stage_make_the_report(tmp_path):
    run(["truth"], tmp_path)
    run([], tmp_path)
    truth = json.loads((tmp_path / "truth" / "line.json").read_text())
    answers = json.loads((tmp_path / "suggestions" / "line.json").read_text())["answers"]
    page = (tmp_path / "README.md").read_text()
    assert len(truth["final"]) == len(truth["course"]) == 4
    assert set(answers) == NAMES
    assert "| recommend | " in page
    assert "| steepest | " in page
    assert "tasks for development: 1" in page


def test_a_stage_does_that_part_alone(tmp_path):
    run(["suggest"], tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["suggestions"]
    with pytest.raises(InvalidInputError, match="run the stages truth and suggest first"):
        run(["report"], tmp_path)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        (["truth", "--tasks", "line", "--part", "held-out"], "not allowed with"),
        (["report", "--tasks", "line"], "give an --output"),
        (["--part", "development"], "give an --output"),
        (["suggest", "--again", "recomend"], "suggest asks nothing named recomend"),
        (["suggest", "--again", "Prodigy"], "suggest asks nothing named Prodigy"),
        (["alternatives", "--again", "sweep"], "alternatives asks nothing named sweep"),
        (["suggest", "--finders", "recomend"], "invalid choice"),
    ],
)
def test_arguments_that_would_do_something_else_than_meant_are_refused(arguments, error, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert error in capsys.readouterr().err


def test_a_name_that_is_no_task_is_an_error_of_usage(tmp_path, capsys):
    with pytest.raises(SystemExit):
        main(["truth", "--tasks", "nothing", "--output", str(tmp_path)])
    assert "digits-logistic-sgd" in capsys.readouterr().err

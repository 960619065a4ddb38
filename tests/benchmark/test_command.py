"""The command as a whole, in this process and with our finder alone."""

import json

import pytest

from lrfinder._errors import InvalidInputError
from lrfinder.benchmark import _grid, _measure
from lrfinder.benchmark.__main__ import main
from lrfinder.benchmark._finders import FINDERS

SPEC = f"{__file__.replace('test_command', 'benchmark_tasks')}:LINE"


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    for module in (_grid, _measure):
        monkeypatch.setattr(
            module, "in_parallel", lambda run, jobs, workers, unit: [(j, run(j)) for j in jobs]
        )
    monkeypatch.setattr(_measure, "FINDERS", FINDERS[:2])
    monkeypatch.setattr(_measure, "SEEDS", 1)


def test_a_task_of_ones_own_is_trained_asked_about_and_reported_in_a_folder_beside_it(tmp_path):
    main([SPEC, "--seeds", "1"])
    folder = tmp_path / "lrfinder-benchmark"
    truth = json.loads((folder / "truth" / "line.json").read_text())
    answers = json.loads((folder / "suggestions" / "line.json").read_text())["answers"]
    page = (folder / "README.md").read_text()
    assert len(truth["final"]) == 4
    assert set(answers) == {"recommend", "recommend, steps given"}
    assert "| recommend | " in page
    assert "| steepest | " in page
    assert "on 1 task with" in page


def test_a_stage_does_that_part_alone(tmp_path):
    main(["suggest", SPEC, "--output", "here"])
    assert [path.name for path in (tmp_path / "here").iterdir()] == ["suggestions"]
    with pytest.raises(InvalidInputError, match="lrfinder benchmark truth"):
        main(["report", SPEC, "--output", "here"])


def test_without_a_stored_truth_nothing_is_measured(tmp_path):
    with pytest.raises(InvalidInputError, match="checkout"):
        main([])
    assert list(tmp_path.iterdir()) == []

"""The grid: what is stored is kept, what is missing is run."""

import json
from textwrap import dedent

import pytest

from lrfinder._errors import InvalidInputError
from lrfinder.benchmark import _grid, final_loss, initial_loss
from lrfinder.benchmark.__main__ import main
from lrfinder.benchmark._grid import compute
from lrfinder.benchmark._registry import load_task

TASK = """
    import torch
    from torch import nn
    from torch.utils.data import DataLoader, TensorDataset
    from lrfinder.benchmark import Problem, Task

    x = torch.linspace(-1, 1, 64).unsqueeze(1)
    data = TensorDataset(x, 3 * x)

    def build(seed):
        model = nn.Linear(1, 1)
        optimizer = torch.optim.SGD(model.parameters(), momentum=0.5)
        loader = DataLoader(data, 8, shuffle=True)
        return Problem(model, optimizer, nn.MSELoss(), loader, DataLoader(data, 64))

    line = Task("line", build, steps=4, low=-1.0, high=-0.5, long=True)

    def made():
        return line

    wrong = 3
"""


def in_this_process(run, jobs, workers, unit):
    return [(job, run(job)) for job in jobs]


@pytest.fixture
def spec(tmp_path):
    (tmp_path / "mytask.py").write_text(dedent(TASK))
    return f"{tmp_path / 'mytask.py'}:line"


def test_a_stopped_grid_goes_on_and_ends_as_if_it_had_not_been_stopped(spec, tmp_path, monkeypatch):
    monkeypatch.setattr(_grid, "in_parallel", in_this_process)
    path = tmp_path / "out" / "truth" / "line.json"
    compute([spec], tmp_path / "out", workers=1, seeds=2)
    whole = path.read_text()

    record = json.loads(whole)
    record["initial"].pop()  # a seed was not reached
    del record["final"]["onecycle 4x"]  # nor this curve
    del record["final"]["constant 1x"]["-0.75"]  # nor this rate
    record["final"]["constant 4x"]["-1.00"].pop()  # nor the second seed of this one
    record["final"]["constant 1x"]["-1.00"][0] = 42.0  # marks a run that is there
    path.write_text(json.dumps(record))
    compute([spec], tmp_path / "out", workers=1, seeds=2)

    resumed, expected = json.loads(path.read_text()), json.loads(whole)
    assert resumed["final"]["constant 1x"]["-1.00"][0] == 42.0
    expected["final"]["constant 1x"]["-1.00"][0] = 42.0
    assert resumed == expected
    assert [file.name for file in path.parent.iterdir()] == ["line.json"]


def test_the_command_line_stores_what_training_gives(spec, tmp_path):
    main(["truth", spec, "--output", str(tmp_path / "out"), "--seeds", "1", "--workers", "1"])
    record = json.loads((tmp_path / "out" / "truth" / "line.json").read_text())
    task = load_task(spec)
    assert record["initial"] == [initial_loss(task, seed=0)]
    assert list(record["final"]) == ["constant 1x", "onecycle 1x", "constant 4x", "onecycle 4x"]
    assert list(record["final"]["onecycle 4x"]) == ["-1.00", "-0.75", "-0.50"]
    assert record["final"]["onecycle 4x"]["-0.75"] == [
        final_loss(task, 10**-0.75, "onecycle", 16, seed=0)
    ]


def test_a_function_that_returns_a_task_names_it_too(spec):
    assert load_task(spec.replace(":line", ":made")).name == "line"


def test_a_name_that_is_no_task_is_refused_with_what_would_do(spec, tmp_path):
    with pytest.raises(InvalidInputError, match=r"mytask.py:task or one of digits-logistic-sgd"):
        load_task("nothing")
    with pytest.raises(InvalidInputError, match=r"no .*missing\.py"):
        load_task(f"{tmp_path}/missing.py:task")
    with pytest.raises(InvalidInputError, match="got 3"):
        load_task(spec.replace(":line", ":wrong"))
    with pytest.raises(InvalidInputError, match="got None"):
        load_task(spec.replace(":line", ":absent"))

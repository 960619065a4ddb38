"""`lrfinder schedule` draws schedules from the shell."""

from __future__ import annotations

import itertools

import pytest
from matplotlib.figure import Figure

from lrfinder import schedules
from lrfinder.cli import main
from tests.schedules.helpers import optimizer_with

EVERY = (
    "constant cosine cosine_warm_restarts cyclic exponential multistep one_cycle polynomial step "
    "wsd --lr 3e-3 --total-steps 1000 --min-lr 1e-4 --gamma 0.999 --step-size 200 "
    "--first-cycle 300 --step-size-up 100 --milestones 500 750 --decay-steps 200"
)


@pytest.fixture
def drawn(monkeypatch):
    """The figures that were written, in place of the pictures."""
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path: figures.append((figure, path)))
    return figures


def run(arguments):
    return main(["schedule", *arguments.split()])


def lines(drawn):
    (figure, _), *others = drawn
    assert not others
    return {line.get_label(): list(line.get_ydata()) for line in figure.axes[0].get_lines()}


def test_it_writes_a_picture_and_says_where(tmp_path, capsys):
    output = tmp_path / "cosine.png"
    assert run(f"cosine --lr 3e-3 --total-steps 1000 --output {output}") == 0
    assert output.read_bytes().startswith(b"\x89PNG")
    assert capsys.readouterr().out == f"Files: {output}\n"


def test_the_line_is_the_schedule(drawn):
    assert run("cosine --lr 3e-3 --epochs 10 --steps-per-epoch 20") == 0
    wanted = schedules.rates(
        lambda o: schedules.cosine(o, 3e-3, total_steps=200), optimizer_with(), 200
    )
    assert lines(drawn) == {"cosine": wanted[0]}


def test_every_schedule_can_be_drawn_beside_the_others(drawn):
    assert run(EVERY) == 0
    curves = lines(drawn)
    assert list(curves) == EVERY.partition(" --")[0].split()
    assert {len(curve) for curve in curves.values()} == {1000}
    assert len({tuple(curve) for curve in curves.values()}) == len(curves)


def test_every_schedule_can_be_drawn_behind_a_warmup(drawn):
    assert run(EVERY + " --warmup-steps 50") == 0
    curves = lines(drawn)
    del curves["polynomial"]  # in its own steps of 200
    for curve in curves.values():
        rises = [b - a for a, b in itertools.pairwise(curve[:51])]
        assert rises[0] > 0
        assert rises == pytest.approx([rises[0]] * 50)


def test_a_plateau_is_drawn_for_its_patience(drawn):
    assert run("reduce_on_plateau --lr 1 --total-steps 6 --patience 1") == 0
    assert lines(drawn)["reduce_on_plateau"] == pytest.approx([1, 1, 1, 0.1, 0.1, 0.01])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("cosine --lr 0.1", "total_steps=None, epochs=None"),
        ("cosine --lr -1 --total-steps 10", "lr"),
        ("step --lr 0.1 --total-steps 10", "expected --step-size for step, got none"),
        ("cosine --lr 0.1 --total-steps 10 --gamma 0.5", "expected --gamma with cyclic or"),
        ("cosine --lr 0.1 --total-steps 10 --warmup-steps 10", "warmup_steps=10"),
        ("cosine --lr 0.1 --total-steps 10 --output a.unknown", "unknown"),
        ("cosine_annealing --lr 0.1 --total-steps 10", "invalid choice: 'cosine_annealing'"),
    ],
)
def test_wrong_usage_ends_with_status_2_and_the_reason(arguments, message, capsys):
    with pytest.raises(SystemExit) as end:
        run(arguments)
    assert end.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "lrfinder schedule: error: " in err
    assert message in err


def test_a_folder_that_does_not_exist_ends_with_status_1_and_its_name(capsys):
    assert run("cosine --lr 0.1 --total-steps 10 --output /no/such/folder/a.png") == 1
    assert "/no/such/folder/a.png: No such file or directory" in capsys.readouterr().err

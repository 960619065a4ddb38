"""Each other library names a rate for a real, tiny problem."""

import importlib
from dataclasses import replace

import pytest
import torch

from tests.benchmarks.helpers import LINE
from tests.benchmarks.suggestions.finders import FINDERS
from tests.benchmarks.suggestions.task import course, initial_loss

SWEEPS = [finder for finder in FINDERS if finder.package not in ("lrfinder", "optuna")]


@pytest.mark.parametrize("finder", SWEEPS, ids=lambda finder: finder.package)
def test_a_library_names_a_rate_within_its_range_after_a_sweep_of_its_own(finder):
    pytest.importorskip(finder.package)
    importlib.import_module("matplotlib").use("agg")
    for name, answer in finder.answers(LINE.problem(0), 4).items():
        assert answer.refusal == ""
        assert 1e-8 <= answer.lr <= 10, name
        assert answer.max_lr == answer.lr
        assert 20 <= answer.steps <= 101  # they stop early only where the loss explodes


def test_optuna_spends_its_budget_and_finds_a_rate_that_trains():
    pytest.importorskip("optuna")
    (finder,) = (finder for finder in FINDERS if finder.names == ("Optuna",))
    (answer,) = finder.answers(LINE.problem(0), 4).values()
    assert answer.refusal == ""
    assert 200 < answer.steps <= 300
    losses = course(LINE, answer.lr, "constant", 60, seed=0)
    assert losses[-1] < 0.1 * initial_loss(LINE, seed=0)


@pytest.mark.parametrize(
    ("make", "rates"),
    [
        (torch.optim.SGD, (0.1, 0.01)),
        (torch.optim.AdamW, (1e-3, 3e-4)),
        (torch.optim.RMSprop, (1e-3, 3e-4)),
        (torch.optim.Adagrad, (0.01, 0.01)),
    ],
)
def test_the_usual_rate_depends_on_the_optimizer_and_costs_nothing(make, rates):
    problem = LINE.problem(0)
    problem = replace(problem, optimizer=make(problem.model.parameters()))
    (finder,) = (finder for finder in FINDERS if "usual rate" in finder.names)
    answers = finder.answers(problem, 4).values()
    assert [(a.lr, a.max_lr, a.steps) for a in answers] == [(lr, lr, 0) for lr in rates]


def test_every_name_in_the_report_belongs_to_one_finder():
    names = [name for finder in FINDERS for name in finder.names]
    assert len(names) == len(set(names))

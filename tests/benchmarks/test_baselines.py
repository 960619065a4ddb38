"""Each other library names a rate for a real, tiny problem."""

import importlib
import math
from dataclasses import replace

import pytest
import torch
from torch import nn

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


def optuna():
    pytest.importorskip("optuna")
    return importlib.import_module("tests.benchmarks.suggestions.baselines.optuna")


def test_every_trial_of_optuna_draws_the_same_random_numbers():
    drawn = []

    def criterion(outputs, targets):
        drawn.append(torch.rand(()).item())
        return nn.functional.mse_loss(outputs, targets)

    optuna().optuna(replace(LINE.problem(0), criterion=criterion))
    assert len(drawn) == optuna().BUDGET
    assert len(set(drawn)) == optuna().TRIAL_STEPS


def test_a_trial_of_optuna_that_diverges_ends_there_and_is_not_the_best():
    problem, tried = LINE.problem(0), []

    def criterion(outputs, targets):
        (group,) = problem.optimizer.param_groups
        tried.append(group["lr"])
        return nn.functional.mse_loss(outputs, targets) * (math.inf if group["lr"] > 0.01 else 1)

    assert optuna().optuna(replace(problem, criterion=criterion))["Optuna"] <= 0.01
    diverged = [lr for lr in tried if lr > 0.01]
    assert 0 < len(diverged) == len(set(diverged))


def test_what_optuna_tries_first_depends_on_the_task_and_on_the_seed():
    first = []
    for seed, weights in ((0, 0), (0, 1), (1, 1)):
        problem = LINE.problem(seed)
        problem.model.load_state_dict(LINE.problem(weights).model.state_dict())
        torch.manual_seed(seed)
        problem.optimizer.register_step_pre_hook(
            lambda optimizer, *_: first[-1].append(optimizer.param_groups[0]["lr"])
        )
        first.append([])
        optuna().optuna(problem)
    assert len({tried[0] for tried in first}) == 3


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

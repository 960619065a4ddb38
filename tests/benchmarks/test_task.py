"""Training at one rate, against closed forms."""

import math

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

from tests.benchmarks.suggestions.task import Problem, course_of, train, validation_loss

CURVATURE = 4.0


def quadratic(**settings):
    """Loss is CURVATURE / 2 * w ** 2, from w = 1."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.ones_(model.weight)
    batch = TensorDataset(torch.ones(2, 1), torch.zeros(2, 1))
    optimizer = settings.get("optimizer", torch.optim.SGD)(model.parameters(), lr=0.1)

    def criterion(outputs, targets):
        return CURVATURE / 2 * (outputs - targets).square().mean()

    return Problem(model, optimizer, criterion, DataLoader(batch, 2), DataLoader(batch, 2))


def rates_of(problem, lr, schedule, steps):
    rates = []
    problem.optimizer.register_step_pre_hook(
        lambda optimizer, *_: rates.append([g["lr"] for g in optimizer.param_groups])
    )
    train(problem, lr, schedule, steps)
    return rates


def test_gradient_descent_at_a_constant_rate_shrinks_the_weight_geometrically():
    problem = quadratic()
    assert train(problem, 0.05, "constant", 7)
    assert problem.model.weight.item() == pytest.approx((1 - 0.05 * CURVATURE) ** 7)


def test_training_stops_as_soon_as_the_loss_is_not_finite():
    problem = quadratic()
    taken = rates_of(problem, 1e10, "constant", 1000)
    # Each update multiplies the weight by 4e10 and float32 ends at 3.4e38: w ** 2 is over it
    # after two updates.
    assert len(taken) == 2
    assert validation_loss(problem) == math.inf
    assert not train(quadratic(), 1e10, "constant", 1000)


def test_onecycle_takes_the_rates_of_pytorchs_scheduler():
    model = nn.Linear(1, 1)
    optimizer = torch.optim.Adam(model.parameters())
    scheduler = OneCycleLR(optimizer, max_lr=0.02, total_steps=10)
    expected = []
    for _ in range(10):
        expected.append([optimizer.param_groups[0]["lr"]])
        optimizer.step()
        scheduler.step()
    problem = quadratic(optimizer=torch.optim.Adam)
    assert rates_of(problem, 0.02, "onecycle", 10) == expected
    assert max(expected)[0] == pytest.approx(0.02)


def test_onecycle_works_for_an_optimizer_without_momentum():
    assert train(quadratic(optimizer=torch.optim.Adagrad), 0.1, "onecycle", 5)


@pytest.mark.parametrize("schedule", ["constant", "onecycle"])
def test_the_ratio_between_groups_is_kept_and_the_fastest_takes_the_rate(schedule):
    problem = quadratic()
    problem.optimizer.add_param_group({"params": [nn.Parameter(torch.ones(1))], "lr": 0.01})
    rates = rates_of(problem, 0.5, schedule, 20)
    assert [slow / fast for fast, slow in rates] == pytest.approx([0.1] * 20)
    assert max(fast for fast, _ in rates) == pytest.approx(0.5, rel=0.02)


def test_the_validation_loss_is_a_mean_over_samples_in_evaluation_mode():
    problem = quadratic()
    batches = [(torch.full((3, 1), 1.0), torch.zeros(3, 1)), (torch.zeros(1, 1), torch.zeros(1, 1))]
    model = nn.Sequential(nn.Dropout(0.9), problem.model)
    held = Problem(model, problem.optimizer, problem.criterion, problem.train_loader, batches)
    assert validation_loss(held) == pytest.approx(3 / 4 * CURVATURE / 2)
    assert model.training  # as before


def test_a_validation_loss_that_is_not_a_number_is_infinite():
    problem = quadratic()
    nn.init.constant_(problem.model.weight, math.nan)
    assert validation_loss(problem) == math.inf


def test_a_course_looks_ten_times_and_at_the_end():
    problem = quadratic()
    losses = course_of(problem, 25, lambda p, look: train(p, 0.05, "constant", 25, look))
    after = [3, 5, 8, 10, 13, 15, 18, 20, 23, 25]  # tenths of 25 steps, rounded up
    weights = [(1 - 0.05 * CURVATURE) ** step for step in after]
    assert losses == pytest.approx([CURVATURE / 2 * w**2 for w in weights], rel=1e-4)


def test_a_course_is_infinite_from_where_training_diverged():
    problem = quadratic()
    losses = course_of(problem, 10, lambda p, look: train(p, 1e10, "constant", 10, look))
    assert losses[0] > 1e19
    assert losses[1:] == [math.inf] * 9

"""A schedule replaces what an earlier one left, keeps the groups apart, and undoes its failures."""

from __future__ import annotations

import pytest
import torch
from torch.optim import lr_scheduler

from lrfinder import InvalidInputError, schedules
from tests.schedules.helpers import (
    ALL,
    T,
    assert_rates,
    expected,
    optimizer_with,
    suggestion,
    tensor_optimizer,
    training_rates,
)


@pytest.mark.parametrize("name", ALL)
def test_the_initial_lr_of_an_earlier_scheduler_is_replaced(name):
    optimizer = optimizer_with()
    training_rates(optimizer, lr_scheduler.StepLR(optimizer, 3), 10)
    scheduler = ALL[name].build(optimizer, suggestion())
    assert_rates(training_rates(optimizer, scheduler, T), expected(name, (1.0,), T))


@pytest.mark.skipif(
    not hasattr(lr_scheduler, "_update_param_group_val"),
    reason="older schedulers of torch put a float in place of a Tensor rate",
)
@pytest.mark.parametrize("name", ALL)
def test_a_tensor_rate_is_filled_in_place(name):
    optimizer = tensor_optimizer()
    rate = optimizer.param_groups[0]["lr"]
    scheduler = ALL[name].build(optimizer, suggestion())
    assert_rates(training_rates(optimizer, scheduler, T), expected(name, (1.0,), T))
    assert optimizer.param_groups[0]["lr"] is rate


def test_a_frozen_group_stays_frozen_and_its_parameters_too():
    trained, frozen = torch.nn.Parameter(torch.ones(2)), torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.SGD(
        [{"params": [trained], "lr": 1.0}, {"params": [frozen], "lr": 0.0}], lr=1.0
    )
    scheduler = schedules.warmup(
        optimizer, 0.1, then=schedules.wsd, warmup_steps=3, decay_steps=3, total_steps=10
    )
    for _ in range(10):
        optimizer.zero_grad()
        (trained.sum() + frozen.sum()).backward()
        optimizer.step()
        scheduler.step()
    assert torch.equal(frozen, torch.ones(2))
    assert (trained < 1).all()


@pytest.mark.parametrize("name", [name for name, case in ALL.items() if case.uneven])
def test_a_group_that_was_not_swept_may_have_the_largest_rate(name):
    ratios = (25.0, 1.0)
    optimizer = optimizer_with((1.0, 1.0))
    scheduler = ALL[name].build(optimizer, suggestion(ratios))
    assert_rates(training_rates(optimizer, scheduler, T), expected(name, ratios, T))


def test_a_single_group_at_0_gets_its_rate():
    optimizer = optimizer_with((0.0,))
    schedules.constant(optimizer, 0.1)
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize("name", ALL)
def test_a_suggestion_for_another_number_of_groups_raises(name):
    optimizer = optimizer_with((1.0, 0.1))
    with pytest.raises(InvalidInputError, match=r"3 parameter groups.*got 2"):
        ALL[name].build(optimizer, suggestion((1.0, 0.5, 0.1)))
    assert [group["lr"] for group in optimizer.param_groups] == [0.5, 0.05]


@pytest.mark.parametrize("name", ALL)
def test_a_number_for_groups_that_are_all_at_0_raises(name):
    with pytest.raises(InvalidInputError, match=r"got \[0.0, 0.0\]: there are no ratios to keep"):
        ALL[name].build(optimizer_with((0.0, 0.0)), 0.1)


@pytest.mark.parametrize("lr", [0.0, -0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ALL)
def test_a_rate_that_is_not_a_finite_number_above_0_raises(name, lr):
    with pytest.raises(InvalidInputError, match=rf"lr to be a finite number > 0, got {lr}"):
        ALL[name].build(optimizer_with(), lr)

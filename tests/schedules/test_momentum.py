"""Momentum is cycled against the rate for optimizers that have one, and left alone elsewhere."""

from __future__ import annotations

import copy

import pytest
import torch

from lrfinder import schedules
from tests.schedules.helpers import T, optimizer_with, suggestion, triangle


def cyclic(optimizer):
    return schedules.cyclic(optimizer, suggestion(), step_size_up=8, total_steps=T)


def one_cycle(optimizer):
    return schedules.one_cycle(optimizer, suggestion(), total_steps=T)


def momentum(group):
    return group["betas"][0] if "betas" in group else group["momentum"]


def settings(optimizer):
    """Everything that an optimizer was told, but for what every scheduler sets."""
    scheduled = {"params", "lr", "initial_lr", "max_lr", "min_lr"}
    return copy.deepcopy(
        [
            {name: value for name, value in group.items() if name not in scheduled}
            for group in optimizer.param_groups
        ]
    )


def run(optimizer, scheduler, steps):
    history = []
    for _ in range(steps):
        history.append(settings(optimizer))
        optimizer.step()
        scheduler.step()
    return history


WITH = {
    "SGD": (torch.optim.SGD, {"momentum": 0.9}),
    "Nesterov": (torch.optim.SGD, {"momentum": 0.9, "nesterov": True}),
    "RMSprop": (torch.optim.RMSprop, {"momentum": 0.5}),
    "Adam": (torch.optim.Adam, {}),
    "AdamW": (torch.optim.AdamW, {}),
    "NAdam": (torch.optim.NAdam, {}),
    "RAdam": (torch.optim.RAdam, {}),
    "Adamax": (torch.optim.Adamax, {}),
}
if hasattr(torch.optim, "Muon"):
    WITH["Muon"] = (torch.optim.Muon, {})

WITHOUT = {
    "SGD": (torch.optim.SGD, {}),
    "RMSprop": (torch.optim.RMSprop, {}),
    "Adagrad": (torch.optim.Adagrad, {}),
    "Adadelta": (torch.optim.Adadelta, {}),
    "Rprop": (torch.optim.Rprop, {}),
    "ASGD": (torch.optim.ASGD, {}),
    "Adam, beta1 = 0": (torch.optim.Adam, {"betas": (0.0, 0.99)}),
}


@pytest.mark.parametrize(("kind", "options"), WITH.values(), ids=WITH)
def test_cyclic_moves_momentum_from_high_to_low_against_the_rate(kind, options):
    optimizer = optimizer_with(kind=kind, lr=0.1, **options)
    momenta = [momentum(groups[0]) for groups in run(optimizer, cyclic(optimizer), T)]
    assert momenta == pytest.approx([0.9 - 0.1 * triangle(t, 8, 8) for t in range(T)])


@pytest.mark.parametrize(("kind", "options"), WITH.values(), ids=WITH)
def test_one_cycle_lowers_momentum_to_the_peak_and_raises_it_again(kind, options):
    optimizer = optimizer_with(kind=kind, lr=0.1, **options)
    momenta = [momentum(groups[0]) for groups in run(optimizer, one_cycle(optimizer), T - 1)]
    assert momenta[0] == pytest.approx(0.95)
    assert momenta[17] == pytest.approx(0.85)
    assert momenta[:18] == sorted(momenta[:18], reverse=True)
    assert momenta[17:] == sorted(momenta[17:])
    assert momenta[-1] == pytest.approx(0.95, abs=1e-3)


@pytest.mark.parametrize("schedule", [cyclic, one_cycle])
@pytest.mark.parametrize(("kind", "options"), WITH.values(), ids=WITH)
def test_nothing_else_of_the_optimizer_changes(kind, options, schedule):
    optimizer = optimizer_with(kind=kind, lr=0.1, **options)
    cycled = {"momentum", "betas", "base_momentum", "max_momentum"}
    before = settings(optimizer)[0]
    for groups in run(optimizer, schedule(optimizer), T - 1):
        after = groups[0]
        assert {k: v for k, v in after.items() if k not in cycled} == {
            k: v for k, v in before.items() if k not in cycled
        }
        assert after.get("betas", (0,))[1:] == before.get("betas", (0,))[1:]


@pytest.mark.parametrize("schedule", [cyclic, one_cycle])
@pytest.mark.parametrize(("kind", "options"), WITHOUT.values(), ids=WITHOUT)
def test_an_optimizer_without_momentum_gets_none(kind, options, schedule):
    optimizer = optimizer_with(kind=kind, lr=0.1, **options)
    before = settings(optimizer)
    assert all(groups == before for groups in run(optimizer, schedule(optimizer), T - 1))


@pytest.mark.parametrize("schedule", [cyclic, one_cycle])
def test_a_group_without_momentum_keeps_none_beside_one_that_has_it(schedule):
    optimizer = torch.optim.SGD(
        [{"params": [torch.zeros(1)], "momentum": 0.9}, {"params": [torch.zeros(1)]}], lr=0.1
    )
    scheduler = schedule_for_two(schedule, optimizer)
    momenta = [[momentum(g) for g in groups] for groups in run(optimizer, scheduler, T - 1)]
    assert {without for _, without in momenta} == {0.0}
    assert len({having for having, _ in momenta}) > 5


def schedule_for_two(schedule, optimizer):
    if schedule is cyclic:
        return schedules.cyclic(optimizer, 0.1, min_lr=0.01, step_size_up=8, total_steps=T)
    return schedules.one_cycle(optimizer, 0.1, total_steps=T)

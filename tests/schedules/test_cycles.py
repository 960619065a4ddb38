"""Cycles take their bounds from the suggestion, and momentum moves against the rate."""

from __future__ import annotations

import copy
from itertools import pairwise, product

import pytest
import torch

from lrfinder import InvalidInputError, schedules
from tests.schedules.helpers import (
    CASES,
    MAX_LR,
    MIN_LR,
    RATIOS,
    T,
    optimizer_with,
    suggestion,
    training_rates,
    triangle,
)


def cyclic(optimizer):
    return schedules.cyclic(optimizer, suggestion(), step_size_up=8)


def one_cycle(optimizer):
    return schedules.one_cycle(optimizer, suggestion(), total_steps=T)


def momentum(group):
    return group["betas"][0] if "betas" in group else group["momentum"]


def settings(optimizer):
    """The settings of the groups, without those that every scheduler sets."""
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
        return schedules.cyclic(optimizer, 0.1, base_lr=0.01, step_size_up=8)
    return schedules.one_cycle(optimizer, 0.1, total_steps=T)


FROM_NUMBERS = {
    "one_cycle": (
        lambda o, s: schedules.one_cycle(o, s, total_steps=T),
        lambda o, s: schedules.one_cycle(o, s.max_lr, total_steps=T),
    ),
    "cyclic": (
        lambda o, s: schedules.cyclic(o, s, step_size_up=8),
        lambda o, s: schedules.cyclic(o, max_lr=s.max_lr, base_lr=s.min_lr, step_size_up=8),
    ),
    "one_cycle behind a warm-up": (
        lambda o, s: schedules.warmup(
            o, s, then=schedules.one_cycle, warmup_steps=5, total_steps=T + 5
        ),
        lambda o, s: schedules.warmup(
            o, s.max_lr, then=schedules.one_cycle, warmup_steps=5, total_steps=T + 5
        ),
    ),
    "cyclic behind a warm-up": (
        lambda o, s: schedules.warmup(o, s, then=schedules.cyclic, warmup_steps=5, step_size_up=8),
        lambda o, s: schedules.warmup(
            o, s.max_lr, then=schedules.cyclic, warmup_steps=5, base_lr=s.min_lr, step_size_up=8
        ),
    ),
}


@pytest.mark.parametrize("ratios", RATIOS.values(), ids=RATIOS)
@pytest.mark.parametrize(("suggested", "numbers"), FROM_NUMBERS.values(), ids=FROM_NUMBERS)
def test_a_suggestion_and_its_own_numbers_give_the_same_cycle(suggested, numbers, ratios):
    curves = []
    for build in (suggested, numbers):
        optimizer = optimizer_with(ratios)
        curves.append(training_rates(optimizer, build(optimizer, suggestion(ratios)), T - 1))
    for from_suggestion, from_numbers in zip(*curves, strict=True):
        assert from_suggestion == pytest.approx(from_numbers, rel=1e-12, abs=0)


def test_a_lower_bound_beside_a_suggestion_replaces_only_its_lower_bound():
    optimizer = optimizer_with()
    scheduler = schedules.cyclic(optimizer, suggestion(), base_lr=MIN_LR / 2, step_size_up=8)
    rates = [lr for [lr] in training_rates(optimizer, scheduler, T)]
    assert (min(rates), max(rates)) == pytest.approx((MIN_LR / 2, MAX_LR))


@pytest.mark.parametrize("name", ["one_cycle", "one_cycle in three phases"])
def test_one_cycle_raises_if_training_goes_on_after_its_end(name):
    optimizer = optimizer_with()
    scheduler = CASES[name].build(optimizer, suggestion())
    with pytest.raises(ValueError, match=f"total steps is {T}"):
        training_rates(optimizer, scheduler, T + 1)


def every_phase_has_a_length(total_steps, pct_start, three_phase):
    """The phases of torch end where the rate is highest, first again (if three), and lowest."""
    rise = pct_start * total_steps - 1
    ends = (0, rise, 2 * rise, total_steps - 1) if three_phase else (0, rise, total_steps - 1)
    return all(one < other for one, other in pairwise(ends))


SHORT = [
    {"total_steps": steps, "pct_start": rising, "three_phase": three}
    for steps, rising, three in product(range(1, 12), [0.1, 0.3, 0.5, 0.6, 0.9], [False, True])
]


@pytest.mark.parametrize(
    "options", [one for one in SHORT if every_phase_has_a_length(**one)], ids=str
)
def test_the_shortest_one_cycles_run_to_their_end_and_never_above_their_peak(options):
    optimizer = optimizer_with()
    scheduler = schedules.one_cycle(optimizer, suggestion(), **options)
    rates = []
    for _ in range(options["total_steps"]):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx(MAX_LR / 25)
    assert rates[-1] == pytest.approx(MAX_LR / 25e4)
    assert max(rates) <= MAX_LR * (1 + 1e-12)


@pytest.mark.parametrize(
    "options", [one for one in SHORT if not every_phase_has_a_length(**one)], ids=str
)
def test_a_one_cycle_with_a_phase_of_no_length_is_refused(options):
    with pytest.raises(InvalidInputError, match="more than one step in which the rate rises"):
        schedules.one_cycle(optimizer_with(), suggestion(), **options)

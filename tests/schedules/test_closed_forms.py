"""Each schedule is its closed form at every step: both ends, the joint, and past the end."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from lrfinder import schedules
from tests.schedules.helpers import (
    ALL,
    CASES,
    LR,
    MAX_LR,
    RATIOS,
    T,
    W,
    optimizer_with,
    plain_rate,
    suggestion,
    tensor_optimizer,
    training_rates,
)

EVEN = [(name, "one group") for name in ALL]
UNEVEN = [(name, groups) for name, case in ALL.items() if case.uneven for groups in RATIOS]


def expected(name, ratios, steps):
    return [[ALL[name].rate(t) * ratio for ratio in ratios] for t in range(steps)]


def assert_rates(rates, wanted):
    # Some of torch's classes compute a rate from the one before, so it is exact to rounding only.
    for got, want in zip(rates, wanted, strict=True):
        assert got == pytest.approx(want, rel=1e-9, abs=1e-14)


@pytest.mark.parametrize(("name", "groups"), sorted({*EVEN, *UNEVEN}))
def test_a_suggestion_is_followed_at_every_step_by_every_group(name, groups):
    ratios, case = RATIOS[groups], ALL[name]
    optimizer = optimizer_with(ratios=(1.0,) * len(ratios))
    scheduler = case.build(optimizer, suggestion(ratios))
    steps = T + case.past
    assert_rates(training_rates(optimizer, scheduler, steps), expected(name, ratios, steps))


@pytest.mark.parametrize(("name", "groups"), sorted({*EVEN, *UNEVEN}))
def test_a_plain_rate_is_the_largest_groups_and_the_others_keep_their_ratios(name, groups):
    ratios, case = RATIOS[groups], ALL[name]
    optimizer = optimizer_with(ratios)
    scheduler = case.build(optimizer, plain_rate(name))
    assert_rates(training_rates(optimizer, scheduler, T), expected(name, ratios, T))


@pytest.mark.parametrize("name", ALL)
def test_an_earlier_schedulers_initial_rate_does_not_count(name):
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


@pytest.mark.parametrize(
    ("name", "kind"),
    {
        "constant": lr_scheduler.ConstantLR,
        "step": lr_scheduler.StepLR,
        "multistep": lr_scheduler.MultiStepLR,
        "exponential": lr_scheduler.ExponentialLR,
        "multiplicative": lr_scheduler.MultiplicativeLR,
        "lambda": lr_scheduler.LambdaLR,
        "cosine": lr_scheduler.CosineAnnealingLR,
        "cosine_warm_restarts": lr_scheduler.CosineAnnealingWarmRestarts,
        "polynomial": lr_scheduler.LambdaLR,
        "wsd": lr_scheduler.LambdaLR,
        "cyclic": lr_scheduler.CyclicLR,
        "one_cycle": lr_scheduler.OneCycleLR,
        "warm-up, cosine": lr_scheduler.SequentialLR,
    }.items(),
)
def test_the_scheduler_is_torchs_own(name, kind):
    assert isinstance(ALL[name].build(optimizer_with(), suggestion()), kind)


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("poly", "wsd"))])
def test_the_floor_is_held_exactly_after_the_end(name):
    optimizer = optimizer_with((1.0, 0.1))
    scheduler = CASES[name].build(optimizer, suggestion((1.0, 0.1)))
    after = training_rates(optimizer, scheduler, 3 * T)[T:]
    assert all(rates == after[0] for rates in after)
    assert after[0] == pytest.approx([CASES[name].rate(T), CASES[name].rate(T) / 10])


@pytest.mark.parametrize("name", ["one_cycle", "one_cycle in three phases"])
def test_one_cycle_refuses_to_go_on_after_its_end(name):
    optimizer = optimizer_with()
    scheduler = CASES[name].build(optimizer, suggestion())
    with pytest.raises(ValueError, match=f"total steps is {T}"):
        training_rates(optimizer, scheduler, T + 1)


@pytest.mark.parametrize(
    "name", ["polynomial", "wsd", *(name for name in ALL if name.startswith("warm-up"))]
)
def test_the_warmup_is_a_straight_line_that_ends_on_the_schedule_behind_it(name):
    optimizer = optimizer_with()
    scheduler = ALL[name].build(optimizer, suggestion())
    rates = [group[0] for group in training_rates(optimizer, scheduler, W + 1)]
    rises = [b - a for a, b in itertools.pairwise(rates)]
    assert rises[0] > 0
    assert rises == pytest.approx([rises[0]] * W)


@given(
    total_steps=st.integers(1, 200),
    data=st.data(),
    power=st.floats(0.2, 4),
    floor=st.floats(0, 1),
)
@settings(deadline=None, max_examples=60)
def test_a_polynomial_with_warmup_joins_the_curve_without_one(total_steps, data, power, floor):
    warmup_steps = data.draw(st.integers(0, total_steps - 1))
    curves = []
    for warmup in (warmup_steps, 0):
        optimizer = optimizer_with()
        scheduler = schedules.polynomial(
            optimizer,
            LR,
            power=power,
            warmup_steps=warmup,
            min_lr=floor * LR,
            total_steps=total_steps,
        )
        curves.append([g[0] for g in training_rates(optimizer, scheduler, total_steps + 3)])
    with_warmup, without = curves
    assert with_warmup[warmup_steps:] == without[warmup_steps:]
    assert with_warmup[0] == pytest.approx(floor * LR if warmup_steps else LR)
    assert max(with_warmup) <= max(without)


@given(
    name=st.sampled_from([name for name, case in ALL.items() if case.uneven]),
    lr=st.floats(1e-8, 10),
    ratios=st.lists(st.floats(1e-6, 1) | st.just(0.0), min_size=1, max_size=4),
)
@settings(deadline=None, max_examples=100)
def test_groups_keep_their_ratios_at_every_step(name, lr, ratios):
    largest = max([*ratios, 0.5])
    optimizer = optimizer_with((*ratios, largest))
    if "cyclic" in name:
        lr = 2 * LR  # above the fixed lower bound
    elif "poly" in name or "wsd" in name:
        lr = max(lr, 1e-3)  # above the fixed floor
    scheduler = ALL[name].build(optimizer, lr)
    for *others, top in training_rates(optimizer, scheduler, T - 1):
        wanted = [top * ratio / largest for ratio in ratios]
        assert others == pytest.approx(wanted, rel=1e-8, abs=1e-15)
        assert [lr == 0 for lr in others] == [want == 0 for want in wanted]


def test_without_floor_and_warmup_a_polynomial_is_torchs():
    ours, torchs = optimizer_with(lr=LR), optimizer_with(lr=LR)
    scheduler = schedules.polynomial(ours, LR, power=0.9, total_steps=T)
    reference = lr_scheduler.PolynomialLR(torchs, total_iters=T, power=0.9)
    assert_rates(training_rates(ours, scheduler, T + 9), training_rates(torchs, reference, T + 9))


@pytest.mark.parametrize("decay", ["linear", "cosine", "1-sqrt"])
def test_wsd_is_the_one_of_transformers(decay):
    transformers = pytest.importorskip("transformers")
    ours, theirs = optimizer_with(lr=LR), optimizer_with(lr=LR)
    scheduler = schedules.wsd(
        ours, LR, decay=decay, warmup_steps=W, decay_steps=20, min_lr=LR / 10, total_steps=T
    )
    reference = transformers.get_wsd_schedule(
        theirs,
        num_warmup_steps=W,
        num_decay_steps=20,
        num_training_steps=T,
        decay_type=decay,
        min_lr_ratio=0.1,
    )
    assert_rates(training_rates(ours, scheduler, T + 9), training_rates(theirs, reference, T + 9))


def test_cyclic_takes_both_bounds_and_one_cycle_the_peak_from_the_suggestion():
    optimizer = optimizer_with()
    scheduler = schedules.cyclic(optimizer, suggestion(), step_size_up=10, total_steps=T)
    rates = [group[0] for group in training_rates(optimizer, scheduler)]
    assert (min(rates), max(rates)) == pytest.approx((suggestion().min_lr, suggestion().max_lr))
    optimizer = optimizer_with()
    scheduler = schedules.one_cycle(optimizer, suggestion(), total_steps=T)
    assert max(training_rates(optimizer, scheduler))[0] == pytest.approx(MAX_LR)


def test_warmup_hands_the_rest_of_the_training_to_the_schedule_behind_it():
    optimizer = optimizer_with()
    scheduler = schedules.warmup(
        optimizer, suggestion(), then=schedules.cosine, warmup_steps=10, min_lr=1e-4, total_steps=T
    )
    rates = [group[0] for group in training_rates(optimizer, scheduler, T + 1)]
    assert rates[10] == pytest.approx(LR)
    assert rates[T] == pytest.approx(1e-4)
    assert rates[T - 1] == pytest.approx(1e-4 + (LR - 1e-4) * (1 + math.cos(math.pi * 49 / 50)) / 2)


def test_warmup_commutes_with_reductions_on_a_plateau():
    """The way that the refusal of `warmup(then=reduce_on_plateau)` names."""
    optimizer = optimizer_with((1.0, 0.1))
    plateau = schedules.reduce_on_plateau(optimizer, LR, factor=0.5, patience=0)
    rise = lr_scheduler.LinearLR(optimizer, 0.01, total_iters=10)
    rates = []
    for step in range(20):
        rates.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        rise.step()
        if step % 5 == 0:
            plateau.step(1.0)
    for t, got in enumerate(rates):
        evaluations = (t + 4) // 5
        want = LR * (0.01 + 0.99 * min(t / 10, 1)) * 0.5 ** max(evaluations - 1, 0)
        assert got == pytest.approx([want, want / 10])


@pytest.mark.parametrize("ratios", RATIOS.values(), ids=RATIOS)
def test_a_plateau_lowers_every_group_in_its_ratio_down_to_its_floor(ratios):
    optimizer = optimizer_with(ratios, lr=1e-6)
    scheduler = schedules.reduce_on_plateau(optimizer, 1e-6, patience=2, min_lr=2e-9)
    metrics = [1.0, 0.5, *[0.5] * 12]
    rates = []
    for metric in metrics:
        scheduler.step(metric)
        rates.append([float(group["lr"]) for group in optimizer.param_groups])
    # The second metric is the best; every third one after it exhausts the patience.
    reductions = [max(index - 1, 0) // 3 for index in range(len(metrics))]
    wanted = [[max(1e-6 * 0.1**n, 2e-9) * ratio for ratio in ratios] for n in reductions]
    assert_rates(rates, wanted)


def test_a_plateau_of_a_metric_that_should_rise_waits_for_its_cooldown():
    optimizer = optimizer_with()
    scheduler = schedules.reduce_on_plateau(
        optimizer, LR, mode="max", factor=0.5, patience=0, cooldown=2
    )
    rates = []
    for metric in (0.5, 0.6, 0.4, 0.4, 0.4, 0.4):
        scheduler.step(metric)
        rates.append(optimizer.param_groups[0]["lr"])
    assert rates == pytest.approx([LR, LR, LR / 2, LR / 2, LR / 2, LR / 4])


def test_every_schedule_of_the_package_is_tested_here():
    schedules_here = {name.removeprefix("warm-up, ").split()[0].rstrip("_") for name in ALL}
    others = {"plot_schedule", "rates", "reduce_on_plateau", "warmup"}
    assert {name.rstrip("_") for name in schedules.__all__} == schedules_here | others
    assert sorted(schedules.__all__) == schedules.__all__


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

"""Each schedule is its closed form at every step: both ends, the joint, and past the end."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from lrfinder import schedules
from tests.schedules.helpers import (
    ALL,
    LR,
    RATIOS,
    T,
    assert_rates,
    expected,
    optimizer_with,
    plain_rate,
    suggestion,
    training_rates,
)

EVEN = [(name, "one group") for name in ALL]
UNEVEN = [(name, groups) for name, case in ALL.items() if case.uneven for groups in RATIOS]


@pytest.mark.parametrize(("name", "groups"), sorted({*EVEN, *UNEVEN}))
def test_a_suggestion_is_followed_at_every_step_by_every_group(name, groups):
    ratios, case = RATIOS[groups], ALL[name]
    optimizer = optimizer_with(ratios=(1.0,) * len(ratios))
    scheduler = case.build(optimizer, suggestion(ratios))
    steps = T + case.past
    assert_rates(training_rates(optimizer, scheduler, steps), expected(name, ratios, steps))


@pytest.mark.parametrize(("name", "groups"), sorted({*EVEN, *UNEVEN}))
def test_a_number_is_the_rate_of_the_largest_group_and_the_others_keep_their_ratios(name, groups):
    ratios, case = RATIOS[groups], ALL[name]
    optimizer = optimizer_with(ratios)
    scheduler = case.build(optimizer, plain_rate(name))
    assert_rates(training_rates(optimizer, scheduler, T), expected(name, ratios, T))


@pytest.mark.parametrize(
    ("name", "build", "arguments"),
    [
        ("multistep", schedules.multistep, {"milestones": np.array([10, 35])}),
        (
            "cosine_warm_restarts",
            schedules.cosine_warm_restarts,
            {"T_0": np.int64(10), "T_mult": np.int64(2)},
        ),
    ],
)
def test_numbers_of_numpy_are_steps_like_others(name, build, arguments):
    optimizer = optimizer_with()
    rates = training_rates(optimizer, build(optimizer, plain_rate(name), **arguments), T)
    assert_rates(rates, expected(name, RATIOS["one group"], T))


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


def test_every_schedule_of_the_package_is_tested_here():
    schedules_here = {name.removeprefix("warm-up, ").split()[0].rstrip("_") for name in ALL}
    others = {"plot_schedule", "rates", "reduce_on_plateau", "warmup"}
    assert {name.rstrip("_") for name in schedules.__all__} == schedules_here | others
    assert sorted(schedules.__all__) == schedules.__all__

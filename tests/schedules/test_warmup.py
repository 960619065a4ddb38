"""Schedules with a warm-up: straight up, on to the schedule behind it, and the floor at the end."""

from __future__ import annotations

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from lrfinder import schedules
from tests.schedules.helpers import (
    ALL,
    CASES,
    LR,
    T,
    W,
    assert_rates,
    optimizer_with,
    suggestion,
    training_rates,
)


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


@pytest.mark.parametrize("name", [name for name in CASES if name.startswith(("poly", "wsd"))])
def test_the_floor_is_held_exactly_after_the_end(name):
    optimizer = optimizer_with((1.0, 0.1))
    scheduler = CASES[name].build(optimizer, suggestion((1.0, 0.1)))
    after = training_rates(optimizer, scheduler, 3 * T)[T:]
    assert all(rates == after[0] for rates in after)
    assert after[0] == pytest.approx([CASES[name].rate(T), CASES[name].rate(T) / 10])


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
            eta_min=floor * LR,
            total_steps=total_steps,
        )
        curves.append([g[0] for g in training_rates(optimizer, scheduler, total_steps + 3)])
    with_warmup, without = curves
    assert with_warmup[warmup_steps:] == without[warmup_steps:]
    assert with_warmup[0] == pytest.approx(floor * LR if warmup_steps else LR)
    assert max(with_warmup) <= max(without)


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
        ours, LR, decay=decay, warmup_steps=W, decay_steps=20, eta_min=LR / 10, total_steps=T
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


def test_warmup_leaves_the_rest_of_the_training_to_the_schedule_behind_it():
    optimizer = optimizer_with()
    scheduler = schedules.warmup(
        optimizer, suggestion(), then=schedules.cosine, warmup_steps=10, eta_min=1e-4, total_steps=T
    )
    rates = [group[0] for group in training_rates(optimizer, scheduler, T + 1)]
    assert rates[10] == pytest.approx(LR)
    assert rates[T] == pytest.approx(1e-4)
    assert rates[T - 1] == pytest.approx(1e-4 + (LR - 1e-4) * (1 + math.cos(math.pi * 49 / 50)) / 2)


def test_a_function_of_the_user_finds_the_rates_set_and_may_build_a_class_of_torch():
    optimizer = optimizer_with((1.0, 0.1))
    scheduler = schedules.warmup(
        optimizer, LR, then=lambda o, _: lr_scheduler.StepLR(o, 10), warmup_steps=W
    )
    rates = training_rates(optimizer, scheduler, W + 11)
    assert rates[W] == pytest.approx([LR, LR / 10])
    assert rates[W + 10] == pytest.approx([LR / 10, LR / 100])


def test_warmup_commutes_with_reductions_on_a_plateau():
    """What the error of `warmup(then=reduce_on_plateau)` recommends."""
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

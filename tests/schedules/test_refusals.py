"""What cannot work is refused with the numbers in the message, and nothing is touched."""

from __future__ import annotations

import contextlib
import copy

import pytest
import torch
from torch.optim import lr_scheduler

from lrfinder import InvalidInputError
from lrfinder import schedules as s
from tests.schedules.helpers import MAX_LR, optimizer_with, suggestion, tensor_optimizer


def state(optimizer):
    return copy.deepcopy(optimizer.state_dict()), set(vars(optimizer)), optimizer.step


def broken(step):
    raise KeyError("broken")


LENGTH = {"total_steps": 100}
SIZED = {
    "step": lambda o, **size: s.step(o, 0.1, step_size=3, **size),
    "multistep": lambda o, **size: s.multistep(o, 0.1, milestones=[3], **size),
    "exponential": lambda o, **size: s.exponential(o, 0.1, gamma=0.99, **size),
    "cosine": lambda o, **size: s.cosine(o, 0.1, **size),
    "cosine_warm_restarts": lambda o, **size: s.cosine_warm_restarts(o, 0.1, first_cycle=3, **size),
    "polynomial": lambda o, **size: s.polynomial(o, 0.1, **size),
    "wsd": lambda o, **size: s.wsd(o, 0.1, decay_steps=3, **size),
    "cyclic": lambda o, **size: s.cyclic(o, suggestion(), step_size_up=3, **size),
    "one_cycle": lambda o, **size: s.one_cycle(o, 0.1, **size),
    "warmup": lambda o, **size: s.warmup(o, 0.1, then=s.constant, warmup_steps=3, **size),
}
ANY = {
    "constant": s.constant,
    "cosine": lambda o, lr: s.cosine(o, lr, **LENGTH),
    "cosine_warm_restarts": lambda o, lr: s.cosine_warm_restarts(o, lr, first_cycle=3, **LENGTH),
    "cyclic": lambda o, lr: s.cyclic(o, lr, min_lr=1e-4, step_size_up=3, **LENGTH),
    "exponential": lambda o, lr: s.exponential(o, lr, gamma=0.99, **LENGTH),
    "lambda_": lambda o, lr: s.lambda_(o, lr, lr_lambda=abs),
    "multiplicative": lambda o, lr: s.multiplicative(o, lr, lr_lambda=abs),
    "multistep": lambda o, lr: s.multistep(o, lr, milestones=[3], **LENGTH),
    "one_cycle": lambda o, lr: s.one_cycle(o, lr, **LENGTH),
    "polynomial": lambda o, lr: s.polynomial(o, lr, **LENGTH),
    "reduce_on_plateau": s.reduce_on_plateau,
    "step": lambda o, lr: s.step(o, lr, step_size=30, **LENGTH),
    "warmup": lambda o, lr: s.warmup(o, lr, then=s.constant, warmup_steps=3, **LENGTH),
    "wsd": lambda o, lr: s.wsd(o, lr, decay_steps=3, **LENGTH),
}

REFUSED = {
    "step never drops": (
        lambda o: s.step(o, 0.1, step_size=100, **LENGTH),
        r"below the 100 steps .* got step_size=100",
    ),
    "step meant in epochs": (
        lambda o: s.step(o, 0.1, step_size=3, **LENGTH),
        r"lasts for the 100 steps .* step_size=3 with gamma=0.1, which leaves 1.0e-33",
    ),
    "step grows": (lambda o: s.step(o, 0.1, step_size=3, gamma=2, **LENGTH), r"\(0, 1\].*gamma=2"),
    "multistep after the end": (
        lambda o: s.multistep(o, 0.1, milestones=[50, 120], **LENGTH),
        r"below the 100 steps .* got milestones=120",
    ),
    "multistep without milestones": (
        lambda o: s.multistep(o, 0.1, milestones=[], **LENGTH),
        "at least one milestone",
    ),
    "multistep at step 0": (
        lambda o: s.multistep(o, 0.1, milestones=[0, 5], **LENGTH),
        "milestones to be a whole number >= 1, got 0",
    ),
    "exponential meant per epoch": (
        lambda o: s.exponential(o, 0.1, gamma=0.8, total_steps=1000),
        r"1000 steps .* gamma=0.8 per step, which leaves 1.5e-97",
    ),
    "a floor above the rate": (
        lambda o: s.cosine(o, 0.1, min_lr=0.2, **LENGTH),
        "between 0 and the rate 0.1, got min_lr=0.2",
    ),
    "a floor below 0": (
        lambda o: s.polynomial(o, 0.1, min_lr=-1e-3, **LENGTH),
        "between 0 and the rate 0.1, got min_lr=-0.001",
    ),
    "a cycle longer than the training": (
        lambda o: s.cosine_warm_restarts(o, 0.1, first_cycle=101, **LENGTH),
        "at most the 100 steps .* first_cycle=101",
    ),
    "polynomial never leaves its warm-up": (
        lambda o: s.polynomial(o, 0.1, warmup_steps=100, **LENGTH),
        "below the 100 steps .* warmup_steps=100: the rate would never leave its warm-up",
    ),
    "polynomial never moves": (
        lambda o: s.polynomial(o, 0.1, step_size=100, **LENGTH),
        "below the 100 steps .* step_size=100: the rate would never move",
    ),
    "polynomial without a power": (
        lambda o: s.polynomial(o, 0.1, power=0, **LENGTH),
        "finite number > 0 for power, got power=0",
    ),
    "wsd longer than the training": (
        lambda o: s.wsd(o, 0.1, warmup_steps=60, decay_steps=50, **LENGTH),
        r"into the 100 steps .* warmup_steps=60 \+ decay_steps=50 = 110",
    ),
    "wsd of an unknown shape": (
        lambda o: s.wsd(o, 0.1, decay_steps=5, decay="sqrt", **LENGTH),
        "one of .*'1-sqrt'.* got 'sqrt'",
    ),
    "cyclic never reaches its peak": (
        lambda o: s.cyclic(o, suggestion(), step_size_up=100, **LENGTH),
        "below the 100 steps .* step_size_up=100: the rate would never reach its peak",
    ),
    "cyclic without a lower bound": (
        lambda o: s.cyclic(o, 0.1, step_size_up=10, **LENGTH),
        "beside the plain rate 0.1.*min_lr=0.025",
    ),
    "cyclic with crossed bounds": (
        lambda o: s.cyclic(o, 0.1, min_lr=0.1, step_size_up=10, **LENGTH),
        "below the upper bound 0.1, got min_lr=0.1",
    ),
    "one_cycle too short to rise": (
        lambda o: s.one_cycle(o, 0.1, total_steps=3),
        "pct_start=0.3 of total_steps=3, which is 0.9",
    ),
    "one_cycle that only rises": (
        lambda o: s.one_cycle(o, 0.1, pct_start=1.0, **LENGTH),
        "pct_start=1.0 of total_steps=100 .* take 100 steps",
    ),
    "one_cycle without its third phase": (
        lambda o: s.one_cycle(o, 0.1, pct_start=0.51, three_phase=True, **LENGTH),
        "pct_start=0.51 of total_steps=100 with three_phase=True.* take 101 steps",
    ),
    "one_cycle along an unknown curve": (
        lambda o: s.one_cycle(o, 0.1, anneal_strategy="cosine", **LENGTH),
        "'cos' or 'linear', got 'cosine'",
    ),
    "one_cycle without a start": (
        lambda o: s.one_cycle(o, 0.1, div_factor=0, **LENGTH),
        "div_factor=0",
    ),
    "a plateau that raises the rate": (
        lambda o: s.reduce_on_plateau(o, 0.1, factor=1.5),
        "between 0 and 1, got factor=1.5",
    ),
    "training never leaves its warm-up": (
        lambda o: s.warmup(o, 0.1, then=s.constant, warmup_steps=120, **LENGTH),
        "below the 100 steps .* warmup_steps=120: the rate would never leave its warm-up",
    ),
    "a warm-up from 0": (
        lambda o: s.warmup(o, 0.1, then=s.constant, warmup_steps=5, start_factor=0, **LENGTH),
        r"start_factor in \(0, 1\], got start_factor=0",
    ),
    "the rest is too short for what follows the warm-up": (
        lambda o: s.warmup(o, 0.1, then=s.wsd, decay_steps=50, warmup_steps=60, **LENGTH),
        "into the 40 steps",
    ),
    "a warm-up in front of a plateau": (
        lambda o: s.warmup(o, 0.1, then=s.reduce_on_plateau, warmup_steps=5, **LENGTH),
        r"ReduceLROnPlateau, .*LinearLR\(optimizer, 0.01, total_iters=5\)",
    ),
    "a warm-up in front of a warm-up": (
        lambda o: s.warmup(
            o,
            0.1,
            then=lambda o, lr: s.warmup(o, lr, then=s.constant, warmup_steps=5, **LENGTH),
            warmup_steps=5,
            **LENGTH,
        ),
        "single schedule behind the warm-up, got SequentialLR",
    ),
}

# Mistakes that only torch, or the user's own function, finds: when groups have been changed.
FOUND_LATE = {
    "cyclic mode": lambda o: s.cyclic(o, suggestion(), step_size_up=5, mode="square", **LENGTH),
    "a factor that fails": lambda o: s.lambda_(o, 0.1, lr_lambda=broken),
    "too many factors": lambda o: s.lambda_(o, 0.1, lr_lambda=[abs, abs, abs]),
    "plateau mode": lambda o: s.reduce_on_plateau(o, 0.1, mode="lower"),
    "an unknown setting behind the warm-up": lambda o: s.warmup(
        o, 0.1, then=s.one_cycle, warmup_steps=5, peak=1, **LENGTH
    ),
    "behind the warm-up, after momentum was set": lambda o: s.warmup(
        o,
        0.1,
        then=lambda o, lr: (s.one_cycle(o, lr, total_steps=50), broken(0)),
        warmup_steps=5,
        **LENGTH,
    ),
}


def optimizers():
    scheduled = optimizer_with(momentum=0.9)
    lr_scheduler.StepLR(scheduled, 3)
    return [optimizer_with(kind=torch.optim.AdamW), tensor_optimizer(), scheduled]


@pytest.mark.parametrize(("build", "message"), REFUSED.values(), ids=REFUSED)
def test_it_says_what_was_expected_with_the_numbers_and_touches_nothing(build, message):
    for optimizer in optimizers():
        before = state(optimizer)
        with pytest.raises(InvalidInputError, match=message):
            build(optimizer)
        assert state(optimizer) == before


@pytest.mark.parametrize("build", FOUND_LATE.values(), ids=FOUND_LATE)
def test_a_mistake_that_is_found_late_leaves_the_optimizer_as_it_was(build):
    for optimizer in optimizers():
        rate = optimizer.param_groups[0]["lr"]
        before = state(optimizer)
        with pytest.raises((ValueError, KeyError, TypeError)):
            build(optimizer)
        assert state(optimizer) == before
        assert optimizer.param_groups[0]["lr"] is rate


SIZES = {
    "both": {"total_steps": 100, "epochs": 10, "steps_per_epoch": 10},
    "neither": {},
    "epochs alone": {"epochs": 10},
    "steps_per_epoch alone": {"steps_per_epoch": 10},
    "one and a half": {"total_steps": 100, "epochs": 10},
}


@pytest.mark.parametrize("size", SIZES.values(), ids=SIZES)
@pytest.mark.parametrize("name", SIZED)
def test_the_length_is_given_once_and_in_one_way(name, size):
    given = {"total_steps": None, "epochs": None, "steps_per_epoch": None} | size
    numbers = ", ".join(f"{key}={value}" for key, value in given.items())
    with pytest.raises(InvalidInputError, match=numbers):
        SIZED[name](optimizer_with(), **size)


@pytest.mark.parametrize(
    "size",
    [
        {"total_steps": 0},
        {"total_steps": 10.0},
        {"epochs": 0, "steps_per_epoch": 10},
        {"epochs": 10, "steps_per_epoch": -3},
    ],
)
@pytest.mark.parametrize("name", SIZED)
def test_the_length_is_a_whole_number_of_steps(name, size):
    with pytest.raises(InvalidInputError, match="whole number >= 1, got"):
        SIZED[name](optimizer_with(), **size)


@pytest.mark.parametrize("lr", [0.0, -0.1, float("nan"), float("inf")])
@pytest.mark.parametrize("name", ANY)
def test_the_rate_is_a_finite_number_above_0(name, lr):
    with pytest.raises(InvalidInputError, match=f"> 0 for lr, got lr={lr}"):
        ANY[name](optimizer_with(), lr)


@pytest.mark.parametrize("name", ANY)
def test_a_suggestion_for_other_groups_is_refused(name):
    optimizer = optimizer_with((1.0, 0.1))
    before = state(optimizer)
    with pytest.raises(InvalidInputError, match=r"3 parameter groups.*got 2"):
        ANY[name](optimizer, suggestion((1.0, 0.5, 0.1)))
    assert state(optimizer) == before


@pytest.mark.parametrize("name", ANY)
def test_a_plain_rate_for_groups_that_are_all_at_0_is_refused(name):
    with pytest.raises(InvalidInputError, match=r"ratios from, got \[0.0, 0.0\]"):
        ANY[name](optimizer_with((0.0, 0.0)), 0.1)


def test_a_single_group_at_0_gets_its_rate():
    optimizer = optimizer_with((0.0,))
    s.constant(optimizer, 0.1)
    assert optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize(
    "build",
    [
        lambda o: s.cosine(o, 0.1, min_lr=1e-3, **LENGTH),
        lambda o: s.cosine_warm_restarts(o, 0.1, first_cycle=10, min_lr=1e-3, **LENGTH),
    ],
)
def test_a_floor_that_would_break_the_ratios_is_refused_and_an_equal_one_is_not(build):
    optimizer = optimizer_with((1.0, 0.1))
    with pytest.raises(InvalidInputError, match=r"\[0.1, 0.01\], got min_lr=0.001"):
        build(optimizer)
    build(optimizer_with((1.0, 1.0)))


def test_the_way_out_that_the_refused_floor_names_keeps_the_ratios():
    optimizer = optimizer_with((1.0, 0.1))
    scheduler = s.wsd(optimizer, 0.1, decay="cosine", decay_steps=100, min_lr=1e-3, **LENGTH)
    for _ in range(100):
        optimizer.step()
        scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1e-3, 1e-4])


@pytest.mark.parametrize("total_steps", range(1, 12))
@pytest.mark.parametrize("pct_start", [0.1, 0.3, 0.5, 0.9])
@pytest.mark.parametrize("three_phase", [False, True])
def test_a_one_cycle_that_is_not_refused_runs_to_its_end_and_reaches_no_higher_than_its_peak(
    total_steps, pct_start, three_phase
):
    optimizer = optimizer_with()
    with contextlib.suppress(InvalidInputError):
        scheduler = s.one_cycle(
            optimizer,
            suggestion(),
            pct_start=pct_start,
            three_phase=three_phase,
            total_steps=total_steps,
        )
        rates = []
        for _ in range(total_steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
        assert rates[0] == pytest.approx(MAX_LR / 25)
        assert rates[-1] == pytest.approx(MAX_LR / 25e4)
        assert max(rates) <= MAX_LR * (1 + 1e-12)

"""Arguments that cannot work raise with their name and value, and nothing is changed."""

from __future__ import annotations

import copy

import pytest
import torch
from torch.optim import lr_scheduler

from lrfinder import InvalidInputError
from lrfinder import schedules as s
from tests.schedules.helpers import optimizer_with, suggestion, tensor_optimizer


def state(optimizer):
    return copy.deepcopy(optimizer.state_dict()), set(vars(optimizer)), optimizer.step


def broken(step):
    raise KeyError("broken")


LENGTH = {"total_steps": 100}
SIZED = {
    "cosine": lambda o, size: s.cosine(o, 0.1, total_steps=size),
    "polynomial": lambda o, size: s.polynomial(o, 0.1, total_steps=size),
    "wsd": lambda o, size: s.wsd(o, 0.1, decay_steps=3, total_steps=size),
    "one_cycle": lambda o, size: s.one_cycle(o, 0.1, total_steps=size),
    "warmup": lambda o, size: s.warmup(o, 0.1, then=s.cosine, warmup_steps=3, total_steps=size),
}

INVALID = {
    "step without a size": (lambda o: s.step(o, 0.1, step_size=0), "step_size .* >= 1, got 0"),
    "step grows": (
        lambda o: s.step(o, 0.1, step_size=3, gamma=2),
        r"gamma to be in \(0, 1\], got 2",
    ),
    "a factor read from a file as text": (
        lambda o: s.step(o, 0.1, step_size=3, gamma="1e-1"),
        "gamma to be a number, got '1e-1'",
    ),
    "no factor": (lambda o: s.exponential(o, 0.1, gamma=None), "gamma to be a number, got None"),
    "a rate that is a truth": (lambda o: s.constant(o, True), "lr to be a number, got True"),
    "a floor as text": (
        lambda o: s.cosine(o, 0.1, eta_min="x", **LENGTH),
        "eta_min to be a number, got 'x'",
    ),
    "a plateau without a factor": (
        lambda o: s.reduce_on_plateau(o, 0.1, factor=None),
        "factor to be a number, got None",
    ),
    "a share as text": (
        lambda o: s.one_cycle(o, 0.1, pct_start="half", **LENGTH),
        "pct_start to be a number, got 'half'",
    ),
    "bounds as text": (
        lambda o: s.cyclic(o, "0.1", step_size_up=2),
        "max_lr to be a number, got '0.1'",
    ),
    "a single milestone": (
        lambda o: s.multistep(o, 0.1, milestones=3),
        r"milestones to be a list of steps, got 3; for one drop pass \[3\]",
    ),
    "multistep grows": (
        lambda o: s.multistep(o, 0.1, milestones=[3], gamma=2),
        r"gamma to be in \(0, 1\], got 2",
    ),
    "multistep without milestones": (
        lambda o: s.multistep(o, 0.1, milestones=[]),
        "at least one milestone",
    ),
    "multistep at step 0": (
        lambda o: s.multistep(o, 0.1, milestones=[0, 5]),
        "milestones must be a whole number >= 1, got 0",
    ),
    "exponential grows": (
        lambda o: s.exponential(o, 0.1, gamma=1.01),
        r"gamma to be in \(0, 1\], got 1.01",
    ),
    "a floor above the rate": (
        lambda o: s.cosine(o, 0.1, eta_min=0.2, **LENGTH),
        "eta_min to be between 0 and the learning rate 0.1, got 0.2",
    ),
    "a floor below 0": (
        lambda o: s.polynomial(o, 0.1, eta_min=-1e-3, **LENGTH),
        "eta_min to be between 0 and the learning rate 0.1, got -0.001",
    ),
    "a lowest rate above the first": (
        lambda o: s.reduce_on_plateau(o, 0.1, min_lr=0.2),
        "min_lr to be between 0 and the learning rate 0.1, got 0.2",
    ),
    "polynomial never leaves its warm-up": (
        lambda o: s.polynomial(o, 0.1, warmup_steps=100, **LENGTH),
        "below total_steps=100, got warmup_steps=100",
    ),
    "polynomial never moves": (
        lambda o: s.polynomial(o, 0.1, step_size=100, **LENGTH),
        "below total_steps=100, got .* step_size=100",
    ),
    "polynomial without a power": (
        lambda o: s.polynomial(o, 0.1, power=0, **LENGTH),
        "power to be a finite number > 0, got 0",
    ),
    "wsd longer than the training": (
        lambda o: s.wsd(o, 0.1, warmup_steps=60, decay_steps=50, **LENGTH),
        r"<= total_steps=100, got 60 \+ 50 = 110",
    ),
    "wsd of an unknown shape": (
        lambda o: s.wsd(o, 0.1, decay_steps=5, decay="sqrt", **LENGTH),
        "one of .*'1-sqrt'.* got 'sqrt'",
    ),
    "cyclic without a way up": (
        lambda o: s.cyclic(o, suggestion(), step_size_up=0),
        "step_size_up .* >= 1, got 0",
    ),
    "cyclic without a way down": (
        lambda o: s.cyclic(o, suggestion(), step_size_up=5, step_size_down=0),
        "step_size_down .* >= 1, got 0",
    ),
    "cyclic without a lower bound": (
        lambda o: s.cyclic(o, 0.1, step_size_up=10),
        "base_lr together with the number max_lr=0.1.*base_lr=0.025",
    ),
    "cyclic with crossed bounds": (
        lambda o: s.cyclic(o, 0.1, base_lr=0.1, step_size_up=10),
        "base_lr to be below max_lr=0.1, got 0.1",
    ),
    "one_cycle too short to rise": (
        lambda o: s.one_cycle(o, 0.1, total_steps=3),
        "pct_start=0.3 of total_steps=3 .* rises for 0.9 steps",
    ),
    "one_cycle that only rises": (
        lambda o: s.one_cycle(o, 0.1, pct_start=1.0, **LENGTH),
        "pct_start=1.0 of total_steps=100 .* begins after 100",
    ),
    "one_cycle without its third phase": (
        lambda o: s.one_cycle(o, 0.1, pct_start=0.51, three_phase=True, **LENGTH),
        "pct_start=0.51 of total_steps=100 with three_phase=True.* begins after 101",
    ),
    "one_cycle without a start": (
        lambda o: s.one_cycle(o, 0.1, div_factor=0, **LENGTH),
        "div_factor to be a finite number > 0, got 0",
    ),
    "a cycle without steps": (
        lambda o: s.cosine_warm_restarts(o, 0.1, T_0=0),
        "T_0 must be a whole number >= 1, got 0",
    ),
    "cycles that get shorter": (
        lambda o: s.cosine_warm_restarts(o, 0.1, T_0=5, T_mult=0),
        "T_mult must be a whole number >= 1, got 0",
    ),
    "a plateau that raises the rate": (
        lambda o: s.reduce_on_plateau(o, 0.1, factor=1.5),
        "factor to be between 0 and 1, got 1.5",
    ),
    "training never leaves its warm-up": (
        lambda o: s.warmup(o, 0.1, then=s.cosine, warmup_steps=120, **LENGTH),
        "warmup_steps to be below total_steps=100, got 120",
    ),
    "a warm-up from 0": (
        lambda o: s.warmup(o, 0.1, then=s.constant, warmup_steps=5, start_factor=0),
        r"start_factor to be in \(0, 1\], got 0",
    ),
    "the rest is too short for what follows the warm-up": (
        lambda o: s.warmup(o, 0.1, then=s.wsd, decay_steps=50, warmup_steps=60, **LENGTH),
        "total_steps=40, got 0 . 50",
    ),
    "a warm-up before a plateau": (
        lambda o: s.warmup(o, 0.1, then=s.reduce_on_plateau, warmup_steps=5),
        "got ReduceLROnPlateau, which cannot follow a warm-up; .* LinearLR",
    ),
    "a warm-up before a warm-up": (
        lambda o: s.warmup(
            o,
            0.1,
            then=lambda o, lr: s.warmup(o, lr, then=s.constant, warmup_steps=5),
            warmup_steps=5,
        ),
        "single schedule of optimizer steps, got SequentialLR",
    ),
}

# Mistakes that only torch, or the user's own function, finds: when groups have been changed.
FOUND_LATE = {
    "cyclic mode": lambda o: s.cyclic(o, suggestion(), step_size_up=5, mode="square"),
    "one_cycle strategy": lambda o: s.one_cycle(o, 0.1, anneal_strategy="cosine", **LENGTH),
    "a factor that fails": lambda o: s.lambda_(o, 0.1, lr_lambda=broken),
    "too many factors": lambda o: s.lambda_(o, 0.1, lr_lambda=[abs, abs, abs]),
    "plateau mode": lambda o: s.reduce_on_plateau(o, 0.1, mode="lower"),
    "no length for the schedule behind the warm-up": lambda o: s.warmup(
        o, 0.1, then=s.cosine, warmup_steps=5
    ),
    "a length for a schedule that needs none": lambda o: s.warmup(
        o, 0.1, then=s.constant, warmup_steps=5, **LENGTH
    ),
    "an unknown setting behind the warm-up": lambda o: s.warmup(
        o, 0.1, then=s.one_cycle, warmup_steps=5, peak=1, **LENGTH
    ),
    "behind the warm-up, after momentum was set": lambda o: s.warmup(
        o,
        0.1,
        then=lambda o, lr: (s.one_cycle(o, lr, total_steps=50), broken(0)),
        warmup_steps=5,
    ),
}


def optimizers():
    scheduled = optimizer_with(momentum=0.9)
    lr_scheduler.StepLR(scheduled, 3)
    return [optimizer_with(kind=torch.optim.AdamW), tensor_optimizer(), scheduled]


@pytest.mark.parametrize(("build", "message"), INVALID.values(), ids=INVALID)
def test_the_message_names_the_argument_and_nothing_is_changed(build, message):
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
        with pytest.raises((ValueError, KeyError, TypeError)) as found:
            build(optimizer)
        assert not isinstance(found.value, InvalidInputError)
        assert state(optimizer) == before
        assert optimizer.param_groups[0]["lr"] is rate


@pytest.mark.parametrize("size", [0, -3, 10.0, True])
@pytest.mark.parametrize("name", SIZED)
def test_a_length_that_is_not_a_whole_number_of_steps_raises(name, size):
    with pytest.raises(InvalidInputError, match=f"total_steps .* number >= 1, got {size}"):
        SIZED[name](optimizer_with(), size)

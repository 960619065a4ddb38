"""A schedule that is saved and loaded in mid-training goes on as if it had not been."""

from __future__ import annotations

import io

import pytest
import torch

from lrfinder import schedules
from tests.schedules.helpers import ALL, T, W, optimizer_with, suggestion, training_rates

RATIOS = (1.0, 0.1)


def build(name):
    ratios = RATIOS if ALL[name].uneven else (1.0, 1.0)
    optimizer = optimizer_with(ratios, momentum=0.9)
    return optimizer, ALL[name].build(optimizer, suggestion(ratios))


def through_a_file(state):
    """Save and load with torch's defaults, which accept only tensors, numbers and containers."""
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file)


def groups_during(optimizer, scheduler, steps):
    history = []
    for _ in range(steps):
        history.append(
            [
                {name: value for name, value in group.items() if name != "params"}
                for group in optimizer.param_groups
            ]
        )
        optimizer.step()
        scheduler.step()
    return history


@pytest.mark.parametrize("stop", [0, 1, W - 1, W, T // 2, T - 2])
@pytest.mark.parametrize("name", ALL)
def test_a_resumed_schedule_gives_the_same_rates_and_momentum(name, stop):
    optimizer, scheduler = build(name)
    training_rates(optimizer, scheduler, stop)
    saved = through_a_file((optimizer.state_dict(), scheduler.state_dict()))
    uninterrupted = groups_during(optimizer, scheduler, T - 1 - stop)

    optimizer, scheduler = build(name)
    optimizer.load_state_dict(saved[0])
    scheduler.load_state_dict(saved[1])
    assert groups_during(optimizer, scheduler, T - 1 - stop) == uninterrupted


@pytest.mark.parametrize("stop", [1, 4, 7])
def test_a_resumed_plateau_reduces_at_the_same_evaluations(stop):
    metrics = [1.0, 0.5, 0.6, 0.5, 0.5, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4]

    def start():
        optimizer = optimizer_with(RATIOS)
        return optimizer, schedules.reduce_on_plateau(
            optimizer, suggestion(RATIOS), patience=1, cooldown=1, min_lr=1e-5
        )

    def run(optimizer, scheduler, metrics):
        rates = []
        for metric in metrics:
            scheduler.step(metric)
            rates.append([group["lr"] for group in optimizer.param_groups])
        return rates

    optimizer, scheduler = start()
    run(optimizer, scheduler, metrics[:stop])
    saved = through_a_file((optimizer.state_dict(), scheduler.state_dict()))
    uninterrupted = run(optimizer, scheduler, metrics[stop:])

    optimizer, scheduler = start()
    optimizer.load_state_dict(saved[0])
    scheduler.load_state_dict(saved[1])
    assert run(optimizer, scheduler, metrics[stop:]) == uninterrupted


@pytest.mark.parametrize("name", ["polynomial", "wsd"])
def test_the_shape_of_our_own_factors_is_part_of_the_state(name):
    """A checkpoint decides, not the arguments of the script that resumes it."""
    optimizer, scheduler = build(name)
    state = through_a_file(scheduler.state_dict())
    other = optimizer_with(RATIOS)
    resumed = schedules.__dict__[name](
        other,
        suggestion(RATIOS),
        total_steps=9 * T,
        **({"decay_steps": 3} if name == "wsd" else {}),
    )
    other.load_state_dict(optimizer.state_dict())
    resumed.load_state_dict(state)
    assert training_rates(other, resumed, T) == training_rates(optimizer, scheduler, T)

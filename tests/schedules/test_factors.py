"""Reductions on a plateau follow the metric; the other factors have their closed forms."""

from __future__ import annotations

import pytest

from lrfinder import schedules
from tests.schedules.helpers import LR, RATIOS, assert_rates, optimizer_with


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

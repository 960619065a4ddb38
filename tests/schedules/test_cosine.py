"""torch's cosines have one floor for all groups; a floor for groups that differ raises."""

from __future__ import annotations

import pytest

from lrfinder import InvalidInputError, schedules
from tests.schedules.helpers import optimizer_with


@pytest.mark.parametrize(
    "build",
    [
        lambda o: schedules.cosine(o, 0.1, eta_min=1e-3, total_steps=100),
        lambda o: schedules.cosine_warm_restarts(o, 0.1, T_0=10, eta_min=1e-3),
    ],
)
def test_a_floor_that_would_change_the_ratios_raises_and_one_for_equal_groups_does_not(build):
    optimizer = optimizer_with((1.0, 0.1))
    with pytest.raises(InvalidInputError, match=r"\[0.1, 0.01\], got eta_min=0.001"):
        build(optimizer)
    build(optimizer_with((1.0, 1.0)))


def test_the_schedule_that_the_message_names_instead_keeps_the_ratios():
    optimizer = optimizer_with((1.0, 0.1))
    with pytest.raises(InvalidInputError, match='use `wsd` with decay="cosine" and decay_steps=99'):
        schedules.cosine(optimizer, 0.1, eta_min=1e-3, total_steps=99)
    scheduler = schedules.wsd(
        optimizer, 0.1, decay="cosine", decay_steps=99, eta_min=1e-3, total_steps=99
    )
    for _ in range(99):
        optimizer.step()
        scheduler.step()
    assert [group["lr"] for group in optimizer.param_groups] == pytest.approx([1e-3, 1e-4])

"""What `python -m tests.gpu` measures for minutes, with a model of no size."""

from tests.gpu.__main__ import HEAD, row
from tests.gpu.cost import gpt, measure


def test_the_cost_of_a_tiny_training_is_a_row_of_the_table():
    cost = measure(lambda: gpt(size=2, length=16, vocabulary=64, width=64, layers=1), rounds=2)
    assert min(cost.bare_steps + cost.steps + cost.once) > 0
    assert min(cost.peak, cost.bare_peak) > 0
    assert row("tiny", cost).count("|") == len(HEAD) + 1

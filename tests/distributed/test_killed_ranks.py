"""Wherever a rank is killed, the others end with their state restored and name that rank alone."""

import os
import random
import re
import signal
import threading

import pytest
from torch import nn

from lrfinder import LRFinder, SweepError
from tests.distributed.helpers import (
    Shard,
    everything,
    in_parallel,
    network,
    rank,
    run_to_any_end,
    same,
    trained,
)

RANKS = 4


def range_tests_until_killed(victim, delay):
    model = in_parallel(network())
    optimizer = trained(model)
    finder = LRFinder(model, optimizer, nn.MSELoss())
    before = everything(model, optimizer)
    if rank() == victim:
        threading.Timer(delay, os.kill, (os.getpid(), signal.SIGKILL)).start()
    try:
        while True:
            finder.range_test(Shard(), Shard(), num_iter=40, progress=False)
    except SweepError as error:
        return str(error), same(before, everything(model, optimizer))


def named_ranks(message):
    named = re.match(r"rank ([\d, ]+) (?:stopped responding|did not join)", message)
    return named and [int(number) for number in named[1].split(", ")]


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_the_killed_rank_alone_is_named(seed):
    draw = random.Random(seed)
    victim, delay = draw.randrange(RANKS), draw.uniform(0, 1.5)
    answers = run_to_any_end(range_tests_until_killed, RANKS, victim, delay, timeout=10)
    assert answers.pop(victim) is None
    for message, is_restored in answers:
        assert named_ranks(message) == [victim], message
        assert is_restored

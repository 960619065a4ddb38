"""What validation costs: a sweep of 100 steps on the demo's task with and without it.

    python -m tests.benchmarks.validation_cost

Both kinds take turns on one thread, either of them first in every other round. Processor time is
counted, so that what else a machine does hardly matters. The demo reads its images through
transforms; with the images held in memory the share of validation is as large as it gets.
"""

from __future__ import annotations

import gc
import statistics
import sys
import time

import torch

from lrfinder import LRFinder
from lrfinder.cli.demo_task import build

ROUNDS = 9
LIMIT = 1.5


def seconds(finder: LRFinder, *loaders: object) -> float:
    """Return the processor time of one sweep of 100 steps."""
    gc.collect()
    begin = time.process_time()
    result = finder.range_test(*loaders, diverge_th=float("inf"), progress=False)
    assert len(result) == 100
    return time.process_time() - begin


def ratio(name: str, finder: LRFinder, train: object, val: object) -> float:
    """Return how many times as long a sweep takes with validation."""
    seconds(finder, train, val)  # warm up
    pairs = []
    for number in range(ROUNDS):
        kinds = [(train,), (train, val)]
        taken = {len(loaders): seconds(finder, *loaders) for loaders in kinds[:: (-1) ** number]}
        pairs.append((taken[1], taken[2]))
    alone, beside = (statistics.median(times) for times in zip(*pairs, strict=True))
    times_as_long = statistics.median(with_it / without for without, with_it in pairs)
    sys.stdout.write(
        f"{name}: {alone:.3f} s alone, {beside:.3f} s with validation, "
        f"{times_as_long:.2f} times as long (median of {ROUNDS} pairs)\n"
    )
    return times_as_long


def main() -> int:
    """Measure; return 1 if validation costs the demo more than the limit."""
    torch.set_num_threads(1)
    model, optimizer, criterion, train, val = build()
    finder = LRFinder(model, optimizer, criterion)
    as_the_demo = ratio("as the demo", finder, train, val)
    ratio("images in memory", finder, list(train), list(val))
    return int(as_the_demo > LIMIT)


if __name__ == "__main__":
    sys.exit(main())

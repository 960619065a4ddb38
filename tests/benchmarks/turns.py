"""Turns of the bare loop and of a range test, one after the other in one process.

python -m tests.benchmarks.turns <workload> <finder> <rounds>
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import torch

from tests.benchmarks.finders import quiet, range_test
from tests.benchmarks.workloads import TIMED, Workload


def medians(what: str, name: str, rounds: int, launches: int) -> list[tuple[float, float]]:
    """Return for each of several processes the median ratios of neighbouring turns.

    They are by the clock and by the processor. Where the heap of a process happens to lie decides
    how often its top is given back to the system, which makes either loop slower by up to a third:
    turns of one process are alike in what differs from process to process.
    """
    command = [sys.executable, "-m", __spec__.name, what, name, str(rounds)]
    found = []
    for _ in range(launches):
        answer = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        clock, processor = zip(*json.loads(answer), strict=True)
        found.append((statistics.median(clock), statistics.median(processor)))
    return found


def _pairs(what: str, name: str, rounds: int) -> list[tuple[float, float]]:
    workload = TIMED[what]()
    with quiet():
        turns = {"bare": workload.bare, "run": range_test(name, workload)}
        for turn in turns.values():
            turn()  # to warm up
        pairs = []
        for number in range(rounds):
            order = ("bare", "run") if number % 2 else ("run", "bare")
            taken = {which: _time_of_a_step(turns[which], workload) for which in order}
            clock, processor = (taken["run"][i] / taken["bare"][i] for i in range(2))
            pairs.append((clock, processor))
    return pairs


def _time_of_a_step(turn: Callable[[], None], workload: Workload) -> tuple[float, float]:
    gc.collect()
    clock, processor = time.perf_counter(), time.process_time()
    turn()
    clock, processor = time.perf_counter() - clock, time.process_time() - processor
    return clock / workload.steps, processor / workload.steps


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(json.dumps(_pairs(sys.argv[1], sys.argv[2], int(sys.argv[3]))))

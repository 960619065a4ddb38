"""Steps per second on 1, 2 and 4 processes: the range test beside the bare training loop.

    python -m tests.benchmarks.scaling data/performance/scaling.md

Both take turns of 100 steps in the same processes, gloo between them; with them the bare loop with
one all-reduce of the same size per step, which is what any exchange costs.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Sequence
from datetime import date
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from lrfinder import LRFinder
from lrfinder._distributed.packing import Status
from tests.benchmarks.workloads import lenet5

STEPS = 100
BATCH = 64
LIMIT = 1.03
PROCESSES = (1, 2, 4)
# Of the vector that is exchanged: the loss, its weight, and a status.
NUMBERS = 2 + len(Status._fields)

PAGE = """\
# What a range test costs on several processes

LeNet-5 (44 426 parameters, SGD with momentum, {batch} images of 28x28 per process from a shuffling
`DataLoader`), one thread per process, gloo over the loopback, {cores} cores. Bare loop, bare loop
with one all-reduce of {width} bytes per step, and range test took turns of {steps} steps, {rounds}
of each kind in each of {launches} launches; the snapshot, putting it back and the barriers at the
beginning and the end are part of the range test. Made by
`python -m tests.benchmarks.scaling data/performance/scaling.md`, {date}, torch {torch}.

| processes | bare loop, steps/s | with an all-reduce | range test | time of the all-reduce | \
time of the range test | beyond the all-reduce |
|---|---|---|---|---|---|---|
{rows}

The first columns are medians. The others are ratios of time to the bare loop of the same round,
lower quartile / **median** / upper quartile, and at the end the median ratio of the range test to
the bare loop with an all-reduce. The target of {limit} for the range test is {verdict}.

Gloo exchanges on threads of its own, which need the same cores here: there is nothing to hide the
all-reduce behind, and above {cores} processes they take turns on the cores as well. So the
all-reduce is the floor on this machine, and what the range test takes beyond it is ours. Where
the backend has hardware of its own (NCCL), it runs beside the next step.

## At 1,000 processes, on paper

| per rank | bare DDP loop | a range test adds | does it grow with the number of ranks N? |
|---|---|---|---|
| collectives per step | an all-reduce per bucket | one all-reduce | no |
| bytes sent per step, in a ring | 2 (N-1)/N of the gradients: 355 kB for the LeNet, 8 GB for 1e9 \
parameters | 2 (N-1)/N of {width} bytes: {sent} bytes | no, it stays below {most} |
| waiting for them | for the last bucket | none: 2 log2 N = 20 hops of a small message, behind the \
next step | only what is hidden |
| requests to the store per sweep | - | about 25, in four meetings, and 2 per second | their \
number does not; the answer of a meeting holds N short values |
| memory of the snapshot | - | its own parameters, gradients, optimizer state | no; under FSDP it \
is 1/N of them |
| bytes sent for the snapshot | - | none | no |

The vector has {numbers} numbers of 8 bytes: the loss times the number of samples, that number, and
a status of {words} numbers ({names}). Each metric, and the validation loss,
adds two. Every rank reads the sum one step late, so all take the decision to stop after the same
step, and none waits for another within a step. The snapshot does not grow because each rank copies
the memory that it holds itself, and puts it back in place: nothing is gathered.
"""


def measure(rank: int, processes: int, file: str, rounds: int, answer: Any) -> None:
    """Take turns in one of several processes; rank 0 sends the seconds of each."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model: nn.Module = lenet5(padding=0)
    if processes > 1:
        dist.init_process_group(
            "gloo", init_method=f"file://{file}", rank=rank, world_size=processes
        )
        model = DistributedDataParallel(model)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-7, momentum=0.9)
    criterion = nn.CrossEntropyLoss()
    images = torch.randn(STEPS * BATCH, 1, 28, 28, generator=torch.Generator().manual_seed(rank))
    data = TensorDataset(images, torch.arange(len(images)) % 10)
    loader = DataLoader(data, batch_size=BATCH, shuffle=True)

    def bare(after: Callable[[], None] = lambda: None) -> None:
        for inputs, targets in loader:
            optimizer.zero_grad()
            loss: Tensor = criterion(model(inputs), targets)
            loss.backward()
            optimizer.step()
            after()

    def with_exchange() -> None:
        under_way: deque[Any] = deque()

        def exchange() -> None:
            numbers = torch.zeros(NUMBERS, dtype=torch.float64)
            under_way.append(dist.all_reduce(numbers, async_op=True))
            if len(under_way) > 1:
                under_way.popleft().wait()

        bare(exchange)
        under_way.popleft().wait()

    finder = LRFinder(model, optimizer, criterion)

    def sweep() -> None:
        result = finder.range_test(
            loader, num_iter=STEPS, end_lr=1e-6, diverge_th=float("inf"), progress=False
        )
        assert len(result) == STEPS

    kinds = [bare, with_exchange if processes > 1 else bare, sweep]
    for warm_up in kinds:
        warm_up()
    turns = [[seconds(kind) for kind in kinds] for _ in range(rounds)]
    if rank == 0:
        answer.send(turns)
    if processes > 1:
        dist.barrier()
        dist.destroy_process_group()


def seconds(work: Callable[[], None]) -> float:
    """Return how long some work takes, begun by all processes together."""
    if dist.is_initialized():
        dist.barrier()
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def turns_on(processes: int, rounds: int) -> list[list[float]]:
    """Return the seconds of rank 0: bare loop, the same with an all-reduce, range test."""
    context = multiprocessing.get_context("spawn")
    receive, send = context.Pipe(duplex=False)
    with tempfile.TemporaryDirectory() as folder:
        file = str(Path(folder) / "meeting")
        children = [
            context.Process(target=measure, args=(rank, processes, file, rounds, send))
            for rank in range(processes)
        ]
        for child in children:
            child.start()
        send.close()  # so that the end of the children is noticed
        turns: list[list[float]] = receive.recv()
        for child in children:
            child.join()
    return turns


def row(processes: int, turns: list[list[float]]) -> tuple[str, float]:
    """Return a row of the table, and the median ratio of the range test to the bare loop."""
    rates = [f"{STEPS / statistics.median(kind):.0f}" for kind in zip(*turns, strict=True)]
    exchange = [exchange / bare for bare, exchange, _ in turns]
    sweep = [sweep / bare for bare, _, sweep in turns]
    beyond = statistics.median(sweep / exchange for _, exchange, sweep in turns)
    if processes == 1:
        cells = [rates[0], "-", rates[2], "-", spread(sweep), "-"]
    else:
        cells = [*rates, spread(exchange), spread(sweep), f"{beyond:.3f}"]
    return f"| {processes} | {' | '.join(cells)} |", statistics.median(sweep)


def spread(ratios: list[float]) -> str:
    """Return the quartiles of some ratios in words."""
    low, median, high = statistics.quantiles(ratios, n=4)
    return f"{low:.3f} / **{median:.3f}** / {high:.3f}"


def verdict(ratios: Sequence[float]) -> str:
    """Say at how many processes the target is met."""
    missed = [n for n, ratio in zip(PROCESSES, ratios, strict=True) if ratio > LIMIT]
    return f"missed at {' and '.join(map(str, missed))} processes" if missed else "met"


def main() -> int:
    """Measure and write the page; return 1 if a ratio is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--launches", type=int, default=6)
    arguments = parser.parse_args()
    # Where the heap of a process happens to lie makes either loop slower by up to a third.
    turns = {
        n: [turn for _ in range(arguments.launches) for turn in turns_on(n, arguments.rounds)]
        for n in PROCESSES
    }
    rows, ratios = zip(*(row(*measured) for measured in turns.items()), strict=True)
    arguments.page.parent.mkdir(parents=True, exist_ok=True)
    arguments.page.write_text(
        PAGE.format(
            batch=BATCH,
            cores=os.cpu_count(),
            date=date.today().isoformat(),
            limit=LIMIT,
            verdict=verdict(ratios),
            rounds=arguments.rounds,
            launches=arguments.launches,
            steps=STEPS,
            torch=torch.__version__.partition("+")[0],
            rows="\n".join(rows),
            numbers=NUMBERS,
            width=8 * NUMBERS,
            sent=f"{2 * 999 / 1000 * 8 * NUMBERS:.1f}",
            most=16 * NUMBERS,
            words=len(Status._fields),
            names=", ".join(name.replace("_", " ") for name in Status._fields),
        ),
        encoding="utf-8",
    )
    sys.stdout.write("\n".join(rows) + "\n")
    return int(max(ratios) > LIMIT)


if __name__ == "__main__":
    sys.exit(main())

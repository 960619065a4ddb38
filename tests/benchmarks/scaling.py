"""Steps per second on 1, 2 and 4 processes: the range test beside the bare training loop.

    python -m tests.benchmarks.scaling data/performance/scaling.md [--rounds 6] [--launches 6]

Both take turns of 100 steps in the same processes, gloo between them; with them the bare loop with
one all-reduce of the same size per step, which is what any exchange costs.
"""

from __future__ import annotations

import argparse
import gc
import multiprocessing
import os
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, Store
from torch.nn.parallel import DistributedDataParallel
from torch.utils.data import DataLoader, TensorDataset

from lrfinder import LRFinder
from lrfinder._distributed.coordinator import _HEARTBEAT
from lrfinder._distributed.packing import Status
from tests.benchmarks.workloads import lenet5, verdict

STEPS = 100
BATCH = 64
LIMIT = 1.03
PROCESSES = (1, 2, 4)
BARE, EXCHANGE, SWEEP = range(3)  # the kinds of turns
# Of the vector that is exchanged: the loss, its weight, and a status.
NUMBERS = 2 + len(Status._fields)

PAGE = """\
# Overhead on several processes compared with a plain training loop

LeNet-5 (44 426 parameters, SGD with momentum, {batch} images of 28x28 per process from a shuffling
`DataLoader`), one thread per process, gloo over the loopback, {cores} cores. Bare loop, bare loop
with one all-reduce of {width} bytes per step, and range test took turns of {steps} steps, {rounds}
of each kind in each of {launches} launches, with another of them first in each round; the
snapshot, putting it back and the barriers at the beginning and the end are part of the range test.
Made by `python -m tests.benchmarks.scaling data/performance/scaling.md --rounds {rounds}
--launches {launches}`, {date}, torch {torch}.

| processes | bare loop, steps/s | with an all-reduce | range test | time of the all-reduce | \
time of the range test | beyond the all-reduce |
|---|---|---|---|---|---|---|
{rows}

The first columns are medians. The others are ratios of time to the bare loop of the same round, and
at the end that of the range test to the bare loop with an all-reduce: of the medians of the
launches the lowest / **median** / highest. The target of {limit} for the range test is {verdicts}
processes; undecided is what the range over the launches leaves open.

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
| requests to the store per sweep | - | about {requests}, in {meetings} meetings, and \
{heartbeats:g} per second | their number does not; the answer of a meeting holds N short values |
| memory of the snapshot | - | its own parameters, gradients, optimizer state | no; under FSDP it \
is 1/N of them |
| bytes sent for the snapshot | - | none | no |

The vector has {numbers} numbers of 8 bytes: the loss times the number of samples, that number, and
a status of {words} numbers ({names}). Each metric, and the validation loss,
adds two. Every rank reads the sum one step late, so all take the decision to stop after the same
step, and none waits for another within a step. The snapshot does not grow because each rank copies
the memory that it holds itself, and puts it back in place: nothing is gathered.
"""


@dataclass
class Launch:
    """What rank 0 has measured.

    Attributes:
        turns: seconds of the bare loop, the same with an all-reduce, and the range test, by round.
        meetings: of all ranks in a range test.
        requests: of one rank to the store in a range test, without its heartbeats.
    """

    turns: list[list[float]]
    meetings: int
    requests: int


def measure(rank: int, processes: int, file: str, rounds: int, answer: Any) -> None:
    """Take turns in one of several processes; rank 0 sends what it has measured."""
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
    with counted_requests() as requests:
        for warm_up in kinds:
            warm_up()
    turns = [in_turn(kinds, number) for number in range(rounds)]
    if rank == 0:
        meetings = sum(key == "ranks here" for key in requests)
        answer.send(Launch(turns, meetings, sum(key != "heartbeats" for key in requests)))
    if processes > 1:
        dist.barrier()
        dist.destroy_process_group()


@contextmanager
def counted_requests() -> Iterator[list[str]]:
    """Count what a range test asks of the store: a list with the first part of each key."""
    asked: list[str] = []

    class Counted:
        def __init__(self, prefix: str, store: Store) -> None:
            self._store = PrefixStore(prefix, store)

        def __getattr__(self, name: str) -> Callable[..., Any]:
            def request(key: str | list[str], *values: Any) -> Any:
                first = key if isinstance(key, str) else key[0]
                asked.append(first.partition("/")[0])
                return getattr(self._store, name)(key, *values)

            return request

    with patch("lrfinder._distributed.process_group.PrefixStore", Counted):
        yield asked


def in_turn(kinds: Sequence[Callable[[], None]], first: int) -> list[float]:
    """Return the seconds of each kind of work, in their order; each round begins with the next."""
    taken = {}
    for place in range(len(kinds)):
        number = (first + place) % len(kinds)
        taken[number] = seconds(kinds[number])
    return [taken[number] for number in range(len(kinds))]


def seconds(work: Callable[[], None]) -> float:
    """Return how long some work takes, begun by all processes together."""
    gc.collect()
    if dist.is_initialized():
        dist.barrier()
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def launch(processes: int, rounds: int) -> Launch:
    """Measure in some new processes."""
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
        measured: Launch = receive.recv()
        for child in children:
            child.join()
    return measured


def row(processes: int, launches: Sequence[Launch]) -> str:
    """Return a row of the table."""
    turns = [turn for each in launches for turn in each.turns]
    rates = [f"{STEPS / statistics.median(kind):.0f}" for kind in zip(*turns, strict=True)]
    sweep = spread(ratios(launches, SWEEP, BARE))
    if processes == 1:
        cells = [rates[BARE], "-", rates[SWEEP], "-", sweep, "-"]
    else:
        exchange, beyond = (
            ratios(launches, *pair) for pair in ((EXCHANGE, BARE), (SWEEP, EXCHANGE))
        )
        cells = [*rates, spread(exchange), sweep, spread(beyond)]
    return f"| {processes} | {' | '.join(cells)} |"


def ratios(launches: Sequence[Launch], kind: int, other: int) -> list[float]:
    """Return the median ratio of the times of two kinds of turns in each launch."""
    return [statistics.median(turn[kind] / turn[other] for turn in each.turns) for each in launches]


def spread(values: Sequence[float]) -> str:
    """Return the lowest, the median and the highest of some ratios in words."""
    return f"{min(values):.3f} / **{statistics.median(values):.3f}** / {max(values):.3f}"


def verdicts(measured: dict[int, list[float]]) -> str:
    """Say at how many processes the target is met."""
    answers: dict[str, list[str]] = {}
    for processes, found in measured.items():
        answers.setdefault(verdict(found, LIMIT), []).append(str(processes))
    return ", ".join(f"{answer} at {' and '.join(at)}" for answer, at in answers.items())


def main() -> int:
    """Measure and write the page; return 1 if the target is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--rounds", type=int, default=6)
    parser.add_argument("--launches", type=int, default=6)
    arguments = parser.parse_args()
    # Where the heap of a process happens to lie makes either loop slower by up to a third.
    launches = {
        n: [launch(n, arguments.rounds) for _ in range(arguments.launches)] for n in PROCESSES
    }
    text = page(launches)
    arguments.page.parent.mkdir(parents=True, exist_ok=True)
    arguments.page.write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    found = [verdict(ratios(each, SWEEP, BARE), LIMIT) for each in launches.values()]
    return int("missed" in found)


def page(launches: dict[int, list[Launch]]) -> str:
    """Return what was measured on some numbers of processes as a page."""
    several = launches[max(launches)]
    return PAGE.format(
        batch=BATCH,
        cores=os.cpu_count(),
        date=date.today().isoformat(),
        limit=LIMIT,
        verdicts=verdicts({n: ratios(each, SWEEP, BARE) for n, each in launches.items()}),
        rounds=len(several[0].turns),
        launches=len(several),
        steps=STEPS,
        torch=torch.__version__.partition("+")[0],
        rows="\n".join(row(n, each) for n, each in launches.items()),
        numbers=NUMBERS,
        width=8 * NUMBERS,
        sent=f"{2 * 999 / 1000 * 8 * NUMBERS:.1f}",
        most=16 * NUMBERS,
        words=len(Status._fields),
        names=", ".join(name.replace("_", " ") for name in Status._fields),
        requests=round(statistics.median(each.requests for each in several)),
        meetings=several[0].meetings,
        heartbeats=1 / _HEARTBEAT,
    )


if __name__ == "__main__":
    sys.exit(main())

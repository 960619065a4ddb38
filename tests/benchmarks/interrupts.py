"""Raises exceptions at random moments of a range test, and counts what is not as before.

Run `python -m tests.benchmarks.interrupts --count 2000` from the repository.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
import timeit
from collections import Counter
from collections.abc import Callable
from typing import Any

import torch

from tests.snapshot.helpers import World, witness

# Waits as long as it is told, presses Ctrl-C in its parent process, and writes how often it did.
_PRESS = """
import os, signal, sys, time
for number, line in enumerate(sys.stdin, 1):
    time.sleep(float(line))
    os.kill(os.getppid(), signal.SIGINT)
    os.pwrite(1, number.to_bytes(4, "little"), 0)
"""


class Timeout(Exception):
    """What the handler of a test runner raises when a test takes too long."""


def raise_timeout(*_: Any) -> None:
    raise Timeout


def modes() -> dict[str, Any]:
    """Return what an exception may leave changed besides the objects."""
    return {
        "gradients": torch.is_grad_enabled(),
        "autocast": torch.is_autocast_enabled("cpu"),
        "signal handlers": [signal.getsignal(number) for number in signal.valid_signals()],
    }


def range_test(world: World) -> None:
    """Do a short range test, in which a callback changes all that it can reach."""

    def on_step(*_: Any) -> None:
        world.vandalize()

    world.finder(autocast=torch.autocast("cpu", enabled=False)).range_test(
        world.loader, world.loader, num_iter=4, end_lr=0.1, progress=False, on_step=on_step
    )


def count(number: int, arm: Callable[[float], Callable[[], None]], seed: int = 0) -> Counter[str]:
    """Interrupt a range test at `number` random moments; return how often what happened.

    Args:
        number: of range tests.
        arm: called with a delay in seconds, it makes an exception arrive after it; what it returns
            is called when the range test is over, and waits for an exception that is late.
        seed: of the delays.
    """
    delays, counts = random.Random(seed), Counter[str]()
    world, before, duration = _begin()
    for _ in range(number):
        raised: BaseException | None = None
        expected = modes()
        try:
            disarm = arm(delays.uniform(0, 1.05 * duration))
            try:
                range_test(world)
            finally:
                disarm()
        except (Timeout, KeyboardInterrupt) as error:
            raised = error  # a notebook keeps it too, and with it the frames in its traceback
            counts["raised"] += 1
        else:
            counts["not raised"] += 1
        left = [kind for kind, value in modes().items() if value != expected[kind]]
        if witness(world) != before:
            left.append("state")
        counts.update(left)
        del raised
        if left:
            torch.set_grad_enabled(True)
            for code, handler in zip(
                signal.valid_signals(), expected["signal handlers"], strict=True
            ):
                if signal.getsignal(code) != handler:
                    signal.signal(code, handler)
            world, before, _ = _begin()
    return counts


def _begin() -> tuple[World, Any, float]:
    world = World()
    world.train(3)
    before = witness(world)
    # The shortest of several, so that few delays are too long on a machine that is busy meanwhile.
    return world, before, min(timeit.repeat(lambda: range_test(world), number=1, repeat=5))


def count_timeouts(number: int) -> Counter[str]:
    """Let the handler of SIGALRM raise at random moments."""

    def arm(delay: float) -> Callable[[], None]:
        signal.setitimer(signal.ITIMER_REAL, delay + 1e-6)
        return lambda: (signal.setitimer(signal.ITIMER_REAL, 0), None)[1]

    previous = signal.signal(signal.SIGALRM, raise_timeout)
    try:
        return count(number, arm)
    finally:
        signal.signal(signal.SIGALRM, previous)


def count_interrupts(number: int) -> Counter[str]:
    """Press Ctrl-C at random moments, from another process."""
    asked = 0
    previous = signal.signal(signal.SIGINT, signal.default_int_handler)
    with (
        tempfile.TemporaryFile() as done,
        subprocess.Popen(
            [sys.executable, "-c", _PRESS], stdin=subprocess.PIPE, stdout=done
        ) as process,
    ):

        def arm(delay: float) -> Callable[[], None]:
            nonlocal asked
            asked += 1
            os.write(process.stdin.fileno(), b"%r\n" % delay)  # type: ignore[union-attr]
            return lambda: _wait_until(done.fileno(), asked)

        try:
            return count(number, arm)
        finally:
            process.kill()
            signal.signal(signal.SIGINT, previous)


def _wait_until(done: int, number: int) -> None:
    """Return after so many presses; the last one may come only now."""
    while True:
        try:
            while int.from_bytes(os.pread(done, 4, 0), "little") < number:
                time.sleep(1e-4)
            return
        except KeyboardInterrupt:
            continue


def main() -> None:
    """Print both counts as a table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=2000, help="exceptions of each kind")
    number = parser.parse_args().count
    kinds = ("raised", "state", "gradients", "autocast", "signal handlers")
    print("exceptions of", *kinds, sep=" | ")  # noqa: T201
    for name, run in (("a signal handler", count_timeouts), ("Ctrl-C", count_interrupts)):
        counts = run(number)
        print(name, *(counts[kind] for kind in kinds), sep=" | ", flush=True)  # noqa: T201


if __name__ == "__main__":
    main()

"""Ctrl-C and other signals at any moment, also while the state is being restored."""

import random
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import lrfinder
from lrfinder import LRFinder, preserve_state
from lrfinder._snapshot.snapshot import Snapshot
from tests.snapshot.helpers import World, witness

LIBRARY = str(Path(lrfinder.__file__).parent)


@pytest.fixture(autouse=True)
def handlers_are_as_before() -> Any:
    # A process that was started in the background ignores Ctrl-C.
    started_with = signal.signal(signal.SIGINT, signal.default_int_handler)
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in numbers]
    yield
    after = [signal.getsignal(number) for number in numbers]
    signal.signal(signal.SIGINT, started_with)
    assert after == before


class InterruptAt:
    """Presses Ctrl-C before some lines that the library runs while it restores."""

    def __init__(self, *lines: int) -> None:
        self.lines = lines
        self.count = 0

    def __enter__(self) -> "InterruptAt":
        self._before = sys.gettrace()  # that of a coverage measurement
        sys.settrace(self._trace)
        return self

    def __exit__(self, *_: object) -> None:
        sys.settrace(self._before)

    def _trace(self, frame: FrameType, event: str, _: Any) -> Any:
        if not frame.f_code.co_filename.startswith(LIBRARY):
            return None
        if event == "line":
            if self.count in self.lines:
                signal.raise_signal(signal.SIGINT)
            self.count += 1
        return self._trace


def restore_interrupted(*lines: int) -> tuple[World, Any, InterruptAt]:
    world = World()
    world.train(3)
    before = witness(world)
    snapshot = Snapshot(
        world.model, world.criterion, world.optimizer, world.scaler, world.metric, world.loader
    ).__enter__()
    world.train(2)
    world.metric.update(1.0)
    trace = InterruptAt(*lines)
    try:
        with trace:
            snapshot.__exit__(None, None, None)
    except KeyboardInterrupt:
        assert lines
    else:
        assert not any(line < trace.count for line in lines), "Ctrl-C was swallowed"
    return world, before, trace


def same_but_for_unnamed(world: World, before: Any) -> None:
    after = witness(world)
    for kind in set(before) - {"ema", "scheduler"}:
        assert after[kind] == before[kind], kind


def lines_of_a_restore() -> int:
    return restore_interrupted()[2].count


@pytest.mark.slow
def test_one_press_while_restoring_leaves_nothing_half_restored() -> None:
    """Wherever it comes: the whole state is restored, and only then is it raised."""
    total = lines_of_a_restore()
    assert total > 100
    # Every line of the beginning and the end, and some of the many alike between them.
    between = random.Random(0).sample(range(40, total - 40), 60)
    for line in [*range(1, 40), *between, *range(total - 40, total)]:
        world, before, _ = restore_interrupted(line)
        same_but_for_unnamed(world, before)


@pytest.mark.slow
def test_many_presses_while_restoring_leave_nothing_half_restored() -> None:
    total = lines_of_a_restore()
    for first in range(30, 60, 3):
        world, before, _ = restore_interrupted(*range(first, total - 30, 7))
        same_but_for_unnamed(world, before)


def test_ctrl_c_in_the_sweep_and_again_in_a_part_that_is_restored() -> None:
    class Impatient:
        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, _: Any) -> None:
            signal.raise_signal(signal.SIGINT)

    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    before = [p.detach().clone() for p in model.parameters()]
    finder = LRFinder(model, optimizer, nn.MSELoss(), preserve=[Impatient()])

    def press(_: float, __: float, step: int) -> None:
        if step == 3:
            signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        finder.range_test(
            [(torch.ones(2, 2), torch.ones(2, 1))], num_iter=9, progress=False, on_step=press
        )
    assert all(torch.equal(p, b) for p, b in zip(model.parameters(), before, strict=True))
    assert not optimizer.state


def test_a_request_to_terminate_waits_until_the_state_is_restored() -> None:
    arrived: list[bool] = []
    model = nn.Linear(2, 2)
    expected = model.weight.detach().clone()

    class Terminated:
        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, _: Any) -> None:
            signal.raise_signal(signal.SIGTERM)
            assert not arrived

    def handler(*_: Any) -> None:
        arrived.append(torch.equal(model.weight, expected))

    previous = signal.signal(signal.SIGTERM, handler)
    try:
        with preserve_state(model, Terminated()):
            model.weight.data.zero_()
        assert arrived == [True]
    finally:
        signal.signal(signal.SIGTERM, previous)


def test_a_part_that_fails_does_not_keep_the_others_from_being_restored() -> None:
    class Broken:
        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, _: Any) -> None:
            raise ValueError("cannot load")

    model = nn.Linear(2, 2)
    before, rng = model.weight.detach().clone(), torch.get_rng_state()

    def change() -> None:
        with preserve_state(Broken(), model):
            model.weight.data.zero_()
            torch.rand(1)

    with pytest.raises(ValueError, match="cannot load"):
        change()
    assert torch.equal(model.weight, before)
    assert torch.equal(torch.get_rng_state(), rng)


class Timeout(Exception):
    """What the handler of a test runner raises when a test takes too long."""


@pytest.fixture
def raising_alarm() -> Any:
    def handler(*_: Any) -> None:
        raise Timeout

    previous = signal.signal(signal.SIGALRM, handler)
    yield handler
    assert signal.getsignal(signal.SIGALRM) is handler
    signal.signal(signal.SIGALRM, previous)


def test_an_exception_before_the_first_line_of_the_exit_comes_after_the_restore(
    raising_alarm: Any,
) -> None:
    """Where no `try` could catch it."""
    model = nn.Linear(2, 2)
    before = model.weight.detach().clone()

    def trace(frame: FrameType, event: str, _: Any) -> Any:
        if frame.f_code is Snapshot.__exit__.__code__ and event == "call":
            signal.raise_signal(signal.SIGALRM)

    def change() -> None:
        with preserve_state(model):
            model.weight.data.zero_()
            sys.settrace(trace)

    previous = sys.gettrace()
    try:
        with pytest.raises(Timeout):
            change()
    finally:
        sys.settrace(previous)
    assert torch.equal(model.weight, before)


def test_a_handler_is_called_at_once_within_the_block(raising_alarm: Any) -> None:
    reached: list[str] = []

    def change() -> None:
        with preserve_state(nn.Linear(2, 2)):
            reached.append("before")
            signal.raise_signal(signal.SIGALRM)
            reached.append("after")

    with pytest.raises(Timeout):
        change()
    assert reached == ["before"]


def test_a_handler_that_the_block_installs_stays() -> None:
    previous = signal.getsignal(signal.SIGUSR1)
    mine = lambda *_: None  # noqa: E731
    try:
        signal.signal(signal.SIGUSR1, lambda *_: None)
        with preserve_state(nn.Linear(2, 2)):
            signal.signal(signal.SIGUSR1, mine)
        assert signal.getsignal(signal.SIGUSR1) is mine
    finally:
        signal.signal(signal.SIGUSR1, previous)


def test_every_handler_is_called_after_the_restore_and_the_first_exception_raised(
    raising_alarm: Any,
) -> None:
    calls: list[int] = []

    class Noisy:
        def state_dict(self) -> dict[str, Any]:
            return {}

        def load_state_dict(self, _: Any) -> None:
            for number in (signal.SIGALRM, signal.SIGUSR1, signal.SIGALRM):
                signal.raise_signal(number)

    previous = signal.signal(signal.SIGUSR1, lambda number, _: calls.append(number))
    try:
        with pytest.raises(Timeout), preserve_state(Noisy()):
            pass
    finally:
        signal.signal(signal.SIGUSR1, previous)
    assert calls == [signal.SIGUSR1]


def test_modes_of_torch_that_an_exception_left_set_are_as_before() -> None:
    """Such as gradients off, where the exit of `no_grad` was never reached."""
    with preserve_state():
        torch.set_grad_enabled(False)
        torch.autocast("cpu", torch.float16).__enter__()
    assert torch.is_grad_enabled()
    if hasattr(torch, "get_autocast_dtype"):
        assert not torch.is_autocast_enabled("cpu")
        assert torch.get_autocast_dtype("cpu") is torch.bfloat16
    else:  # before torch 2.4
        assert not torch.is_autocast_cpu_enabled()
        assert torch.get_autocast_cpu_dtype() is torch.bfloat16
    assert torch.autocast_increment_nesting() == 1
    torch.autocast_decrement_nesting()
    with torch.no_grad():
        with preserve_state():
            torch.set_grad_enabled(True)
        assert not torch.is_grad_enabled()


@pytest.mark.slow
@pytest.mark.usefixtures("unmeasured")
def test_nothing_is_changed_by_an_exception_at_a_random_moment() -> None:
    """In a process of its own, not measured: an exception that meets coverage in its lock hangs."""
    command = [sys.executable, "-m", "tests.benchmarks.interrupts", "--count", "100"]
    table = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, timeout=240)
    rows = [line.split(" | ")[1:] for line in table.stdout.splitlines()[1:]]
    assert len(rows) == 2  # one of exceptions from a handler, one of Ctrl-C
    for raised, *changed in rows:
        assert int(raised) > 50
        assert not any(map(int, changed))


def test_other_threads_restore_too() -> None:
    """Signals belong to the main thread; elsewhere there is nothing to defer."""
    model = nn.Linear(2, 2)
    before = model.weight.detach().clone()

    def weight_within() -> Tensor:
        with preserve_state(model):
            model.weight.data.zero_()
            return model.weight.detach().clone()

    with ThreadPoolExecutor() as pool:
        within = pool.submit(weight_within).result()
    assert within.eq(0).all()
    assert torch.equal(model.weight, before)

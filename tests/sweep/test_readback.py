"""Losses that are read late give the same record as losses that are read at once."""

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from lrfinder import LRFinder, RangeTestResult
from lrfinder._sweep.readback import DelayedReader, ImmediateReader, reader_for


class LateEvent:
    """Tells that it has come after it was asked a number of times; waiting makes it come."""

    def __init__(self, polls: int) -> None:
        self.polls = polls

    def query(self) -> bool:
        self.polls -= 1
        return self.polls < 0

    def synchronize(self) -> None:
        self.polls = 0


class LateTransfer:
    """A copy whose values are garbage until its event has come."""

    def __init__(self, delays: Sequence[int]) -> None:
        self.delays = delays
        self.begun = 0

    def __call__(self, scalars: Sequence[Tensor | float]) -> tuple[Tensor, LateEvent]:
        delay = self.delays[self.begun % len(self.delays)]
        self.begun += 1
        tensors = [s.detach() if isinstance(s, Tensor) else torch.tensor(s) for s in scalars]
        values = torch.stack([t.to(torch.float64).reshape(()) for t in tensors])
        return (host := torch.full_like(values, -1e9)), Filling(delay, host, values)


class Filling(LateEvent):
    def __init__(self, polls: int, host: Tensor, values: Tensor) -> None:
        super().__init__(polls)
        self.host, self.values = host, values

    def query(self) -> bool:
        arrived = super().query()
        if arrived:
            self.host.copy_(self.values)
        return arrived

    def synchronize(self) -> None:
        self.host.copy_(self.values)


@contextmanager
def read_late(delays: Sequence[int]) -> Iterator[None]:
    with patch(
        "lrfinder._sweep.communicator.reader_for", lambda _: DelayedReader(LateTransfer(delays))
    ):
        yield


class Boom(Exception):
    """Raised on purpose."""


class Script:
    """What happens at each step of a sweep: its losses, and perhaps a failure or a request."""

    def __init__(
        self,
        losses: list[float],
        val_losses: list[float],
        raise_at: int | None,
        callback_at: tuple[int, bool] | None,
    ) -> None:
        self.losses = losses
        self.val_losses = val_losses
        self.raise_at = raise_at
        self.callback_at = callback_at

    def run(self, **options: Any) -> tuple[Any, list[tuple[float, ...]]]:
        """Return the result, or the error, and the calls of the callback."""
        torch.manual_seed(0)
        model = nn.Linear(1, 1)
        taken = validated = 0
        calls: list[tuple[float, ...]] = []

        def training_step(model: nn.Module, _: Any) -> dict[str, Any]:
            nonlocal taken, validated
            zero = 0.0 * model.weight.sum()
            if not model.training:
                validated += 1
                return {"loss": zero + self.val_losses[validated - 1]}
            if taken == self.raise_at:
                raise Boom
            taken += 1
            return {"loss": zero + self.losses[taken - 1], "step": taken, "half": zero + taken / 2}

        def on_step(*call: float) -> bool:
            calls.append(call)
            if self.callback_at is None or call[2] != self.callback_at[0]:
                return False
            if self.callback_at[1]:
                raise KeyError("callback")
            return True

        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        finder = LRFinder(model, optimizer, training_step=training_step)
        batches = [torch.zeros(1)] * options.pop("batches", 99)
        try:
            result = finder.range_test(
                iter(batches),
                batches if self.val_losses else None,
                num_iter=len(self.losses),
                progress=False,
                on_step=on_step,
                **options,
            )
        except (Boom, KeyError) as error:
            return type(error), calls
        return result, calls


LOSSES = st.one_of(
    st.floats(0, 2),
    st.floats(-1e3, 1e3, allow_nan=False),
    st.sampled_from([math.nan, math.inf, 1e30]),
)


@st.composite
def scripts(draw: st.DrawFn) -> Script:
    count = draw(st.integers(2, 12))
    finite = draw(st.booleans())
    losses = st.floats(0, 2) if finite else LOSSES
    steps = st.integers(0, count - 1)
    return Script(
        draw(st.lists(losses, min_size=count, max_size=count)),
        draw(st.one_of(st.just([]), st.lists(LOSSES, min_size=count, max_size=count))),
        draw(st.one_of(st.none(), steps)),
        draw(st.one_of(st.none(), st.tuples(steps, st.booleans()))),
    )


def text(outcome: Any) -> str:
    """Compare by what is written: NaN equals NaN, and all else must be equal digit by digit."""
    result, calls = outcome
    return repr(result.to_dict() if isinstance(result, RangeTestResult) else result) + repr(calls)


@pytest.mark.slow
@settings(max_examples=150, deadline=None)
@given(
    script=scripts(),
    delays=st.lists(st.integers(0, 6), min_size=1, max_size=12),
    batches=st.integers(1, 14),
    val_every=st.integers(1, 3),
    smooth_f=st.sampled_from([0.0, 0.05, 0.5]),
)
def test_whatever_comes_late_the_record_is_the_same(
    script: Script, delays: list[int], batches: int, val_every: int, smooth_f: float
) -> None:
    """Rates, losses, validation, metrics, stop reason, errors and what the callback was told."""
    options = {"batches": batches, "val_every": val_every, "smooth_f": smooth_f}
    at_once = script.run(**options)
    with read_late(delays):
        late = script.run(**options)
    assert text(late) == text(at_once)


def test_a_failure_past_a_stop_that_was_not_known_yet_never_happened() -> None:
    """The loss is NaN at the third step, which is read only after the fifth has failed."""
    script = Script([1.0, 1.0, math.nan, 1.0, 1.0, 1.0], [], raise_at=4, callback_at=None)
    with read_late([9]):
        result, calls = script.run()
    assert result.stop_reason.value == "non-finite loss"
    assert len(result) == len(calls) == 3


def test_a_failure_before_any_stop_arrives_as_it_is() -> None:
    with read_late([9]):
        assert Script([1.0] * 4, [], raise_at=2, callback_at=None).run()[0] is Boom


def test_values_are_not_looked_at_before_they_have_come() -> None:
    """A reader gives nothing until the event says so, and everything in order."""
    reader = DelayedReader(LateTransfer([2, 0, 0]))
    assert reader.push([torch.tensor(1.0)], [1]) == []
    assert reader.push([torch.tensor(2.0)], [1]) == []
    assert reader.push([torch.tensor(3.0), 4.0], [1, 1]) == [[1.0], [2.0], [3.0, 4.0]]
    assert reader.push([5.0], [1]) == []
    assert reader.drain() == [[5.0]]


class CountReads(TorchDispatchMode):
    """Counts how often a tensor is turned into a number, for which a device must be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self.reads = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten._local_scalar_dense.default:
            self.reads += 1
        return func(*args, **(kwargs or {}))


OPTIONS: dict[str, dict[str, Any]] = {
    "plain": {},
    "clipped": {"clip_grad": 1.0},
    "autocast": {"autocast": torch.autocast("cpu", torch.bfloat16)},
}


def training() -> tuple[nn.Module, Any, list[tuple[Tensor, Tensor]]]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    batches = [(torch.randn(6, 4), torch.randn(6, 1)) for _ in range(3)]
    return model, optimizer, batches


@pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)
@pytest.mark.parametrize("with_validation", [False, True])
def test_between_first_and_last_step_no_tensor_is_read(
    options: dict[str, Any], with_validation: bool
) -> None:
    """As many reads in 30 steps as in 5: none of them belongs to a step."""
    reads = []
    for steps in (5, 30):
        model, optimizer, batches = training()
        finder = LRFinder(model, optimizer, nn.MSELoss(), **options)
        with read_late([3]), CountReads() as counter:
            finder.range_test(
                batches,
                batches if with_validation else None,
                num_iter=steps,
                end_lr=0.01,
                progress=False,
                diverge_th=math.inf,
            )
        reads.append(counter.reads)
    assert reads[0] == reads[1]


def test_the_count_of_the_test_above_sees_a_read() -> None:
    with CountReads() as counter:
        ImmediateReader().push([torch.ones(())], [1])
    assert counter.reads == 1


def test_host_losses_are_read_at_once_and_those_of_a_device_late() -> None:
    assert isinstance(reader_for(torch.device("cpu")), ImmediateReader)
    assert isinstance(reader_for(torch.device("cuda")), DelayedReader)

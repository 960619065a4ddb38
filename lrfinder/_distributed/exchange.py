"""One small sum over all processes, begun in the background and waited for later."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any, Protocol

import torch
import torch.distributed as dist
from torch import Tensor

# How long a process waits before it looks whether another one has told a failure.
_LOOK_AROUND = timedelta(seconds=1)
# Seconds between two looks whether a device has finished.
_PAUSE = 5e-5


class Exchange(Protocol):
    """A sum that is under way."""

    def finish(self) -> list[float]:
        """Wait for it; return the sums, and behind them the last number of this process alone."""


def begin_exchange(
    vector: Tensor, group: dist.ProcessGroup, look_around: Callable[[], None]
) -> Exchange:
    """Begin the sum of a vector over all processes of a group.

    Args:
        vector: shape `(n,)`, of the same length everywhere; it is overwritten.
        group: its backend serves the device of `vector`.
        look_around: called about once per second of waiting; raises if there is nothing to wait
            for any more.
    """
    if vector.device.type in ("cuda", "xpu"):
        return _OnDevice(vector, group, look_around)
    return _OnHost(vector, group, look_around)


class _OnHost:
    def __init__(
        self, vector: Tensor, group: dist.ProcessGroup, look_around: Callable[[], None]
    ) -> None:
        self._own = float(vector[-1])
        self._vector = vector
        self._look_around = look_around
        self._work: Any = dist.all_reduce(vector, group=group, async_op=True)

    def finish(self) -> list[float]:
        """Wait for the sum; the time-out of the group ends the wait."""
        while not self._work.is_completed():
            try:
                self._work.wait(_LOOK_AROUND)
            except RuntimeError:
                self._look_around()
        self._work.wait()  # raises if it was completed by a failure
        return [*self._vector.tolist(), self._own]


class _OnDevice:
    """The sum, and its way to the host, beside the stream of the training."""

    def __init__(
        self, vector: Tensor, group: dist.ProcessGroup, look_around: Callable[[], None]
    ) -> None:
        runtime: Any = getattr(torch, vector.device.type)
        self._look_around = look_around
        self._vector, self._own = vector, vector[-1:].clone()  # held until they have been copied
        self._host = torch.empty(len(vector) + 1, dtype=vector.dtype, pin_memory=True)
        self._event = runtime.Event()
        side = _side_stream(runtime, vector.device)
        side.wait_stream(runtime.current_stream(vector.device))
        with runtime.stream(side):
            dist.all_reduce(vector, group=group, async_op=True).wait()  # the side stream waits
            self._host[:-1].copy_(vector, non_blocking=True)
            self._host[-1:].copy_(self._own, non_blocking=True)
            self._event.record(side)

    def finish(self) -> list[float]:
        """Wait for the sum; the watchdog of the backend ends the wait."""
        looked = time.monotonic()
        while not self._event.query():
            time.sleep(_PAUSE)
            if time.monotonic() - looked > _LOOK_AROUND.total_seconds():
                self._look_around()
                looked = time.monotonic()
        values: list[float] = self._host.tolist()
        return values


_streams: dict[torch.device, Any] = {}


def _side_stream(runtime: Any, device: torch.device) -> Any:
    if device not in _streams:
        _streams[device] = runtime.Stream(device)
    return _streams[device]

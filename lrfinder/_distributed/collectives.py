"""Collectives: a sum that is begun in the background, and the way out of one that never ends."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from datetime import timedelta
from functools import cache
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor

# Waits for a sum; returns it, and the last number of the vector of this rank.
Wait = Callable[[], tuple[list[float], float]]

# A waiting rank checks this often whether another one has reported a failure.
_CHECK_EVERY = timedelta(seconds=1)
# Seconds between two checks whether the device has finished.
_PAUSE = 5e-5
# A tag on which nobody sends.
_UNUSED_TAG = 0x1F1D


def begin_sum(vector: Tensor, group: dist.ProcessGroup, check: Callable[[], None]) -> Wait:
    """Begin the sum of a vector over all ranks of a group; return the call that waits for it.

    Args:
        vector: shape `(n,)`, of the same length on every rank; it is overwritten.
        group: its backend serves the device of `vector`.
        check: called about once per second of waiting; raises if waiting has become useless.
    """
    if vector.device.type in ("cuda", "xpu"):
        return _begin_on_device(vector, group, check)
    own = float(vector[-1])
    work: Any = dist.all_reduce(vector, group=group, async_op=True)

    def wait() -> tuple[list[float], float]:
        while not work.is_completed():
            try:
                work.wait(_CHECK_EVERY)
            except RuntimeError:
                check()
        work.wait()  # raises if it was completed by a failure
        return vector.tolist(), own

    return wait


def _begin_on_device(vector: Tensor, group: dist.ProcessGroup, check: Callable[[], None]) -> Wait:
    """Begin the sum and its copy to the host beside the stream of the training."""
    runtime: Any = getattr(torch, vector.device.type)
    numbers = torch.cat((vector, vector[-1:]))
    host = torch.empty(len(numbers), dtype=numbers.dtype, device="cpu", pin_memory=True)
    event, side = runtime.Event(), _side_stream(runtime, vector.device)
    side.wait_stream(runtime.current_stream(vector.device))
    with runtime.stream(side):
        dist.all_reduce(numbers[:-1], group=group, async_op=True).wait()  # the side stream waits
        host.copy_(numbers, non_blocking=True)
        event.record(side)

    def wait(_held_until_copied: Tensor = numbers) -> tuple[list[float], float]:
        checked = time.monotonic()
        while not event.query():
            time.sleep(_PAUSE)
            if time.monotonic() - checked > _CHECK_EVERY.total_seconds():
                check()
                checked = time.monotonic()
        *sums, own = host.tolist()
        return sums, own

    return wait


@cache
def _side_stream(runtime: Any, device: torch.device) -> Any:
    return runtime.Stream(device)


def is_lost_connection(error: BaseException) -> bool:
    """Return whether an error comes from a collective or a store that another rank has left."""
    # Gloo raises plain errors, which are recognised by the place in its source that they name.
    return isinstance(error, dist.DistError) or (
        type(error) is RuntimeError
        and any(sign in str(error) for sign in ("gloo/", "pair closure"))
    )


def close_connections(groups: Iterable[dist.ProcessGroup]) -> None:
    """Close the connections of process groups, so that nobody waits in them for this rank."""
    for group in groups:
        with suppress(RuntimeError, AttributeError):  # older versions of torch have no abort
            group.abort()
        # Gloo has no abort, but it closes all connections when a receive runs out of time.
        rank = dist.get_rank(group)
        other = dist.get_global_rank(group, (rank + 1) % dist.get_world_size(group))
        with suppress(RuntimeError):
            work: Any = dist.irecv(torch.empty(1), other, group, tag=_UNUSED_TAG)
            work.wait(timedelta(milliseconds=1))


def timeout_of(group: dist.ProcessGroup) -> float:
    """Return the timeout of a process group in seconds."""
    backend: Any = group._get_backend(group._device_types[0])
    timeout = backend.options._timeout if hasattr(backend, "options") else dist.default_pg_timeout
    return float(timeout.total_seconds())

"""Lost and closed connections: how ranks get out of a collective that one of them has left."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import torch
import torch.distributed as dist

# A tag on which nobody sends.
_UNUSED_TAG = 0x1F1D


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
        with suppress(RuntimeError):
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
    if hasattr(backend, "options"):
        return float(backend.options._timeout.total_seconds())
    return float(dist.default_pg_timeout.total_seconds())

"""Which process shows, writes and warns for all of them."""

from __future__ import annotations

import os
import sys


def is_rank_zero() -> bool:
    """Return whether this process is rank 0 of its process group, or has no group."""
    return _rank_in_group() in (None, 0)


def is_main_process() -> bool:
    """Return the same; before there is a process group, look at `RANK`, which launchers set."""
    rank = _rank_in_group()
    return (os.environ.get("RANK", "0") == "0") if rank is None else rank == 0


def _rank_in_group() -> int | None:
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return None
    return int(distributed.get_rank())

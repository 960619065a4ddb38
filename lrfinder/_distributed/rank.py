"""Which process shows, writes and warns for all of them."""

from __future__ import annotations

import os

import torch.distributed as dist


def is_rank_zero() -> bool:
    """Return whether this process is rank 0 of its process group, or has no group."""
    return not has_process_group() or dist.get_rank() == 0


def is_rank_zero_of_launch() -> bool:
    """Return the same, also before there is a process group.

    It then reads the environment variable `RANK`, which launchers such as torchrun set.
    """
    return is_rank_zero() if has_process_group() else os.environ.get("RANK", "0") == "0"


def has_process_group() -> bool:
    """Return whether there is a default process group."""
    return dist.is_available() and dist.is_initialized()

"""Which of several processes shows, writes and warns for all of them."""

from __future__ import annotations

import os
import sys


def is_main_process() -> bool:
    """Tell whether this process is the only one or rank 0 of several.

    Before a process group exists, the rank that the launcher has set in the environment counts.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is not None and distributed.is_available() and distributed.is_initialized():
        return bool(distributed.get_rank() == 0)
    return os.environ.get("RANK", "0") == "0"

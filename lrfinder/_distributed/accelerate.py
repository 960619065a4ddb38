"""What Hugging Face Accelerate has prepared around an optimizer.

Accelerate is never imported: its objects are recognised by the module of their class.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch.optim import Optimizer

from lrfinder._errors import InvalidInputError


class Preparation(NamedTuple):
    """The optimizer that steps, the scaler of fp16 training, and micro-batches per step, >= 1."""

    optimizer: Optimizer
    scaler: torch.amp.GradScaler | None = None
    accumulation_steps: int = 1


def preparation_of(optimizer: Optimizer, *, has_own_step: bool) -> Preparation:
    """Return what Accelerate has prepared.

    Args:
        optimizer: prepared or not.
        has_own_step: the user's function does the whole step.

    Raises:
        InvalidInputError: if an engine such as DeepSpeed steps, and no function of the user's.
    """
    if type(optimizer).__module__.partition(".")[0] != "accelerate":
        return Preparation(optimizer)
    prepared: Any = optimizer
    if type(prepared).__name__ != "AcceleratedOptimizer":
        if has_own_step:
            return Preparation(optimizer)
        raise InvalidInputError(
            f"expected an optimizer that steps by itself, got a {type(prepared).__name__}, whose "
            "engine steps in its place; do the whole update in update_step=f(model, batch)"
        )
    steps = int(prepared.gradient_state.num_steps)
    return Preparation(prepared.optimizer, prepared.scaler, steps)

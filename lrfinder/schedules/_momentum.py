"""Whether an optimizer has a momentum that a schedule can cycle."""

from __future__ import annotations

from typing import Any

from torch.optim import Optimizer


def cycled_momentum(optimizer: Optimizer, low: float, high: float) -> dict[str, Any]:
    """Return the momentum arguments of `CyclicLR` and `OneCycleLR` that fit the optimizer.

    torch asks only whether the optimizer knows the setting, and so would switch on the momentum
    of SGD or RMSprop that has none. A group without momentum keeps 0.

    Args:
        optimizer: its first beta (Adam, AdamW, ...) or its `momentum` (SGD, RMSprop, Muon) is read.
        low: momentum at the highest rate, in [0, 1).
        high: momentum at the lowest rate, in [0, 1).
    """
    momenta = [_momentum(optimizer, group) for group in optimizer.param_groups]
    if not any(momenta):
        return {"cycle_momentum": False}
    return {
        "cycle_momentum": True,
        "base_momentum": [low if momentum else 0.0 for momentum in momenta],
        "max_momentum": [high if momentum else 0.0 for momentum in momenta],
    }


def _momentum(optimizer: Optimizer, group: dict[str, Any]) -> float:
    # The same order as torch's: betas win over a momentum of the same optimizer.
    if "betas" in optimizer.defaults:
        return float(group["betas"][0])
    if "momentum" in optimizer.defaults:
        return float(group["momentum"])
    return 0.0

"""Modules sharded with `fully_shard`: their parameters as shards, their state between iterations.

They are recognized by their methods, so that FSDP is not imported for a model without it.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from torch import nn


def reshard(model: nn.Module) -> None:
    """Free gathered parameters of `fully_shard`, so that its modules hold their shards again."""
    for module in fsdp_modules(model):
        module.reshard()


def reset_sharded_state(model: nn.Module) -> None:
    """Reset modules of `fully_shard` from anywhere within an iteration to between two of them.

    The gradients of that iteration are lost.
    """
    for root in _fsdp_roots(model):
        with suppress(RuntimeError):  # of a collective that was under way
            if hasattr(root, "reset_iter_state"):
                root.reset_iter_state()
    reshard(model)


def fsdp_modules(model: nn.Module) -> list[Any]:
    """Return the modules that `fully_shard` was called on."""
    return [module for module in model.modules() if _is_fsdp(module)]


def _is_fsdp(module: nn.Module) -> bool:
    return hasattr(module, "reshard") and hasattr(module, "set_requires_gradient_sync")


def _fsdp_roots(module: nn.Module) -> Iterator[Any]:
    if _is_fsdp(module):
        yield module
        return
    for child in module.children():
        yield from _fsdp_roots(child)

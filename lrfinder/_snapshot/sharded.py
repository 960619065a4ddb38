"""Modules of FSDP: brought back to where they hold their shards, between two iterations.

They are recognised by what they can do, so that nothing is imported for a model that has none.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from typing import Any

from torch import nn


def reshard(model: nn.Module) -> None:
    """Free gathered parameters, so that modules hold their shards again.

    `fully_shard` and `FullyShardedDataParallel` leave those of the root gathered after a forward
    pass without gradients.
    """
    for module in fsdp_modules(model):
        module.reshard()
    for module in model.modules():
        handle: Any = vars(module).get("_handle")  # of `FullyShardedDataParallel`
        if hasattr(getattr(handle, "flat_param", None), "_full_param_padded"):
            handle.reshard(free_unsharded_flat_param=True)


def reset_sharded_state(model: nn.Module) -> None:
    """Bring modules of `fully_shard` from anywhere within an iteration back to its beginning.

    The gradients of that iteration are lost.
    """
    for root in _roots(model):
        # RuntimeError: a collective was under way. AttributeError: an older torch has no such
        # method, or the model has not run a forward pass and has nothing to reset.
        with suppress(RuntimeError, AttributeError):
            root.reset_iter_state()
    reshard(model)


def fsdp_modules(model: nn.Module) -> list[Any]:
    """Return the modules to which `fully_shard` was applied."""
    return [module for module in model.modules() if _is_fsdp(module)]


def _is_fsdp(module: nn.Module) -> bool:
    return hasattr(module, "reshard") and hasattr(module, "set_requires_gradient_sync")


def _roots(module: nn.Module) -> Iterator[Any]:
    if _is_fsdp(module):
        yield module
        return
    for child in module.children():
        yield from _roots(child)

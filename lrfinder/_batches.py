"""An endless walk over any iterable of batches, and the way of a batch to its device."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lrfinder._errors import InvalidInputError


class OutOfDataError(Exception):
    """The loader ended and gives nothing when it is started again."""


class Batches:
    """An endless iterator over a loader, which is started again whenever it ends.

    Args:
        loader: any iterable of batches. A generator can be walked only once.
        cached: hold the first `cached` batches and repeat them, which takes the noise of the data
            out of the curve; None walks through all of them.

    Raises:
        InvalidInputError: if the loader gives no batch at all.
    """

    def __init__(self, loader: Iterable[Any], cached: int | None = None) -> None:
        self._loader = _own_workers(loader)
        self._iterator: Iterator[Any] = iter(self._loader)
        try:
            self.first = next(self._iterator)
        except StopIteration:
            raise InvalidInputError(
                "expected a loader with at least one batch, got an empty one; check its data set, "
                "batch_size and drop_last, or whether a generator was already used up"
            ) from None
        self._pending = [self.first]
        if cached is not None:
            self._keep(cached)

    def _keep(self, count: int) -> None:
        held = [self.first]
        for batch in self._iterator:
            if len(held) == count:
                break
            held.append(batch)
        self.close()
        self._loader, self._iterator, self._pending = held, iter(held), []

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if self._pending:
            return self._pending.pop()
        try:
            return next(self._iterator)
        except StopIteration:
            return self._restart()

    def _restart(self) -> Any:
        self._iterator = iter(self._loader)
        try:
            return next(self._iterator)
        except StopIteration:
            raise OutOfDataError from None

    def close(self) -> None:
        """End the worker processes of a loader, also where a traceback holds on to it."""
        shutdown = getattr(self._iterator, "_shutdown_workers", None)
        if shutdown is not None:
            shutdown()
        self._iterator = iter(())


def _own_workers(loader: Iterable[Any]) -> Iterable[Any]:
    """Return a loader whose persistent workers, if any, are not those of the user.

    Persistent workers keep random state of their own that no snapshot reaches, so the user's are
    left alone and the sweep starts a set that ends with it.
    """
    if isinstance(loader, DataLoader) and loader.persistent_workers:
        own = copy.copy(loader)
        own._iterator = None
        return own
    return loader


def to_device(batch: Any, device: torch.device) -> Any:
    """Move every tensor of a nested batch, and every object that has `.to`, to a device.

    Args:
        batch: tensors in dicts, lists, tuples or named tuples, nested as deep as you like.
        device: where they go.
    """
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=True)
    if hasattr(batch, "to"):
        return batch.to(device)
    if isinstance(batch, Mapping):
        return {key: to_device(value, device) for key, value in batch.items()}
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*(to_device(value, device) for value in batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(to_device(value, device) for value in batch)
    return batch


def batch_size(batch: Any) -> int | None:
    """Return the length of the first tensor found in a nested batch; None if there is none."""
    if isinstance(batch, Tensor):
        return batch.shape[0] if batch.dim() else None
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if not isinstance(batch, (list, tuple)):
        return None
    return next((size for size in map(batch_size, batch) if size is not None), None)

"""One batch of any form: moving it to a device, its size, and pieces of it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import torch
from torch import Tensor

from lrfinder._snapshot.references import attribute


def to_device(batch: Any, device: torch.device) -> Any:
    """Move the tensors in nested dicts, lists and tuples, and objects with `.to`, to a device."""
    if isinstance(batch, Tensor):
        return batch.to(device, non_blocking=device.type == "cuda")
    if type(batch) is list or type(batch) is tuple:
        for part in batch:
            if not isinstance(part, Tensor) or part.device != device:
                return type(batch)([to_device(part, device) for part in batch])
        return type(batch)(batch)  # nothing to move, as usual on the CPU: this path must be fast
    if callable(getattr(type(batch), "to", None)):
        return copy.copy(batch).to(device)  # many such objects move themselves in place
    return _map_parts(lambda part: to_device(part, device), batch)


def batch_size(batch: Any) -> int | None:
    """Return the number of samples in a nested batch; None if unknown.

    It is the batch's own `num_graphs` or `batch_size`, if it has one. Otherwise it is the length of
    the last tensor, which usually holds the targets, or of a list of dicts with one per sample.

    Example:
        >>> batch_size((torch.zeros(8, 3), torch.zeros(8)))
        8
        >>> batch_size(([torch.zeros(3, 9, 9)] * 2, [{"boxes": torch.zeros(5, 4)}] * 2))
        2
    """
    if isinstance(batch, Tensor):
        return batch.shape[0] if batch.dim() else None
    for name in ("num_graphs", "batch_size"):
        if isinstance(size := attribute(batch, name), int):
            return size
    if isinstance(batch, Mapping):
        batch = list(batch.values())
    if not isinstance(batch, (list, tuple)) or not batch:
        return None
    if isinstance(batch[-1], Tensor) and batch[-1].dim():
        return batch[-1].shape[0]
    if isinstance(batch[0], Mapping) and all(isinstance(part, Mapping) for part in batch):
        return len(batch)
    sizes = map(batch_size, reversed(batch))
    return next((size for size in sizes if size is not None), None)


def total_size(batches: Sequence[Any]) -> int | None:
    """Return the number of samples in several batches; None if that of one is unknown."""
    return sum_sizes([batch_size(batch) for batch in batches])


def sum_sizes(sizes: Sequence[int | None]) -> int | None:
    """Return the sum of the sizes of batches; None if one of them is unknown."""
    known = [size for size in sizes if size is not None]
    return sum(known) if len(known) == len(sizes) else None


def batch_weights(batches: Sequence[Any]) -> list[float]:
    """Return each batch's share of the samples; equal shares if the size of one is unknown."""
    return shares([batch_size(batch) for batch in batches])


def shares(sizes: Sequence[int | None]) -> list[float]:
    """Return each size divided by their sum; equal shares if one is unknown."""
    total = sum_sizes(sizes)
    if not total:
        return [1 / len(sizes)] * len(sizes)
    return [(size or 0) / total for size in sizes]


def pieces(batch: Any, size: int) -> Iterator[Any]:
    """Yield pieces of `size` samples; a batch with fewer, or that cannot be cut, as it is.

    A remainder is left out: a loss of few samples may not be defined. What can be cut is a batch
    whose parts are tensors of one length.

    Example:
        >>> [piece.tolist() for piece in pieces(torch.arange(5), 2)]
        [[0, 1], [2, 3]]
    """
    leaves = list(_leaves(batch))
    are_rows = all(isinstance(leaf, Tensor) and leaf.dim() for leaf in leaves)
    lengths = {len(leaf) for leaf in leaves} if are_rows else set()
    if len(lengths) != 1 or min(lengths) < size:
        yield batch
        return
    for end in range(size, min(lengths) + 1, size):
        yield _cut(batch, slice(end - size, end))


def _cut(batch: Any, samples: slice) -> Any:
    if isinstance(batch, Tensor):
        return batch[samples]
    return _map_parts(lambda part: _cut(part, samples), batch)


def _leaves(batch: Any) -> Iterator[Any]:
    if isinstance(batch, (Mapping, list, tuple)):
        for part in batch.values() if isinstance(batch, Mapping) else batch:
            yield from _leaves(part)
    else:
        yield batch


def _map_parts(function: Callable[[Any], Any], batch: Any) -> Any:
    """Apply a function to the parts of a dict, list or tuple; anything else stays as it is."""
    if isinstance(batch, Mapping):
        parts = {key: function(value) for key, value in batch.items()}
        if type(batch) is dict or not isinstance(batch, MutableMapping):
            return parts
        like = copy.copy(batch)  # a subclass may have attributes that the step reads
        like.update(parts)
        return like
    if isinstance(batch, tuple) and hasattr(batch, "_fields"):
        return type(batch)(*map(function, batch))
    if isinstance(batch, (list, tuple)):
        return type(batch)(map(function, batch))
    return batch

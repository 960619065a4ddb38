"""Tensors as memory: the bytes they occupy, each byte once, and their flags.

Copying bytes keeps every number exactly (NaN payloads, 16-bit and 8-bit floats, complex,
quantized), and memory that several tensors share is copied once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from lrfinder._snapshot.containers import Restore

_HOOKS = ("_backward_hooks", "_post_accumulate_grad_hooks")


class Region(NamedTuple):
    """Consecutive bytes in the memory of one storage.

    Attributes:
        storage: owns the memory; held, so that it is not freed in the meantime.
        start: first byte.
        size: number of bytes.
    """

    storage: torch.UntypedStorage
    start: int
    size: int

    def bytes(self) -> Tensor:
        """Return a view of the memory as bytes, shape `(size,)`."""
        flat = torch.empty(0, dtype=torch.uint8, device=self.storage.device)
        return flat.set_(self.storage, self.start, (self.size,), (1,))


def has_values(tensor: Tensor) -> bool:
    """Return whether there are values to keep: not if empty, nor if the memory was freed."""
    return tensor.layout != torch.strided or (
        tensor.numel() > 0 and tensor.untyped_storage().data_ptr() != 0
    )


def is_dense(tensor: Tensor) -> bool:
    """Return whether the tensor fills its memory from its first to its last byte."""
    return tensor.layout == torch.strided and _extent(tensor) <= _written_once(tensor).numel()


def regions(tensors: Iterable[Tensor]) -> Iterator[Region]:
    """Return the memory of dense tensors, every byte once: tied weights and views overlap."""
    storages: dict[tuple[torch.device, int], torch.UntypedStorage] = {}
    spans: dict[tuple[torch.device, int], list[tuple[int, int]]] = {}
    for tensor in tensors:
        storage = tensor.untyped_storage()
        place = (tensor.device, storage.data_ptr())
        # Storages that other libraries made may begin alike and end elsewhere.
        storages[place] = max(storage, storages.get(place, storage), key=len)
        start = int(tensor.storage_offset()) * tensor.element_size()
        spans.setdefault(place, []).append((start, start + _extent(tensor) * tensor.element_size()))
    for place, storage in storages.items():
        for start, end in _merged(spans[place]):
            yield Region(storage, start, end - start)


def capture_flags(tensor: Tensor) -> Restore:
    """Return a call that restores what a leaf tensor has besides its values.

    That is its memory (if `tensor.data` was replaced), `requires_grad`, the gradient object (None
    stays None) and its hooks.
    """
    values, requires_grad, grad = tensor.detach(), tensor.requires_grad, tensor.grad
    hooks = {name: dict(getattr(tensor, name, None) or {}) for name in _HOOKS}

    def restore() -> None:
        if not _same_memory(tensor, values):
            tensor.data = values
        if not tensor.is_leaf:  # written in place with a graph, as by `self.total += loss`
            tensor.detach_()
        if tensor.requires_grad != requires_grad:
            tensor.requires_grad_(requires_grad)
        if tensor.grad is not grad:
            tensor.grad = grad
        for name, before in hooks.items():
            if (now := getattr(tensor, name, None)) is not None:
                now.clear()
                now.update(before)
        if not tensor.is_inference():
            # Autograd does not see how the values are written: tell it.
            torch.autograd.graph.increment_version(tensor)

    return restore


def hooks_of(tensor: Tensor) -> Iterator[Any]:
    """Return the functions that autograd calls with the gradient of a tensor."""
    for name in _HOOKS:
        yield from (getattr(tensor, name, None) or {}).values()


def capture_values(tensor: Tensor) -> Restore:
    """Return a call that restores the values of a tensor that is not dense.

    Examples are a sparse tensor and every other column of a matrix. The copy is in host memory.
    """
    copied = _written_once(tensor.detach()).to("cpu", copy=True)

    def restore() -> None:
        with torch.inference_mode() if tensor.is_inference() else torch.no_grad():
            _written_once(tensor).copy_(copied)

    return restore


def _same_memory(one: Tensor, other: Tensor) -> bool:
    """Return whether two tensors are surely views of the same values."""
    return (
        one.layout == other.layout == torch.strided
        and (one.dtype, one.device, one.shape) == (other.dtype, other.device, other.shape)
        and (one.stride(), one.data_ptr()) == (other.stride(), other.data_ptr())
    )


def _extent(tensor: Tensor) -> int:
    """Return the number of elements from the first one in memory to the last one."""
    return 1 + sum(
        (size - 1) * stride for size, stride in zip(tensor.shape, tensor.stride(), strict=True)
    )


def _written_once(tensor: Tensor) -> Tensor:
    """Return a view without the dimensions along which an expanded tensor repeats itself."""
    strides = tensor.stride() if tensor.layout == torch.strided else ()
    for dim, stride in enumerate(strides):
        if stride == 0:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor


def _merged(spans: list[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """Join spans that overlap or touch."""
    spans = sorted(spans)
    start, end = spans[0]
    for next_start, next_end in spans[1:]:
        if next_start > end:
            yield start, end
            start = next_start
        end = max(end, next_end)
    yield start, end

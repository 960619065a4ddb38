"""Capture and restore: everything that a range test may change is put back in place.

A snapshot walks the objects it is given: a module, its submodules and their attributes; an
optimizer, its groups and its state; a gradient scaler; a loader and its samplers. Each mutable
thing met on the way is remembered once, together with the way to put it back. Restoring writes
into the same objects at the same storage, so references that others hold, such as the buckets of
`DistributedDataParallel`, tied weights or a compiled step, stay valid.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Sampler

from lrfinder import _rng
from lrfinder._errors import InvalidInputError
from lrfinder._storage import PutBack, Storage, Where, open_storage

# Objects that are captured as the sum of their attributes.
_TRANSPARENT = (Optimizer, torch.amp.GradScaler, LRScheduler, Sampler)
# Values that cannot change: met often, and nothing to remember.
_IMMUTABLE = frozenset({type(None), bool, int, float, complex, str, bytes, type})


@contextmanager
def preserve_state(*objects: Any, snapshot: Where = "memory") -> Iterator[None]:
    """Put everything back as it was when the block is left, however it is left.

    For people with a loop of their own. Within the block, train as you like; afterwards training
    goes on bit for bit as if the block had not been there. Besides the state of the objects,
    the random number generators of torch (CPU and accelerators in use), numpy and Python are
    restored.

    Not restored, because it cannot be: an iterator that is held elsewhere and was drawn from, data
    sets that change while they are read, and plain attributes that hold objects of other classes.

    Args:
        *objects: modules, optimizers, gradient scalers, schedulers, loaders, samplers, generators,
            and anything that has `state_dict` and `load_state_dict`.
        snapshot: `"memory"` keeps the copies in host memory; `"disk"` in a temporary file that is
            gone afterwards whatever happens; a `pathlib.Path` names its directory.

    Raises:
        InvalidInputError: if an object is of a kind whose state cannot be captured.
        SnapshotError: if the disk is full or not writable; nothing was changed.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> before = model.weight.clone()
        >>> with preserve_state(model, optimizer):
        ...     model(torch.ones(1, 2)).sum().backward()
        ...     optimizer.step()
        >>> torch.equal(model.weight, before), model.weight.grad is None
        (True, True)
    """
    with Snapshot(*objects, where=snapshot):
        yield


class Snapshot:
    """The state of some objects at one moment; leaving it as a context restores that moment.

    Args:
        *objects: as for `preserve_state`.
        where: `"memory"`, `"disk"` or a directory.
    """

    def __init__(self, *objects: Any, where: Where = "memory") -> None:
        self._seen: dict[int, Any] = {}  # holds what it has seen, so that no id is used twice
        self._put_back: list[PutBack] = []
        self._put_back_random: list[PutBack] = []
        self._tensors: list[Tensor] = []
        self._memory: set[tuple[Any, ...]] = set()
        self._storage: Storage = open_storage(where)
        try:
            for thing in objects:
                self._visit_named(thing)
            self._store_tensors()
            self._put_back_random.append(_rng.capture())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.restore()
        finally:
            self.close()

    def close(self) -> None:
        """Forget the copies, also where a traceback still holds on to this object."""
        for kept in (self._seen, self._put_back, self._put_back_random, self._tensors):
            kept.clear()
        self._storage.close()

    @torch.no_grad()
    def restore(self, *, rng: bool = True) -> None:
        """Put everything back in place; may be called again.

        Every part is put back even if another one fails or Ctrl-C is pressed meanwhile; the
        first such exception is raised at the end.

        Args:
            rng: also put back the random number generators; without, the next epoch draws a new
                order of the data.
        """
        first_error: BaseException | None = None
        for put_back in (*self._put_back, *(self._put_back_random if rng else ())):
            first_error = first_error or _finish(put_back)
        if first_error is not None:
            raise first_error

    def _visit_named(self, thing: Any) -> None:
        """Remember an object that was passed in by name, which must not be overlooked."""
        if isinstance(thing, DataLoader):
            self._visit_loader(thing)
        elif _handler(thing) is not None:
            self._visit(thing)
        elif hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict"):
            self._put_back.append(_by_state_dict(thing))
        else:
            raise InvalidInputError(
                "expected a module, an optimizer or an object with state_dict and "
                f"load_state_dict, got {type(thing).__name__}; leave it out or give it both"
            )

    def _visit_loader(self, loader: DataLoader[Any]) -> None:
        for part in (loader.generator, loader.sampler, loader.batch_sampler):
            self._visit(part)
        # A data set may be huge: only its generators are looked at.
        for value in getattr(loader.dataset, "__dict__", {}).values():
            if isinstance(value, _rng.GENERATORS):
                self._visit(value)

    def _visit(self, root: Any) -> None:
        """Remember `root` and everything that is reached from it."""
        pending = deque([root])
        while pending:
            thing = pending.popleft()
            handler = None if type(thing) in _IMMUTABLE else _handler(thing)
            if handler is None or id(thing) in self._seen:
                continue
            self._seen[id(thing)] = thing
            pending.extend(handler(self, thing))

    def _remember_tensor(self, tensor: Tensor) -> Iterable[Any]:
        if not tensor.is_leaf:
            # Part of a graph that a step built; only its values can be kept.
            self._keep_values(tensor)
            return ()
        values = tensor.detach()  # holds on to the storage, also if `tensor.data` is replaced
        self._put_back.append(_tensor_flags(tensor, values))
        self._keep_values(values)
        return (tensor.grad,)

    def _keep_values(self, tensor: Tensor) -> None:
        values = _written_once(_local(tensor.detach()))
        place = _place(values)
        if place not in self._memory:
            self._memory.add(place)
            self._tensors.append(values)

    def _store_tensors(self) -> None:
        self._storage.reserve(sum(t.numel() * t.element_size() for t in self._tensors))
        for values in self._tensors:
            keep = self._storage.keep if values.layout == torch.strided else _keep_sparse
            self._put_back.append(keep(values))

    def _remember_dict(self, mapping: dict[Any, Any]) -> Iterable[Any]:
        content = dict(mapping)

        def put_back() -> None:
            if not _same_items(mapping, content):
                mapping.clear()
                mapping.update(content)

        self._put_back.append(put_back)
        return content.values()

    def _remember_sequence(self, items: list[Any] | deque[Any]) -> Iterable[Any]:
        content = list(items)

        def put_back() -> None:
            items.clear()
            items.extend(content)

        self._put_back.append(put_back)
        return content

    def _remember_set(self, items: set[Any]) -> Iterable[Any]:
        content = set(items)

        def put_back() -> None:
            items.clear()
            items.update(content)

        self._put_back.append(put_back)
        return ()

    def _remember_array(self, array: np.ndarray[Any, Any]) -> Iterable[Any]:
        if array.flags.writeable:
            content = array.copy()
            self._put_back.append(lambda: np.copyto(array, content))
        return ()

    def _remember_generator(self, generator: Any) -> Iterable[Any]:
        self._put_back_random.append(_rng.capture_generator(generator))
        return ()

    def _look_into(self, items: tuple[Any, ...]) -> Iterable[Any]:
        return items

    def _remember_module(self, module: nn.Module) -> Iterable[Any]:
        # A scripted module keeps parameters, buffers and the flag out of its attributes.
        if isinstance(module, torch.jit.ScriptModule):
            flags = [(child, child.training) for child in module.modules()]
            self._put_back.append(lambda: _set_training(flags))
            return (*module.parameters(), *module.buffers())
        return (vars(module),)

    def _remember_attributes(self, thing: Any) -> Iterable[Any]:
        return (vars(thing),)


_HANDLERS: tuple[tuple[Any, Callable[[Snapshot, Any], Iterable[Any]]], ...] = (
    (Tensor, Snapshot._remember_tensor),
    (nn.Module, Snapshot._remember_module),
    (_TRANSPARENT, Snapshot._remember_attributes),
    (dict, Snapshot._remember_dict),
    ((list, deque), Snapshot._remember_sequence),
    (tuple, Snapshot._look_into),
    (set, Snapshot._remember_set),
    (np.ndarray, Snapshot._remember_array),
    (_rng.GENERATORS, Snapshot._remember_generator),
)


def _handler(thing: Any) -> Callable[[Snapshot, Any], Iterable[Any]] | None:
    for kind, handler in _HANDLERS:
        if isinstance(thing, kind):
            return handler
    return None


def _finish(put_back: PutBack) -> BaseException | None:
    """Run one part of a restore to its end; return what came in between."""
    interrupt: BaseException | None = None
    while True:
        try:
            put_back()
        except KeyboardInterrupt as error:
            interrupt = error  # a half-written part is worse than a late Ctrl-C: begin it again
        except Exception as error:  # the other parts must still be put back
            return interrupt or error
        else:
            return interrupt


def _tensor_flags(tensor: Tensor, values: Tensor) -> PutBack:
    requires_grad, grad = tensor.requires_grad, tensor.grad

    def put_back() -> None:
        if _place(_local(tensor.detach())) != _place(_local(values)):
            tensor.data = values
        tensor.requires_grad_(requires_grad)
        if tensor.grad is not grad:
            tensor.grad = grad

    return put_back


def _keep_sparse(values: Tensor) -> PutBack:
    copied = values.clone()
    return lambda: values.copy_(copied)


def _set_training(flags: list[tuple[nn.Module, bool]]) -> None:
    for module, training in flags:
        module.training = training


def _by_state_dict(thing: Any) -> PutBack:
    saved = copy.deepcopy(thing.state_dict())
    return lambda: thing.load_state_dict(copy.deepcopy(saved))


def _local(tensor: Tensor) -> Tensor:
    """Return the part of a distributed tensor that this process holds; others as they are."""
    return tensor.to_local() if hasattr(tensor, "to_local") else tensor


def _written_once(tensor: Tensor) -> Tensor:
    """Return a view without the dimensions along which an expanded tensor repeats itself."""
    if tensor.layout != torch.strided:
        return tensor
    for dim, (size, stride) in enumerate(zip(tensor.shape, tensor.stride(), strict=True)):
        if stride == 0 and size > 1:
            tensor = tensor.narrow(dim, 0, 1)
    return tensor


def _place(tensor: Tensor) -> tuple[Any, ...]:
    """Return where and how a tensor lies in memory: equal for two views of the same values."""
    if tensor.layout != torch.strided or tensor.numel() == 0:
        return (id(tensor),)
    return (tensor.device, tensor.data_ptr(), tensor.dtype, tensor.shape, tensor.stride())


def _same_items(one: dict[Any, Any], other: dict[Any, Any]) -> bool:
    """Tell whether two dicts hold the same objects under the same keys in the same order."""
    return len(one) == len(other) and all(
        a is b and one[a] is other[b] for a, b in zip(one, other, strict=True)
    )

"""Capture and restore: everything that a range test may change is put back in place.

A snapshot walks the objects it is given: a module, its submodules and their attributes; an
optimizer, its groups and its state; a gradient scaler; a loader and its samplers. Each mutable
thing met on the way is remembered once, together with the way to put it back. Restoring writes
into the same objects at the same storage, so references that others hold, such as the buckets of
`DistributedDataParallel`, tied weights or a compiled step, stay valid.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader

from lrfinder._errors import InvalidInputError
from lrfinder._snapshot import rng as _rng
from lrfinder._snapshot.containers import capture_dict
from lrfinder._snapshot.interrupts import held_back
from lrfinder._snapshot.kinds import UNCHANGING, Notes, is_known, remember
from lrfinder._snapshot.sharded import reset_sharded_state, reshard
from lrfinder._snapshot.storage import Storage, Where, open_storage
from lrfinder._snapshot.tensors import capture_values, is_in_one_piece, regions


@contextmanager
def preserve_state(*objects: Any, snapshot: Where = "memory") -> Iterator[None]:
    """Put everything back as it was when the block is left, however it is left.

    For people with a loop of their own. Within the block, train as you like; afterwards training
    goes on bit for bit as if the block had not been there. Besides the state of the objects,
    the random number generators of torch (CPU and accelerators in use), numpy and Python are
    restored. Values are copied back into the same tensors, so nobody's reference goes stale.

    Not restored, because it cannot be:

    - an iterator that was drawn from: one you hold, one a data set holds, a generator;
    - a data set that changes while it is read, but for the random generators it holds;
    - the workers of a loader with `persistent_workers=True` that the block itself draws from: they
      have random generators of their own (a range test starts workers of its own instead);
    - an attribute that holds an object of another class: name that object too, if it has
      `state_dict` and `load_state_dict`;
    - plain attributes of a scripted module, which live outside Python;
    - what the block did to the world: files, logs, and module-level variables.

    Args:
        *objects: modules, optimizers, gradient scalers, schedulers, loaders, samplers, generators,
            and anything that has `state_dict` and `load_state_dict`.
        snapshot: `"memory"` keeps the copies in host memory; `"disk"` in a temporary file that is
            gone afterwards whatever happens; a `pathlib.Path` names its directory.

    Raises:
        InvalidInputError: if an object is of a kind whose state cannot be captured.
        SnapshotError: if the disk is full or not writable; nothing was changed.

    Example:
        >>> model = torch.nn.Linear(2, 1)
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
        loaders: iterables of batches of any class: their attributes, samplers and random
            generators are captured, their data is not looked at.
        where: `"memory"`, `"disk"` or a directory.
    """

    def __init__(self, *objects: Any, loaders: Iterable[Any] = (), where: Where = "memory") -> None:
        self._seen: dict[int, Any] = {}  # holds what it has seen, so that no id is used twice
        self._notes = Notes()
        self._storage: Storage = open_storage(where)
        try:
            for loader in loaders:
                self._visit_loader(loader)
            for thing in objects:
                self._visit_named(thing)
            self._store_values()
            self._notes.random.append(_rng.capture())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Snapshot:
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.restore()
        except KeyboardInterrupt:
            self.restore()  # it may have come before the signals were held back
            raise
        finally:
            self.close()

    def close(self) -> None:
        """Forget the copies, also where a traceback still holds on to this object."""
        self._seen.clear()
        self._notes = Notes()
        self._storage.close()

    def restore(self, *, rng: bool = True) -> None:
        """Put everything back in place; may be called again.

        Every part is put back even if another one fails or Ctrl-C is pressed meanwhile; the
        first such exception is raised at the end.

        Args:
            rng: also put back the random number generators; without, the next epoch draws a new
                order of the data.
        """
        notes, errors = self._notes, list[BaseException]()
        with held_back(), torch.no_grad():
            for put_back in (*notes.put_back, *notes.loads, *(notes.random if rng else ())):
                try:
                    put_back()
                except BaseException as error:
                    errors.append(error)
        if errors:
            raise errors[0]

    def _visit_named(self, thing: Any) -> None:
        """Remember an object that was passed in by name, which must not be overlooked."""
        if isinstance(thing, DataLoader):
            self._visit_loader(thing)
        elif isinstance(thing, torch.nn.Module):
            reshard(thing)  # shards are kept, never the whole of the parameters
            self._notes.put_back.append(lambda: reset_sharded_state(thing))
            self._visit(thing)
        elif is_known(thing):
            self._visit(thing)
        elif hasattr(thing, "state_dict") and hasattr(thing, "load_state_dict"):
            self._visit_state_dict(thing)
        else:
            raise InvalidInputError(
                "expected a module, an optimizer or an object with state_dict and "
                f"load_state_dict, got {type(thing).__name__}; leave it out or give it both"
            )

    def _visit_loader(self, loader: Any) -> None:
        self._notes.put_back.append(capture_dict(_attributes(loader)))
        self._visit_generators(loader)
        # Accelerate's loaders wrap another one, and keep a list of those that are being walked.
        self._visit(_attributes(getattr(loader, "gradient_state", None)))
        if hasattr(loader, "base_dataloader"):
            self._visit_loader(loader.base_dataloader)
        dataset = getattr(loader, "dataset", None)
        while dataset is not None and id(dataset) not in self._seen:
            # It may be huge, and a sampler may hold on to it: only its generators are looked at.
            self._seen[id(dataset)] = dataset
            self._visit_generators(dataset)
            dataset = getattr(dataset, "dataset", None)
        for name in ("sampler", "batch_sampler"):
            self._visit(_attributes(getattr(loader, name, None)))

    def _visit_generators(self, holder: Any) -> None:
        for value in _attributes(holder).values():
            if isinstance(value, _rng.GENERATORS):
                self._visit(value)

    def _visit_state_dict(self, thing: Any) -> None:
        """Remember an object by its own account: tensors in place, a copy of all else."""
        state = thing.state_dict()
        self._visit(state)
        tensors = {key: seen for key, seen in self._seen.items() if isinstance(seen, Tensor)}
        saved = copy.deepcopy(state, dict(tensors))
        self._notes.loads.append(lambda: thing.load_state_dict(copy.deepcopy(saved, dict(tensors))))

    def _visit(self, root: Any) -> None:
        """Remember `root` and everything that is reached from it."""
        pending = [root]
        while pending:
            thing = pending.pop()
            if type(thing) not in UNCHANGING and id(thing) not in self._seen:
                self._seen[id(thing)] = thing
                pending.extend(remember(thing, self._notes))

    def _store_values(self) -> None:
        tensors, put_back = self._notes.tensors, self._notes.put_back
        runs = list(regions(tensor for tensor in tensors if is_in_one_piece(tensor)))
        self._storage.reserve(sum(region.size for region in runs))
        put_back.extend(self._storage.keep(region) for region in runs)
        put_back.extend(capture_values(tensor) for tensor in tensors if not is_in_one_piece(tensor))


def _attributes(thing: Any) -> dict[str, Any]:
    return getattr(thing, "__dict__", {})

"""Capture and restore: everything that a range test may change is restored in place.

A snapshot traverses the objects it is given: a module, its submodules and their attributes; an
optimizer, its groups and its state; a gradient scaler; a loader and its samplers. Every mutable
object on the way is captured once. Restoring writes into the same objects at the same memory, so
that references from elsewhere stay valid: the buckets of `DistributedDataParallel`, tied weights, a
compiled step.
"""

from __future__ import annotations

import copy
import sys
from argparse import Namespace
from collections import Counter, OrderedDict, UserDict, UserList, defaultdict, deque
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager
from types import FunctionType, MethodType, SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Dataset

from lrfinder._errors import InvalidInputError, warn
from lrfinder._snapshot import rng as _rng
from lrfinder._snapshot.containers import capture_dict, capture_slots
from lrfinder._snapshot.generators import capture_generator_attributes, search
from lrfinder._snapshot.kinds import IMMUTABLE, CapturedState, capture, is_known
from lrfinder._snapshot.modes import capture_modes
from lrfinder._snapshot.references import attribute, attributes, members, slots
from lrfinder._snapshot.sharded import reset_sharded_state, reshard
from lrfinder._snapshot.signals import DeferredSignals
from lrfinder._snapshot.storage import Where, open_storage
from lrfinder._snapshot.tensors import capture_values, is_dense, regions
from lrfinder._snapshot.uncaptured import find_uncaptured

# What refers to more objects of any class holds more than the state of a training.
_MOST_CAPTURED = 1000
# A longer array of numbers is not the order of the data, but the data.
_LONGEST_ORDER = 1_000_000
# The standard library keeps nothing of its own in these.
_OF_USERS = (SimpleNamespace, Namespace, UserDict, UserList)
_CONTAINERS = frozenset({list, dict, set, deque, OrderedDict, defaultdict, Counter})


def preserve_state(*objects: Any, snapshot: Where = "memory") -> AbstractContextManager[object]:
    """Restore everything when the block is left, however it is left.

    Use it around a loop of your own. Within the block, train as you like; afterwards training goes
    on bit for bit as if the block had not been there. Besides the state of the objects, the random
    number generators of torch (CPU and accelerators in use), numpy and Python are restored. Values
    are copied back into the same tensors, so that every reference to them stays valid.

    Not restored, because it cannot be:

    - an iterator that was drawn from, whether you hold it or a data set does;
    - a data set that changes while it is read, apart from its random number generators;
    - the workers of a loader with `persistent_workers=True` that the block itself draws from: they
      have random number generators of their own (a range test starts its own workers instead);
    - an attribute of a module that holds an object of another class: pass that object too;
    - plain attributes of a scripted module, which live outside Python;
    - what the block did elsewhere: files, logs, and global variables.

    Args:
        *objects: modules, optimizers, gradient scalers, schedulers, loaders, samplers, generators,
            objects with `state_dict` and `load_state_dict`, any other object that has attributes
            or slots, and lists and tuples of these: everything reached from them is captured. Of
            what is in a dict, only tensors, modules, optimizers, numbers and containers of these
            are captured.
        snapshot: `"memory"` keeps the copies in host memory; `"disk"` in a temporary file that is
            deleted in any case; a `pathlib.Path` names the directory of that file.

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
    return Snapshot(*objects, where=snapshot)


class Snapshot:
    """A context that captures the state of some objects when entered and restores it when left.

    Args:
        *objects: as for `preserve_state`.
        loaders: iterables of batches of any class: their attributes, their samplers, and the
            random number generators of all that they use; never their data.
        where: `"memory"`, `"disk"` or a directory.
    """

    def __init__(self, *objects: Any, loaders: Iterable[Any] = (), where: Where = "memory") -> None:
        self._objects = objects
        self._loaders = tuple(loaders)
        self._where = where
        self._seen: dict[int, Any] = {}  # holds the objects, so that no id is used twice
        self._functions: dict[int, Any] = {}  # such as hooks
        self._state = CapturedState()
        self._signals = DeferredSignals(self)

    def __enter__(self) -> Snapshot:
        self._storage = open_storage(self._where)
        try:
            for loader in self._loaders:
                self._visit_loader(loader)
            for thing in self._objects:
                self._visit_named(thing)
            self._copy_values()
            self._state.generators.append(_rng.capture())
            self._seen |= {id(generator): generator for generator in _rng.GLOBAL_GENERATORS}
            self._restore_modes = capture_modes()
            self._signals.install()
            return self
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: object) -> None:
        try:
            self.restore()
        finally:
            self.close()

    def close(self) -> None:
        """Free the copies, also if a traceback still holds this object, and let signals through."""
        self._seen.clear()
        self._functions.clear()
        self._state = CapturedState()
        self._storage.close()
        self._signals.uninstall()

    def restore(self, *, rng: bool = True) -> None:
        """Restore everything in place; may be called again.

        Every part is restored even if another one fails; the first exception is raised at the end.

        Args:
            rng: also restore the random number generators; without, the next epoch draws a new
                order of the data.
        """
        state, errors = self._state, list[BaseException]()
        with torch.no_grad():
            calls = (*state.structure, *state.state_dicts, *(state.generators if rng else ()))
            for restore in calls:
                try:
                    restore()
                except BaseException as error:
                    errors.append(error)
        self._restore_modes()
        if errors:
            raise errors[0]

    def warn_of_uncaptured(self, **functions: Any) -> None:
        """Warn of objects with state that functions use and that will not be restored.

        Args:
            **functions: callables, or None, by the name of the argument that they were passed as.
                The hooks of the captured objects are looked at as well.
        """
        used_by = {argument: [function] for argument, function in functions.items()}
        used_by["a hook"] = list(self._functions.values())
        for user, used in used_by.items():
            found = (find_uncaptured(function, self.is_captured) for function in used)
            if names := dict.fromkeys(name for each in found for name in each):
                warn(
                    f"{user} uses {' and '.join(names)}, which the range test does not restore; "
                    "pass what it changes as preserve=[...]"
                )

    def _visit_named(self, thing: Any) -> None:
        """Capture an object that was passed in, or raise if that is not possible."""
        if isinstance(thing, DataLoader):
            self._visit_loader(thing)
        elif isinstance(thing, nn.Module):
            reshard(thing)  # shards are kept, never the whole of the parameters
            self._state.structure.append(lambda: reset_sharded_state(thing))
            self._visit(thing)
        elif isinstance(thing, (Optimizer, LRScheduler)):
            self._visit(thing)
            for kept in _objects_in(thing):  # such as the projectors of GaLore
                if not _is_trainer(kept):
                    self._visit_objects(kept)
        elif isinstance(thing, (list, tuple, deque)):
            self._visit(thing)
            self._visit_generators(thing)
            for kept in _objects_in(thing):
                self._visit_all_objects(kept)
        elif is_known(thing):  # a dict may be that of an object that refers to half the program
            self._visit(thing)
        elif all(callable(attribute(thing, f"{do}state_dict")) for do in ("", "load_")):
            self._visit_state_dict(thing)
        elif isinstance(thing, Dataset):
            self._visit_generators(thing)
        elif _has_attributes(thing):
            self._visit_generators(thing)
            self._visit_all_objects(thing)
        else:
            raise InvalidInputError(
                "preserve takes modules, optimizers, objects with state_dict and load_state_dict, "
                f"and other objects with attributes, got {type(thing).__name__}; leave it out"
            )
        self._seen[id(thing)] = thing

    def _visit_loader(self, loader: Any) -> None:
        own, dataset = attributes(loader), attribute(loader, "dataset")
        self._state.structure.append(capture_dict(own))
        data = dataset if isinstance(loader, DataLoader) else None
        for value in own.values():
            if value is not data and _may_be_an_order(value):
                capture(value, self._state)  # not what is in it, which may be the data
        # Accelerate's loaders keep a list of those in use.
        self._visit(attributes(attribute(loader, "gradient_state")))
        while dataset is not None and id(dataset) not in self._seen:
            # It may be huge, and a sampler may refer to it.
            self._seen[id(dataset)] = dataset
            dataset = attribute(dataset, "dataset")
        self._visit_samplers(loader)
        self._visit_generators(loader)

    def _visit_samplers(self, loader: Any) -> None:
        """Capture the attributes of a loader's samplers, and of those that they draw from."""
        owners = [loader]
        for owner in owners:
            for name in ("sampler", "batch_sampler"):
                sampler = attribute(owner, name)
                if attributes(sampler) and not any(sampler is other for other in owners):
                    self._visit(attributes(sampler))
                    owners.append(sampler)

    def _visit_generators(self, root: Any) -> None:
        """Capture the generators and loaders that an object refers to, but not its data."""
        for thing in search(root):
            if isinstance(thing, _rng.GENERATORS):
                self._visit(thing)
            elif isinstance(thing, DataLoader) and not (thing is root or id(thing) in self._seen):
                self._seen[id(thing)] = thing
                self._visit_loader(thing)
            elif hasattr(thing, "__dict__"):
                self._state.generators.append(capture_generator_attributes(attributes(thing)))

    def _visit_state_dict(self, thing: Any) -> None:
        """Capture an object by its `state_dict`: tensors in place, a copy of everything else."""
        state = thing.state_dict()
        unknown = self._visit(state)
        # A copy of a method would belong to a copy of its object.
        methods = {id(each): each for each in unknown if isinstance(each, MethodType)}
        tensors = {key: seen for key, seen in self._seen.items() if isinstance(seen, Tensor)}
        same: dict[int, Any] = methods | tensors
        saved = copy.deepcopy(state, dict(same))
        self._state.state_dicts.append(
            lambda: thing.load_state_dict(copy.deepcopy(saved, dict(same)))
        )

    def _visit_all_objects(self, root: Any) -> None:
        """Capture an object of any class, or raise if it refers to too many others."""
        if not self._visit_objects(root):
            raise InvalidInputError(
                f"{type(root).__name__} in preserve refers to more than {_MOST_CAPTURED} other "
                "objects; pass those of them that the sweep changes"
            )

    def _visit_objects(self, root: Any) -> bool:
        """Capture what an object of any class holds, and the objects in it.

        Returns:
            False if there were too many, of which the nearest are captured.
        """
        pending, captured = deque([root]), 0
        while pending and captured <= _MOST_CAPTURED:
            thing = pending.popleft()
            if isinstance(thing, (DataLoader, Dataset)):
                self._visit_named(thing)
            elif _has_attributes(thing) and id(thing) not in self._seen:
                self._seen[id(thing)] = thing
                captured += 1
                self._state.structure.append(capture_slots(thing))
                pending.extend(self._visit((attributes(thing), *slots(thing).values())))
        return captured <= _MOST_CAPTURED

    def _visit(self, root: Any) -> list[Any]:
        """Capture `root` and everything reached from it; return the objects of unknown kinds."""
        unknown, pending = [], [root]
        while pending:
            thing = pending.pop()
            if type(thing) in IMMUTABLE or id(thing) in self._seen:
                continue
            if is_known(thing):
                self._seen[id(thing)] = thing
                pending.extend(capture(thing, self._state))
            else:
                unknown.append(thing)
        self._functions |= {id(f): f for f in unknown if isinstance(f, (FunctionType, MethodType))}
        return unknown

    def _copy_values(self) -> None:
        structure, tensors = self._state.structure, self._state.tensors
        dense = list(regions(tensor for tensor in tensors if is_dense(tensor)))
        self._storage.reserve(sum(region.size for region in dense))
        structure.extend(self._storage.keep(region) for region in dense)
        structure.extend(capture_values(tensor) for tensor in tensors if not is_dense(tensor))

    def is_captured(self, thing: Any) -> bool:
        """Return whether an object will be restored."""
        if isinstance(thing, nn.Module):  # or a wrapper of one
            tensors = [*thing.parameters(), *thing.buffers()]
            if tensors and all(id(tensor) in self._seen for tensor in tensors):
                return True
        groups = attribute(thing, "param_groups")  # which wrappers of an optimizer share
        return id(thing) in self._seen or id(groups) in self._seen


def _may_be_an_order(value: Any) -> bool:
    """Return whether a loader may keep the order of its data in an object."""
    if type(value) is np.ndarray:
        is_index = value.dtype.kind in "iu" and value.dtype.itemsize >= 4
        return is_index and value.ndim == 1 and len(value) <= _LONGEST_ORDER
    return type(value) in _CONTAINERS  # iterating over an object of another class may do anything


def _objects_in(root: Any) -> Iterator[Any]:
    """Return the objects of unknown kinds that a container, optimizer or scheduler holds.

    Those in the attributes of a module are its own business.
    """
    pending, seen = [root], dict[int, Any]()
    while pending:
        thing = pending.pop()
        if type(thing) in IMMUTABLE or id(thing) in seen:
            continue
        seen[id(thing)] = thing
        if isinstance(thing, (Optimizer, LRScheduler)):
            own = vars(thing).items()  # what hooks belong to is not its own
            pending.append({name: kept for name, kept in own if not name.endswith("_hooks")})
        elif isinstance(thing, dict):
            pending.extend(thing.values())
        elif isinstance(thing, (list, tuple, deque)):
            pending.extend(thing)
        elif not is_known(thing):
            yield thing


def _is_trainer(thing: Any) -> bool:
    """Return whether an object refers to a whole training, which is no state of an optimizer."""
    parts = (nn.Module, Optimizer, DataLoader)
    return any(isinstance(value, parts) for value in attributes(thing).values())


def _has_attributes(thing: Any) -> bool:
    """Return whether an object can have attributes of its own that a sweep may change."""
    package = type(thing).__module__.split(".")[0]
    return (isinstance(thing, _OF_USERS) or package not in sys.stdlib_module_names) and (
        isinstance(attribute(thing, "__dict__"), dict) or any(True for _ in members(thing))
    )

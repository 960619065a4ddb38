"""The random number generators of a loader, its data set, transforms and collate function."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor

from lrfinder._snapshot.containers import Restore
from lrfinder._snapshot.kinds import IMMUTABLE
from lrfinder._snapshot.references import attributes, items, slots, users_function, variables
from lrfinder._snapshot.rng import GENERATORS

# How far and how much is searched: a loader has a few dozen objects, a data set may have millions.
_DEPTH = 12
_MOST_SEARCHED = 10_000
_MISSING = object()


def search(root: Any) -> Iterator[Any]:
    """Return the objects that are reached from `root`, the nearest first, up to a limit."""
    seen: dict[int, Any] = {}
    pending = deque([(root, 0)])
    while pending and len(seen) < _MOST_SEARCHED:
        thing, depth = pending.popleft()
        if id(thing) in seen:
            continue
        seen[id(thing)] = thing  # held, so that no id is used twice
        yield thing
        if depth < _DEPTH:
            parts = (part for part in _parts(thing) if type(part) not in IMMUTABLE)
            pending.extend((part, depth + 1) for part in parts)


def capture_generator_attributes(holder: dict[str, Any]) -> Restore:
    """Return a call that restores which generators are in a dict of attributes.

    One that was created in the meantime is removed: it would be created again, from its seed.
    """
    before = dict(holder)

    def restore() -> None:
        for name in (*before, *(holder.keys() - before)):
            old, new = before.get(name, _MISSING), holder.get(name, _MISSING)
            if old is new:  # without a look at it: a deprecated object would warn
                continue
            if old is _MISSING and isinstance(new, GENERATORS):
                del holder[name]
            elif isinstance(old, GENERATORS) or isinstance(new, GENERATORS):
                holder[name] = old

    return restore


def _parts(thing: Any) -> Iterator[Any]:
    if isinstance(thing, type):
        # Only generators that all objects share, and those that a method knows as a global.
        for value in (value for kind in thing.__mro__ for value in vars(kind).values()):
            if isinstance(value, GENERATORS):
                yield value
            elif (method := users_function(value)) is not None:
                yield method
    elif isinstance(thing, FunctionType):
        yield from variables(thing).values()
    elif isinstance(thing, MethodType):
        yield from (thing.__self__, thing.__func__)
    elif isinstance(thing, partial):
        yield from (thing.func, *thing.args, *thing.keywords.values())
    elif not isinstance(thing, (Tensor, np.ndarray, ModuleType, *GENERATORS)):
        yield from items(thing).values()
        yield from attributes(thing).values()
        yield from slots(thing).values()
        yield type(thing)

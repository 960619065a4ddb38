"""State that the user's functions change and nobody restores, such as an average of weights."""

from __future__ import annotations

import inspect
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from types import FunctionType, MethodType, ModuleType
from typing import Any

import numpy as np
from torch import Tensor, nn
from torch.amp import GradScaler
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import DataLoader, Dataset

from lrfinder._snapshot.kinds import IMMUTABLE
from lrfinder._snapshot.references import (
    attributes,
    is_in_library,
    items,
    names_in,
    users_function,
    variables,
)
from lrfinder._snapshot.rng import GENERATORS

# Objects that are looked at, each once for every set of names.
_MOST_USES = 1000
# Code that changes a frozen network gets hold of its weights by one of these.
_WEIGHTS = frozenset({"parameters", "named_parameters", "buffers", "named_buffers", "state_dict"})
# A name to write, the object, and the names of attributes in the code that uses it.
_Use = tuple[str, Any, frozenset[str]]


def find_uncaptured(function: Any, is_captured: Callable[[Any], bool]) -> list[str]:
    """Return the names of objects with state that a callable uses and that will not be restored.

    Such as `["ema (AveragedModel)", "self.metric (MeanMetric)"]`. The function is not called. What
    it uses is read off its code: closure, defaults, the globals and attributes that it names, and
    the same of the user's functions that it calls.
    """
    found: dict[int, str] = {}
    seen: dict[tuple[int, frozenset[str]], Any] = {}
    pending: deque[_Use] = deque([("self", function, frozenset())])
    while pending and len(seen) < _MOST_USES:
        name, thing, used = pending.popleft()
        if type(thing) in IMMUTABLE or (id(thing), used) in seen:
            continue
        seen[id(thing), used] = thing
        if thing is not function and _has_state(name, thing, used) and not is_captured(thing):
            found.setdefault(id(thing), f"{name} ({type(thing).__name__})")
        else:
            pending.extend(_uses(name, thing, used))
    return list(found.values())


def _uses(name: str, thing: Any, used: frozenset[str]) -> Iterator[_Use]:
    """Yield the objects reached through `thing` by code that mentions the names `used`."""
    if isinstance(thing, FunctionType):
        yield from (
            (variable, value, _names(thing)) for variable, value in variables(thing).items()
        )
    elif isinstance(thing, MethodType):
        yield name, thing.__func__, used
        yield "self", thing.__self__, _names(thing.__func__)
    elif isinstance(thing, partial):
        function: Any = thing.func
        arguments = thing.args
        if isinstance(function, MethodType):
            function, arguments = function.__func__, (function.__self__, *arguments)
        yield name, function, used
        names = getattr(getattr(function, "__code__", None), "co_varnames", ())
        given = (*zip(names, arguments, strict=False), *thing.keywords.items())
        yield from ((argument, value, _names(function)) for argument, value in given)
    elif not isinstance(thing, (Tensor, np.ndarray, type)):
        for key, item in items(thing).items():
            shown = repr(key) if isinstance(key, (str, int)) else type(key).__name__
            yield f"{name}[{shown}]", item, used
        yield from _attributes_used(name, thing, used)


def _attributes_used(name: str, thing: Any, used: frozenset[str]) -> Iterator[_Use]:
    if isinstance(thing, ModuleType) and is_in_library(
        getattr(thing, "__file__", None) or "<frozen"
    ):
        return
    own = attributes(thing)
    for attribute in sorted(used & own.keys()):
        yield f"{name}.{attribute}", own[attribute], used
    for attribute in sorted((used | {"__call__"}) - own.keys()):
        method = _method(thing, attribute)
        if method is not None:
            yield name, method, used
            yield name, thing, _names(method)


def _names(function: Any) -> frozenset[str]:
    found = users_function(function)
    return frozenset() if found is None else names_in(found.__code__)


def _method(thing: Any, name: str) -> FunctionType | None:
    """Return the function behind a method or property that the user has written."""
    found = inspect.getattr_static(type(thing), name, None)
    return users_function(getattr(found, "fget", None) or getattr(found, "__func__", found))


def _has_state(name: str, thing: Any, used: frozenset[str]) -> bool:
    if isinstance(thing, nn.Module):
        return _can_change(thing, used)
    if isinstance(thing, (Optimizer, LRScheduler, GradScaler, *GENERATORS)):
        return True
    if isinstance(thing, (type, ModuleType, DataLoader, Dataset)):
        return False
    if all(callable(getattr(type(thing), f"{do}state_dict", None)) for do in ("", "load_")):
        return True
    # An object with tensors whose own methods are called; "self" is where these methods belong.
    if name == "self" or not any(_method(thing, attribute) for attribute in used):
        return False
    values = attributes(thing).values()
    held = (part for value in values for part in (value, *items(value).values()))
    return any(isinstance(part, (Tensor, *GENERATORS)) for part in held)


def _can_change(module: nn.Module, used: frozenset[str]) -> bool:
    """Return whether a step may change a module; not one that is frozen and only called."""
    if isinstance(module, nn.modules.loss._Loss):
        return False  # its buffers are the constant weights of classes
    if any(parameter.requires_grad for parameter in module.parameters()):
        return True
    if used & _WEIGHTS and [*module.parameters(), *module.buffers()]:
        return True
    for part in module.modules():
        if part.training and [*part.buffers(recurse=False)]:
            return True
        # A metric keeps its state in plain attributes, whose defaults torchmetrics lists.
        held = vars(part).values()
        if hasattr(part, "_defaults") or any(isinstance(v, (Tensor, *GENERATORS)) for v in held):
            return True
    return False

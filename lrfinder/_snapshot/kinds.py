"""What is captured of each kind of object, and which objects it leads to."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import partial, singledispatch
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Sampler

from lrfinder._errors import InvalidInputError
from lrfinder._snapshot import rng
from lrfinder._snapshot.containers import Restore, capture_dict, capture_items
from lrfinder._snapshot.tensors import capture_flags, has_values, hooks_of

# Values that cannot change: frequent, and there is nothing to capture.
IMMUTABLE = frozenset({type(None), bool, int, float, complex, str, bytes})


@dataclass
class CapturedState:
    """What has been captured so far, as calls that restore it, in this order.

    Attributes:
        structure: restore which object is where, and flags.
        tensors: their values are still to be copied.
        state_dicts: load the state of objects that were captured by their `state_dict`.
        generators: restore random number generators; last, for the others may draw from them.
    """

    structure: list[Restore] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)
    state_dicts: list[Restore] = field(default_factory=list)
    generators: list[Restore] = field(default_factory=list)


@singledispatch
def capture(thing: Any, state: CapturedState) -> Iterable[Any]:  # noqa: ARG001 - for other kinds
    """Add what is needed to restore `thing` to `state`; return the objects it refers to.

    Nothing is captured of a kind that is not known.

    Raises:
        InvalidInputError: if a parameter has no values yet.
    """
    return ()


_UNKNOWN = capture.dispatch(object)


def is_known(thing: Any) -> bool:
    """Return whether `thing` is of a kind that can be captured."""
    return capture.dispatch(type(thing)) is not _UNKNOWN


@capture.register
def _(tensor: Tensor, state: CapturedState) -> Iterable[Any]:
    if is_lazy(tensor):
        raise InvalidInputError(
            "a lazy module has parameters without values; call the model on one batch first"
        )
    inner: tuple[Any, ...] = ()
    if hasattr(tensor, "__tensor_flatten__"):  # made of others, as a distributed one is
        inner = tuple(getattr(tensor, name) for name in tensor.__tensor_flatten__()[0])
    elif has_values(tensor):
        state.tensors.append(tensor)
    if not _is_leaf(tensor):  # part of a graph that a step built; only its values can be kept
        return inner
    state.structure.append(capture_flags(tensor))
    return (tensor.grad, vars(tensor), *inner, *hooks_of(tensor))


def _is_leaf(tensor: Tensor) -> bool:
    try:
        return tensor.is_leaf
    except RuntimeError:  # a view of what was modified in place, as FSDP keeps of its parameters
        return False


@capture.register
def _(module: torch.jit.ScriptModule, state: CapturedState) -> Iterable[Any]:
    # It keeps its parameters, buffers and flag out of its Python attributes.
    for part in module.modules():
        values = {"training": part.training, **dict(part.named_buffers(recurse=False))}
        state.structure.extend(partial(setattr, part, name, values[name]) for name in values)
    return (*module.parameters(), *module.buffers())


@capture.register(nn.Module)
@capture.register(Optimizer)
@capture.register(torch.amp.GradScaler)
@capture.register(LRScheduler)
@capture.register(Sampler)
def _(thing: Any, state: CapturedState) -> Iterable[Any]:  # noqa: ARG001
    return (vars(thing),)


@capture.register
def _(mapping: dict, state: CapturedState) -> Iterable[Any]:  # type: ignore[type-arg]
    state.structure.append(capture_dict(mapping))
    return mapping.values()


@capture.register(list)
@capture.register(deque)
def _(items: list[Any] | deque[Any], state: CapturedState) -> Iterable[Any]:
    state.structure.append(capture_items(items))
    return items


@capture.register
def _(items: tuple, state: CapturedState) -> Iterable[Any]:  # type: ignore[type-arg]  # noqa: ARG001
    return items


@capture.register
def _(items: set, state: CapturedState) -> Iterable[Any]:  # type: ignore[type-arg]
    state.structure.append(capture_items(items))
    return ()


@capture.register
def _(array: np.ndarray, state: CapturedState) -> Iterable[Any]:
    if array.flags.writeable:
        state.structure.append(partial(np.copyto, array, array.copy()))
    return ()


def _capture_generator(generator: Any, state: CapturedState) -> Iterable[Any]:
    state.generators.append(rng.capture_generator(generator))
    return ()


for _class in rng.GENERATORS:
    capture.register(_class, _capture_generator)

"""What is remembered of each kind of object, and what is reached from it."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.utils.data import Sampler

from lrfinder._errors import InvalidInputError
from lrfinder._snapshot import containers as _containers
from lrfinder._snapshot import rng as _rng
from lrfinder._snapshot import tensors as _tensors
from lrfinder._snapshot.containers import PutBack

# Values that cannot change: met often, and nothing to remember.
UNCHANGING = frozenset({type(None), bool, int, float, complex, str, bytes})


@dataclass
class Notes:
    """What a walk over some objects has found so far.

    Attributes:
        put_back: puts the shape of things back: which object is where, and flags.
        loads: hands objects their own account back, when all the values are there again.
        random: puts random number generators back, when nothing draws from them any more.
        tensors: have values to be kept.
    """

    put_back: list[PutBack] = field(default_factory=list)
    loads: list[PutBack] = field(default_factory=list)
    random: list[PutBack] = field(default_factory=list)
    tensors: list[Tensor] = field(default_factory=list)


@singledispatch
def remember(thing: Any, notes: Notes) -> Iterable[Any]:  # noqa: ARG001 - each kind has its own
    """Note how to put `thing` back as it is; return the objects to go on with.

    Args:
        thing: any object; most kinds cannot change, or not so that it could be put back.
        notes: taken down here.

    Raises:
        InvalidInputError: if a parameter has no values yet.
    """
    return ()


def is_known(thing: Any) -> bool:
    """Tell whether `thing` is of a kind that can be remembered."""
    return remember.dispatch(type(thing)) is not remember.dispatch(object)


@remember.register
def _(tensor: Tensor, notes: Notes) -> Iterable[Any]:
    if is_lazy(tensor):
        raise InvalidInputError(
            "expected initialised parameters, got a lazy module that has not seen a batch; call "
            "the model on one batch first"
        )
    inner: tuple[Any, ...] = ()
    if hasattr(tensor, "__tensor_flatten__"):  # made of others, as a distributed one is
        inner = tuple(getattr(tensor, name) for name in tensor.__tensor_flatten__()[0])
    elif _tensors.has_values(tensor):
        notes.tensors.append(tensor)
    if not tensor.is_leaf:  # part of a graph that a step built; only its values can be kept
        return inner
    notes.put_back.append(_tensors.capture_flags(tensor))
    return (tensor.grad, vars(tensor), *inner)


@remember.register
def _(module: nn.Module, notes: Notes) -> Iterable[Any]:  # noqa: ARG001
    return (vars(module),)


@remember.register
def _(module: torch.jit.ScriptModule, notes: Notes) -> Iterable[Any]:
    # It keeps its parameters, buffers and flag out of its Python attributes.
    content: list[tuple[nn.Module, str, Any]] = []
    for part in module.modules():
        content.append((part, "training", part.training))
        content += ((part, name, buffer) for name, buffer in part.named_buffers(recurse=False))

    def put_back() -> None:
        for part, name, value in content:
            setattr(part, name, value)

    notes.put_back.append(put_back)
    return (*module.parameters(), *module.buffers())


@remember.register(Optimizer)
@remember.register(torch.amp.GradScaler)
@remember.register(LRScheduler)
@remember.register(Sampler)
def _(thing: Any, notes: Notes) -> Iterable[Any]:  # noqa: ARG001
    return (vars(thing),)


@remember.register
def _(mapping: dict, notes: Notes) -> Iterable[Any]:  # type: ignore[type-arg]
    notes.put_back.append(_containers.capture_dict(mapping))
    return mapping.values()


@remember.register(list)
@remember.register(deque)
def _(items: list[Any] | deque[Any], notes: Notes) -> Iterable[Any]:
    notes.put_back.append(_containers.capture_sequence(items))
    return items


@remember.register
def _(items: tuple, notes: Notes) -> Iterable[Any]:  # type: ignore[type-arg]  # noqa: ARG001
    return items


@remember.register
def _(items: set, notes: Notes) -> Iterable[Any]:  # type: ignore[type-arg]
    notes.put_back.append(_containers.capture_set(items))
    return ()


@remember.register
def _(array: np.ndarray, notes: Notes) -> Iterable[Any]:
    notes.put_back.append(_containers.capture_array(array))
    return ()


@remember.register(torch.Generator)
@remember.register(random.Random)
@remember.register(np.random.Generator)
@remember.register(np.random.RandomState)
def _(generator: Any, notes: Notes) -> Iterable[Any]:
    notes.random.append(_rng.capture_generator(generator))
    return ()

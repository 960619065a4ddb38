"""Checks of arguments, before a range test changes anything."""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Iterator
from numbers import Integral, Real
from reprlib import repr as repr_of  # of a whole data set, which was passed in the wrong place
from typing import Any, ParamSpec, TypeVar

import torch
from torch import nn
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer

from lrfinder._errors import InvalidInputError
from lrfinder._snapshot.sharded import reshard

_P = ParamSpec("_P")
_T = TypeVar("_T")


def check_model_and_optimizer(model: nn.Module, optimizer: Optimizer) -> None:
    """Raise `InvalidInputError` if a model cannot be trained, or not by this optimizer."""
    if not isinstance(model, nn.Module) or not hasattr(optimizer, "param_groups"):
        raise InvalidInputError(
            "LRFinder takes a torch.nn.Module and a torch.optim.Optimizer, in this order, got "
            f"{type(model).__name__} and {type(optimizer).__name__}"
        )
    reshard(model)  # the optimizer holds the shards, not the whole parameters of a forward pass
    parameters = list(model.parameters())
    if any(isinstance(parameter, UninitializedParameter) for parameter in parameters):
        raise InvalidInputError(
            "the model has a lazy module whose parameters have no values yet; call the model on "
            "one batch first"
        )
    trainable = {id(parameter) for parameter in parameters if parameter.requires_grad}
    if not trainable:
        raise InvalidInputError(
            f"none of the model's {len(parameters)} parameters requires a gradient; unfreeze "
            "those to train with requires_grad_(True)"
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not trainable & held:
        raise InvalidInputError(
            "the optimizer holds none of the model's trainable parameters; create it from "
            "model.parameters() once the model is complete"
        )


def checked_device(device: Any) -> torch.device:
    """Return a device with its index; raise `InvalidInputError` if it does not exist."""
    try:
        # Of "cuda" this is the current one. It also creates its generators, which are restored.
        return torch.empty(0, device=device).device
    except (RuntimeError, TypeError, AssertionError) as error:
        raise InvalidInputError(
            f"device must be a device of this machine, such as 'cpu', got {device!r} ({error})"
        ) from None


def check_exclusive(name: str, **others: Any) -> None:
    """Raise `InvalidInputError` if `name` is given together with arguments that it replaces."""
    given = " and ".join(other for other, value in others.items() if value is not None)
    if given:
        raise InvalidInputError(
            f"{name} replaces {given}, got both; leave {given} out and do its work in {name}"
        )


def check_callables(criterion: Any, **others: Any) -> None:
    """Raise `InvalidInputError` if an argument that is called cannot be; None stands for none."""
    if isinstance(criterion, type) and issubclass(criterion, nn.Module):
        raise InvalidInputError(
            f"criterion is the class {criterion.__name__}; pass an instance, {criterion.__name__}()"
        )
    for name, value in {"criterion": criterion, **others}.items():
        if value is not None and not callable(value):
            raise InvalidInputError(
                f"{name} must be a function or another callable, got {repr_of(value)}; leave it "
                "out for none"
            )


def check_autocast(autocast: Any) -> None:
    """Raise `InvalidInputError` if `autocast` is neither a context nor a function; None is fine."""
    works = hasattr(autocast, "__enter__") or callable(autocast)
    if autocast is not None and (isinstance(autocast, type) or not works):
        raise InvalidInputError(
            f"autocast must be a context or a function that returns one, got {repr_of(autocast)}; "
            'pass torch.autocast("cuda", torch.bfloat16), for example'
        )


def check_scaler(scaler: Any) -> None:
    """Raise `InvalidInputError` if `scaler` cannot scale a loss and step; None is fine."""
    works = all(callable(getattr(scaler, name, None)) for name in ("scale", "step", "update"))
    if scaler is not None and not works:
        raise InvalidInputError(
            f"scaler must be a gradient scaler, got {repr_of(scaler)}; pass "
            "torch.amp.GradScaler(), or leave it out for none"
        )


def check_loaders(train_loader: Any, val_loader: Any) -> None:
    """Raise `InvalidInputError` if a loader cannot be iterated; None stands for no `val_loader`."""
    loaders = {"train_loader": train_loader}
    if val_loader is not None:
        loaders["val_loader"] = val_loader
    for name, loader in loaders.items():
        # Not by `iter`, which may start worker processes and draw random numbers.
        if not any(hasattr(type(loader), method) for method in ("__iter__", "__getitem__")):
            raise InvalidInputError(
                f"{name} must be an iterable of batches, got {type(loader).__name__}; pass a "
                "DataLoader, for example"
            )


def check_starts_again(train_loader: Any) -> None:
    """Raise `InvalidInputError` if a loader can be iterated only once, as a generator."""
    # A class of the user's may begin again when `iter` is called, although it returns itself.
    package = type(train_loader).__module__.split(".")[0]
    if isinstance(train_loader, Iterator) and package in (*sys.stdlib_module_names, "torch"):
        raise InvalidInputError(
            f"train_loader is a {type(train_loader).__name__}, which cannot start again, but every "
            "trial needs the same batches; pass the loader itself"
        )


def check_preserve(preserve: Any) -> None:
    """Raise `InvalidInputError` if `preserve` is not a list or tuple."""
    if not isinstance(preserve, (list, tuple)):
        raise InvalidInputError(
            f"preserve must be a list of objects, got {type(preserve).__name__}; pass "
            "preserve=[...]"
        )


def check_clip_grad(clip_grad: Any) -> None:
    """Raise `InvalidInputError` if `clip_grad` is neither a positive norm nor a function."""
    if clip_grad is None or callable(clip_grad) or (is_number(clip_grad) and clip_grad > 0):
        return
    raise InvalidInputError(
        "clip_grad must be a norm > 0 or a function of the parameters, got "
        f"{repr_of(clip_grad)}; 1.0 is a common norm"
    )


def whole_number(name: str, value: Any, *, at_least: int = 1, advice: str = "") -> int:
    """Return a value, of NumPy for example, as an int.

    Raises `InvalidInputError` if it is not a whole number or too small.
    """
    if isinstance(value, bool) or not isinstance(value, Integral) or value < at_least:
        raise InvalidInputError(
            f"{name} must be a whole number >= {at_least}, got {value!r}{advice}"
        )
    return int(value)


def optional_whole_number(name: str, value: Any) -> int | None:
    """Return `whole_number` of a value >= 1, or None for None."""
    return None if value is None else whole_number(name, value)


def reject_keywords(**answers: str) -> Callable[[Callable[_P, _T]], Callable[_P, _T]]:
    """Return a decorator that refuses keywords of other finders, each with what to pass instead."""

    def decorate(function: Callable[_P, _T]) -> Callable[_P, _T]:
        @functools.wraps(function)
        def call(*arguments: _P.args, **keywords: _P.kwargs) -> _T:
            for name in answers.keys() & keywords.keys():
                raise InvalidInputError(f"there is no argument {name}; {answers[name]}")
            return function(*arguments, **keywords)

        return call

    return decorate


def is_number(value: Any) -> bool:
    """Return whether a value is a real number, and not a bool."""
    return isinstance(value, Real) and not isinstance(value, bool)

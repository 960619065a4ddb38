"""What must hold before a range test begins; each check names what it got and the fix."""

from __future__ import annotations

from numbers import Real
from typing import Any

from torch import nn
from torch.nn.parameter import UninitializedParameter
from torch.optim import Optimizer

from lrfinder._errors import InvalidInputError
from lrfinder._snapshot.sharded import reshard


def check_model_and_optimizer(model: nn.Module, optimizer: Optimizer) -> None:
    """Raise if a model cannot be trained, or an optimizer belongs to another model.

    Raises:
        InvalidInputError: if the model has no trainable parameter, if a lazy module has not seen
            a batch yet, or if the optimizer holds none of the model's parameters.
    """
    if not isinstance(model, nn.Module) or not hasattr(optimizer, "param_groups"):
        raise InvalidInputError(
            "expected a torch.nn.Module and a torch.optim.Optimizer, in this order, got "
            f"{type(model).__name__} and {type(optimizer).__name__}"
        )
    reshard(model)  # the optimizer holds the shards, not the whole parameters of a forward pass
    parameters = list(model.parameters())
    if any(isinstance(parameter, UninitializedParameter) for parameter in parameters):
        raise InvalidInputError(
            "expected initialised parameters, got a lazy module that has not seen a batch; call "
            "the model on one batch first"
        )
    trainable = {id(parameter) for parameter in parameters if parameter.requires_grad}
    if not trainable:
        raise InvalidInputError(
            f"expected a model with trainable parameters, got {len(parameters)} parameters of "
            "which none requires a gradient; unfreeze some with requires_grad_(True)"
        )
    held = {id(p) for group in optimizer.param_groups for p in group["params"]}
    if not trainable & held:
        raise InvalidInputError(
            "expected an optimizer that holds the model's parameters, got one that holds none of "
            "the trainable ones; build it from model.parameters() after the model is final"
        )


def check_alone(name: str, **others: Any) -> None:
    """Raise `InvalidInputError` if an argument is given whose work `name` does itself."""
    given = " and ".join(other for other, value in others.items() if value is not None)
    if given:
        raise InvalidInputError(
            f"expected {name} to do the work of {given} itself, got both; leave {given} out and "
            f"do it in {name}"
        )


def check_clip_grad(clip_grad: Any) -> None:
    """Raise `InvalidInputError` if a norm of gradients is not positive."""
    if clip_grad is None or callable(clip_grad) or (_is_number(clip_grad) and clip_grad > 0):
        return
    raise InvalidInputError(
        f"expected clip_grad to be a norm > 0 or a function of the parameters, got {clip_grad!r}; "
        "1.0 is a common norm"
    )


def check_count(name: str, value: Any, *, at_least: int = 1) -> None:
    """Raise `InvalidInputError` if a number is not whole or too small."""
    if isinstance(value, bool) or not isinstance(value, int) or value < at_least:
        raise InvalidInputError(
            f"expected {name} to be a whole number >= {at_least}, got {value!r}"
        )


def _is_number(value: Any) -> bool:
    return isinstance(value, Real) and not isinstance(value, bool)

"""From a batch to a scalar loss: the criterion, the model's own loss, or the user's function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lrfinder._batches import batch_size, to_device
from lrfinder._errors import InvalidInputError

Criterion = Callable[..., Any]
TrainingStep = Callable[[Any, Any], Any]

_WRITE_A_STEP = (
    "pass training_step=f with f(model, batch) -> loss for batches and losses of any other form"
)


class Loss(NamedTuple):
    """One evaluation of the loss.

    Attributes:
        value: scalar tensor.
        metrics: further scalars that the step returned beside it.
        size: number of samples in the batch; None where the batch does not tell.
    """

    value: Tensor
    metrics: dict[str, Any]
    size: int | None


class LossFunction:
    """Evaluates the loss of a batch.

    Without `training_step`, a tuple is `(inputs..., targets)` and goes through
    `criterion(model(*inputs), targets)`, and a dict goes as keyword arguments to a model whose
    output has a `.loss`.

    Args:
        model: called with the inputs of a batch.
        criterion: `criterion(outputs, targets) -> loss`; None where the model computes its loss.
        training_step: `f(model, batch) -> loss` in place of both.
        device: where batches are moved.
        autocast: entered around each evaluation; None for full precision.
        updates: `training_step` updates the model itself, so its loss needs no gradient.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion | None,
        training_step: TrainingStep | None,
        device: torch.device,
        autocast: AbstractContextManager[Any] | None,
        *,
        updates: bool = False,
    ) -> None:
        self._model = model
        self._criterion = criterion
        self._training_step = training_step
        self._device = device
        self._autocast = autocast if autocast is not None else nullcontext()
        self._updates = updates

    def __call__(self, batch: Any) -> Loss:
        """Evaluate the loss of one batch; raises `InvalidInputError` if it is not a scalar."""
        with self._autocast:
            returned = self._evaluate(to_device(batch, self._device))
        value, metrics = _split(returned)
        if not self._updates and torch.is_grad_enabled() and not value.requires_grad:
            raise InvalidInputError(
                "expected a differentiable loss, got one without a gradient; compute it from the "
                "model's outputs, without detach(), item() or no_grad()"
            )
        return Loss(value, metrics, batch_size(batch))

    def check_batch(self, batch: Any) -> None:
        """Refuse a batch of a form that cannot be evaluated, before the model is called."""
        if self._training_step is not None or self._is_keywords(batch):
            return
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            length = f" of length {len(batch)}" if isinstance(batch, (tuple, list)) else ""
            raise InvalidInputError(
                "expected a batch to be a pair (inputs, targets), got "
                f"{type(batch).__name__}{length}; {_WRITE_A_STEP}"
            )
        if self._criterion is None:
            raise InvalidInputError(
                f"expected a criterion for batches of (inputs, targets), got None; {_WRITE_A_STEP}"
            )
        self._check_inputs(len(batch) - 1)

    def _check_inputs(self, count: int) -> None:
        try:
            signature = inspect.signature(self._model.forward)
        except (TypeError, ValueError):
            return  # a compiled or scripted forward may have none to look at
        try:
            signature.bind(*range(count))
        except TypeError as error:
            raise InvalidInputError(
                f"expected a batch to be a pair (inputs, targets), got {count} inputs and a "
                f"target, which the model's forward does not take ({error}); {_WRITE_A_STEP}"
            ) from None

    def _is_keywords(self, batch: Any) -> bool:
        return self._criterion is None and isinstance(batch, Mapping)

    def _evaluate(self, batch: Any) -> Any:
        if self._training_step is not None:
            return self._training_step(self._model, batch)
        if self._is_keywords(batch):
            return self._model(**batch)
        *inputs, targets = batch
        assert self._criterion is not None
        return self._criterion(self._model(*inputs), targets)


def evaluations(loss: LossFunction, batches: Iterator[Any], count: int) -> Iterator[Loss]:
    """Evaluate the next `count` batches, one at a time."""
    for _ in range(count):
        yield loss(next(batches))


def _split(returned: Any) -> tuple[Tensor, dict[str, Any]]:
    """Split what a step returned into a scalar loss and the scalars beside it."""
    loss: Any
    metrics: dict[str, Any] = {}
    if isinstance(returned, Tensor):
        loss = returned
    elif isinstance(returned, Mapping) and "loss" in returned:
        loss = returned["loss"]
        metrics = {k: v for k, v in returned.items() if k != "loss" and _is_scalar(v)}
    else:
        loss = getattr(returned, "loss", None)
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise InvalidInputError(
            f"expected a scalar loss, got {_describe(returned if loss is None else loss)}; "
            "reduce it, as with .mean(), and return it alone or as the entry or attribute 'loss'"
        )
    return (loss if loss.dim() == 0 else loss.reshape(())), metrics


def _is_scalar(value: Any) -> bool:
    return isinstance(value, (int, float)) or (isinstance(value, Tensor) and value.numel() == 1)


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"

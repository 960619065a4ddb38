"""From a batch to a scalar loss: the criterion, the model's own loss, or the user's function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lrfinder._distributed.sharding import mean_over_processes, without_sync
from lrfinder._errors import InvalidInputError
from lrfinder._sweep.batch import batch_size, to_device

Criterion = Callable[..., Any]
TrainingStep = Callable[[Any, Any], Any]

_WRITE_A_STEP = (
    "pass training_step=f with f(model, batch) -> loss for batches and losses of any other form"
)


class StepOutput(NamedTuple):
    """The loss of a batch, or of a whole optimizer step.

    Attributes:
        loss: scalar tensor; the mean over the micro-batches of a step, weighted by their sizes.
        metrics: further scalars that the step returned beside it, without a graph.
        size: number of samples; None where the batches do not tell.
        skipped: the gradient scaler found infinities and left the parameters alone.
    """

    loss: Tensor
    metrics: dict[str, Any]
    size: int | None
    skipped: bool = False


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
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion | None,
        training_step: TrainingStep | None,
        device: torch.device,
        autocast: AbstractContextManager[Any] | None = None,
    ) -> None:
        self._model = model
        self._criterion = criterion
        self._training_step = training_step
        self._device = device
        self._autocast = autocast

    def __call__(self, batch: Any) -> StepOutput:
        """Evaluate the loss of one batch; raises `InvalidInputError` if it is not a scalar."""
        on_device = to_device(batch, self._device)
        if self._autocast is None:
            return as_output(self._evaluate(on_device), batch)
        with self._autocast:
            return as_output(self._evaluate(on_device), batch)

    def without_sync(self) -> AbstractContextManager[None]:
        """Return a context in which gradients are not yet averaged over the processes."""
        return without_sync(self._model)

    def over_processes(self, loss: Tensor, size: int | None) -> Tensor:
        """Return the mean of a loss of `size` samples over the processes that train together."""
        return mean_over_processes(self._model, loss, size)

    def _evaluate(self, batch: Any) -> Any:
        if self._training_step is not None:
            return self._training_step(self._model, batch)
        if self._criterion is None and isinstance(batch, Mapping):
            return self._model(**batch)
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
        *inputs, targets = batch
        try:
            outputs = self._model(*inputs)
        except TypeError:
            self._check_inputs(len(inputs))
            raise
        return self._criterion(outputs, targets)

    def _check_inputs(self, count: int) -> None:
        try:
            inspect.signature(self._model.forward).bind(*range(count))
        except TypeError as error:
            raise InvalidInputError(
                f"expected a batch to be a pair (inputs, targets), got {count} inputs and a "
                f"target, which the model's forward does not take ({error}); {_WRITE_A_STEP}"
            ) from None
        except ValueError:
            return  # a compiled or scripted forward may have no signature to look at


def as_output(returned: Any, batch: Any) -> StepOutput:
    """Split what a step returned into a scalar loss and the scalars beside it.

    Args:
        returned: a scalar, or a dict or object that has one as `loss`.
        batch: what it was computed from.

    Raises:
        InvalidInputError: if there is no scalar loss in it.
    """
    if isinstance(returned, Tensor) and returned.dim() == 0:
        return StepOutput(returned, {}, batch_size(batch))
    if isinstance(returned, Mapping):
        value = returned.get("loss")
    else:
        value = getattr(returned, "loss", returned)
    if not _is_scalar(value):
        raise InvalidInputError(
            f"expected a scalar loss, got {_describe(returned if value is None else value)}; "
            "reduce it, as with .mean(), and return it alone or as the entry or attribute 'loss'"
        )
    return StepOutput(torch.as_tensor(value).reshape(()), _metrics(returned), batch_size(batch))


def _metrics(returned: Any) -> dict[str, Any]:
    if not isinstance(returned, Mapping):
        return {}
    return {
        name: value.detach() if isinstance(value, Tensor) else float(value)
        for name, value in returned.items()
        if name != "loss" and _is_scalar(value)
    }


def _is_scalar(value: Any) -> bool:
    return value.numel() == 1 if isinstance(value, Tensor) else isinstance(value, Real)


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    return f"a {type(value).__name__}"

"""From a batch to a scalar loss: the criterion, the model's own loss, or the user's function."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from numbers import Real
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from lrfinder._errors import InvalidInputError
from lrfinder._snapshot.references import attribute
from lrfinder._sweep.batch import batch_size, to_device

Criterion = Callable[..., Any]
TrainingStep = Callable[[Any, Any], Any]
Autocast = AbstractContextManager[Any] | Callable[[], AbstractContextManager[Any]]

_WRITE_A_STEP = "pass training_step=f with f(model, batch) -> loss"


class StepOutput(NamedTuple):
    """The loss of a batch, or of a whole optimizer step.

    Attributes:
        loss: scalar tensor; the mean over the micro-batches of a step, weighted by their sizes.
        metrics: further scalars that the step returned, without a graph.
        size: number of samples; None if unknown.
        skipped: the parameters are unchanged, because the gradient scaler found infinities or
            `update_step` accumulates.
        lrs: rate of each parameter group at the optimizer step; empty if the optimizer did not
            step, None if they can only be read from the parameter groups.
    """

    loss: Tensor
    metrics: dict[str, Any]
    size: int | None
    skipped: bool = False
    lrs: list[float] | None = None

    @property
    def only_accumulated(self) -> bool:
        """Whether it is of a call of `update_step` that did not step the optimizer."""
        return self.skipped and self.lrs == []

    def copied(self) -> StepOutput:
        """Return it in memory of its own: a replayed graph or a step may write to the old again."""
        metrics = {
            name: value.clone() if isinstance(value, Tensor) else value
            for name, value in self.metrics.items()
        }
        return self._replace(loss=self.loss.clone(), metrics=metrics)


class LossFunction:
    """Evaluates the loss of a batch.

    Without `training_step`, a tuple is `(inputs..., targets)` and is evaluated as
    `criterion(model(*inputs), targets)`. A dict is passed as keyword arguments to a model whose
    output has a `.loss`.

    Args:
        model: called with the inputs of a batch.
        criterion: `criterion(outputs, targets) -> loss`; None if the model computes its loss.
        training_step: `f(model, batch) -> loss` instead of both.
        device: where batches are moved.
        autocast: entered around each evaluation, or a function that returns such a context; None
            for full precision.
    """

    def __init__(
        self,
        model: nn.Module,
        criterion: Criterion | None,
        training_step: TrainingStep | None,
        device: torch.device,
        autocast: Autocast | None = None,
    ) -> None:
        self.model = model
        self._criterion = criterion
        self._training_step = training_step
        self._device = device
        self._autocast = _factory(autocast)
        self._checked_inputs = 0

    def __call__(self, batch: Any) -> StepOutput:
        """Evaluate the loss of one batch; raises `InvalidInputError` if it is not a scalar."""
        on_device = to_device(batch, self._device)
        if self._autocast is None:
            return as_output(self._evaluate(on_device), batch)
        context = self._autocast()
        if not hasattr(context, "__enter__"):
            raise InvalidInputError(
                f"autocast must return a context, got {_describe(context)}; return "
                'torch.autocast("cuda", torch.bfloat16), for example'
            )
        with context:
            return as_output(self._evaluate(on_device), batch)

    def _evaluate(self, batch: Any) -> Any:
        if self._training_step is not None:
            return self._training_step(self.model, batch)
        if self._criterion is None and isinstance(batch, Mapping):
            return self._own_loss(batch)
        if not isinstance(batch, (tuple, list)) or len(batch) < 2:
            raise InvalidInputError(
                f"a batch is {_describe(batch)}, not a pair (inputs, targets); {_WRITE_A_STEP}"
                + (", or leave criterion out" if isinstance(batch, Mapping) else "")
            )
        if self._criterion is None:
            raise InvalidInputError(
                f"batches of (inputs, targets) need a criterion, got None; {_WRITE_A_STEP} if the "
                "model computes the loss"
            )
        *inputs, targets = batch
        if len(inputs) > self._checked_inputs:
            self._check_inputs(len(inputs))
        outputs = self.model(*inputs)
        if not isinstance(outputs, Tensor):
            self._check_outputs(outputs)
        return self._criterion(outputs, targets)

    def _own_loss(self, batch: Mapping[str, Any]) -> Any:
        """Return what a model returns for keyword arguments, if it has a loss."""
        keys = ", ".join(map(str, batch))
        try:
            outputs = self.model(**batch)
        except TypeError:
            signature = _signature(self.model)
            if signature is None or _takes(signature, **batch):
                raise
            raise InvalidInputError(
                f"a batch has the keys {keys}, which forward{signature} does not take as "
                f"arguments; {_WRITE_A_STEP}"
            ) from None
        loss = outputs.get("loss") if isinstance(outputs, Mapping) else outputs
        if attribute(loss, "loss", loss) is None:
            raise InvalidInputError(
                f"the model returned no loss for a batch with the keys {keys}; add "
                f"the labels to the batch, or {_WRITE_A_STEP}"
            )
        return outputs

    def _check_inputs(self, count: int) -> None:
        """Raise unless it is clear that all parts of a batch but the last are inputs."""
        signature = _signature(self.model)
        if signature is not None and not _needs(signature, count):
            raise InvalidInputError(
                f"a batch has {count + 1} parts, but forward{signature} does not need {count} "
                f"inputs, so that the targets are not clear; {_WRITE_A_STEP}"
            )
        self._checked_inputs = count

    def _check_outputs(self, outputs: Any) -> None:
        """Raise if a criterion of torch, which takes a tensor, would get something else."""
        module = getattr(self._criterion, "__module__", None) or ""
        if module.startswith(("torch.nn.", "torch._C._nn")):
            part = (
                "outputs.logits"
                if attribute(outputs, "logits") is not None
                else "the part with the logits"
            )
            raise InvalidInputError(
                f"the model returned {_describe(outputs)}, but the criterion takes a tensor; "
                f"{_WRITE_A_STEP} that passes {part} to the criterion"
            )


def as_output(returned: Any, batch: Any) -> StepOutput:
    """Split what a step returned for a batch into a scalar loss and further scalars.

    Raises:
        InvalidInputError: if it is neither a scalar nor a dict or object that has one as `loss`.
    """
    if isinstance(returned, Tensor) and returned.dim() == 0:
        return StepOutput(returned, {}, batch_size(batch))
    if isinstance(returned, Mapping):
        value = returned.get("loss")
    else:
        value = attribute(returned, "loss", returned)
    if not _is_scalar(value):
        raise InvalidInputError(
            f"the loss must be a scalar, got {_describe(returned if value is None else value)}; "
            "reduce it, as with .mean(), and return it alone or as the entry or attribute 'loss'"
        )
    return StepOutput(torch.as_tensor(value).reshape(()), _metrics(returned), batch_size(batch))


def _factory(autocast: Any) -> Callable[[], AbstractContextManager[Any]] | None:
    """Return what makes a context for each evaluation."""
    again = getattr(autocast, "_recreate_cm", None)
    if callable(again):  # made by contextlib.contextmanager, and can be entered only once
        return again  # type: ignore[no-any-return]
    return (lambda: autocast) if hasattr(autocast, "__enter__") else autocast


def _signature(model: nn.Module) -> inspect.Signature | None:
    """Return the signature of a model's forward, inside its wrappers; None if it has none."""
    try:
        signature = inspect.signature(model.forward)
    except (TypeError, ValueError):  # a compiled or scripted forward may have none
        return None
    inner: Any = getattr(model, "module", getattr(model, "_orig_mod", None))
    is_wrapper = isinstance(inner, nn.Module) and _takes_any_number(signature)
    return _signature(inner) if is_wrapper else signature


def _takes_any_number(signature: inspect.Signature) -> bool:
    return any(each.kind is each.VAR_POSITIONAL for each in signature.parameters.values())


def _takes(signature: inspect.Signature, *arguments: Any, **keywords: Any) -> bool:
    try:
        signature.bind(*arguments, **keywords)
    except TypeError:
        return False
    return True


def _needs(signature: inspect.Signature, count: int) -> bool:
    """Return whether a forward takes `count` inputs and could not do with fewer."""
    could_be_fewer = count > 1 and _takes(signature, *range(count - 1))
    return _takes(signature, *range(count)) and (_takes_any_number(signature) or not could_be_fewer)


def _metrics(returned: Any) -> dict[str, Any]:
    if not isinstance(returned, Mapping):
        return {}
    if unnamed := [name for name in returned if not isinstance(name, str)]:
        raise InvalidInputError(
            f"the names of metrics must be strings, got {unnamed[0]!r}; rename it in your step"
        )
    return {
        name: value.detach() if isinstance(value, Tensor) else float(value)
        for name, value in returned.items()
        if name != "loss" and _is_scalar(value)
    }


def _is_scalar(value: Any) -> bool:
    if isinstance(value, Tensor):
        return value.numel() == 1 and not value.is_complex()
    return isinstance(value, Real)


def _describe(value: Any) -> str:
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    if isinstance(value, Mapping):
        return f"a {type(value).__name__} with the keys {', '.join(map(str, value))}"
    if isinstance(value, (tuple, list)):
        return f"a {type(value).__name__} of length {len(value)}"
    return f"a {type(value).__name__}"

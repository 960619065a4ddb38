"""One optimizer update from the next batches: accumulation, scaling, clipping, closures."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import islice
from typing import Any, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.batch import batch_weights
from lrfinder._sweep.loss import LossFunction, StepOutput

ClipGrad = float | Callable[[list[Tensor]], Any]


class Step(Protocol):
    """Takes what it needs from the batches and updates the parameters once."""

    def __call__(self, batches: Iterator[Any]) -> StepOutput:
        """Do one update."""


class GradientStep:
    """Zero the gradients, accumulate them over micro-batches, clip, and step.

    Args:
        loss: evaluates a batch.
        optimizer: steps once per call.
        accumulation_steps: micro-batches per update, >= 1.
        clip_grad: largest total norm of the gradients, > 0, or a function of the list of
            parameters that is run between backward and step.
    """

    _backward: Callable[..., None] = staticmethod(Tensor.backward)

    def __init__(
        self,
        loss: LossFunction,
        optimizer: Optimizer,
        accumulation_steps: int = 1,
        clip_grad: ClipGrad | None = None,
    ) -> None:
        self._loss = loss
        self._optimizer = optimizer
        self._accumulation_steps = accumulation_steps
        self._clip_grad = clip_grad
        self._zero_grad = _zero_grad_of(optimizer)
        self._batch: Any = None

    def __call__(self, batches: Iterator[Any]) -> StepOutput:
        """Do one update."""
        self._zero_grad()
        if self._accumulation_steps == 1:
            # Held until the next one is there, as the variable of a for loop holds it. Freed
            # sooner, it is more often glibc that trims the heap in every step.
            self._batch = next(batches)
            output = self._differentiate(self._batch)
        else:
            output = self._accumulate(list(islice(batches, self._accumulation_steps)))
        if self._clip_grad is not None:
            self._clip()
        self._optimizer.step()
        return output

    def _accumulate(self, micro_batches: list[Any]) -> StepOutput:
        """Add up the gradients of the mean loss over all samples."""
        if len(micro_batches) == 1:
            return self._differentiate(micro_batches[0])
        weights = batch_weights(micro_batches)
        outputs: list[StepOutput] = []
        for batch, weight in zip(micro_batches, weights, strict=True):
            is_last = len(outputs) == len(micro_batches) - 1
            with nullcontext() if is_last else self._loss.without_sync():
                outputs.append(self._differentiate(batch, weight))
        return _mean(outputs, weights)

    def _differentiate(self, batch: Any, weight: float = 1.0) -> StepOutput:
        """Add the gradient of one batch; return its loss without the graph."""
        output = self._loss(batch)
        if not output.loss.requires_grad:
            raise InvalidInputError(
                "expected a differentiable loss, got one without a gradient; compute it from the "
                "model's outputs, without detach(), item() or no_grad()"
            )
        self._backward(output.loss * weight if weight != 1 else output.loss)
        return output._replace(loss=output.loss.detach())

    def _clip(self) -> None:
        if self._clip_grad is None:
            return
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        if callable(self._clip_grad):
            self._clip_grad(parameters)
        else:
            torch.nn.utils.clip_grad_norm_(parameters, self._clip_grad)


class ClosureStep(GradientStep):
    """The same for an optimizer that evaluates the loss several times per step, such as LBFGS."""

    def __call__(self, batches: Iterator[Any]) -> StepOutput:
        """Do one update; the loss is the one before it, the first that was evaluated."""
        micro_batches = list(islice(batches, self._accumulation_steps))
        outputs: list[StepOutput] = []

        def closure() -> Tensor:
            self._zero_grad()
            outputs.append(self._accumulate(micro_batches))
            self._clip()
            # A line search must take the same way on every process.
            return self._loss.over_processes(outputs[-1].loss, outputs[-1].size)

        self._optimizer.step(closure)  # type: ignore[arg-type]  # torch's own closures do so
        return outputs[0]


class ScaledStep(GradientStep):
    """The same with a gradient scaler, which may skip the step.

    Args:
        scaler: scales the loss before backward.
        *arguments: as for `GradientStep`.
    """

    def __init__(self, scaler: torch.amp.GradScaler, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scaler = scaler

    def __call__(self, batches: Iterator[Any]) -> StepOutput:
        """Do one update; the scale falls if the scaler skipped it, and only then.

        A loss that is itself infinite or NaN does not count as skipped: no scale would help it.
        """
        self._zero_grad()
        output = self._accumulate(list(islice(batches, self._accumulation_steps)))
        if self._clip_grad is not None:
            self._scaler.unscale_(self._optimizer)
            self._clip()
        scale = self._scaler.get_scale()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        fell = self._scaler.get_scale() < scale
        return output._replace(skipped=fell and math.isfinite(output.loss))

    def _backward(self, loss: Tensor) -> None:
        self._scaler.scale(loss).backward()


def make_step(
    loss: LossFunction,
    optimizer: Optimizer,
    *,
    accumulation_steps: int,
    clip_grad: ClipGrad | None,
    scaler: torch.amp.GradScaler | None,
) -> Step:
    """Return the step that fits the optimizer and the scaler.

    Args:
        loss: evaluates a batch.
        optimizer: its `step` may need a closure.
        accumulation_steps: micro-batches per update, >= 1.
        clip_grad: as for `GradientStep`.
        scaler: gradient scaler; None for none.

    Raises:
        InvalidInputError: if the optimizer needs a closure and there is a scaler.
    """
    if not needs_closure(optimizer):
        if scaler is None:
            return GradientStep(loss, optimizer, accumulation_steps, clip_grad)
        return ScaledStep(scaler, loss, optimizer, accumulation_steps, clip_grad)
    if scaler is not None:
        raise InvalidInputError(
            f"expected no scaler with {type(optimizer).__name__}, whose step takes a closure, got "
            "one; torch's GradScaler cannot step it: leave the scaler out"
        )
    return ClosureStep(loss, optimizer, accumulation_steps, clip_grad)


def _zero_grad_of(optimizer: Optimizer) -> Callable[[], None]:
    """Return the optimizer's `zero_grad`, without its mark for the profiler if it is torch's own.

    That mark costs a small model a fiftieth of its step.
    """
    if getattr(optimizer.zero_grad, "__func__", None) is not Optimizer.zero_grad:
        return optimizer.zero_grad

    def zero_grad() -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    return zero_grad


def needs_closure(optimizer: Optimizer) -> bool:
    """Return whether the optimizer's `step` cannot be called without a closure."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def _mean(outputs: list[StepOutput], weights: list[float]) -> StepOutput:
    """Return the mean over micro-batches."""

    def weighted(values: list[Any]) -> Any:
        return sum(value * weight for value, weight in zip(values, weights, strict=True))

    sizes = [output.size for output in outputs if output.size is not None]
    return StepOutput(
        loss=weighted([output.loss for output in outputs]),
        metrics={
            name: weighted([output.metrics.get(name, math.nan) for output in outputs])
            for name in outputs[0].metrics
        },
        size=sum(sizes) if len(sizes) == len(outputs) else None,
    )

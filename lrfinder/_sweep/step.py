"""One optimizer step from the next batches: accumulation, scaling, clipping, closures."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import islice
from typing import Any

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrfinder._distributed.sharding import mean_over_processes, without_sync
from lrfinder._errors import InvalidInputError
from lrfinder._sweep.batch import batch_weights, shares, sum_sizes
from lrfinder._sweep.loss import LossFunction, StepOutput
from lrfinder._sweep.update_step import refuse_other_steps

ClipGrad = float | Callable[[list[Tensor]], Any]
Step = Callable[[Iterator[Any]], StepOutput]  # takes one optimizer step with the next batches


class GradientStep:
    """Zeroes the gradients, accumulates them over micro-batches, clips them, and steps.

    Args:
        loss: evaluates a batch.
        optimizer: steps once per call, with a closure if it asks for one, as SAM does.
        accumulation_steps: micro-batches per optimizer step, >= 1.
        clip_grad: largest total norm of the gradients, > 0, or a function of the list of
            parameters that is called between backward and step.
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
        self._micro_batches: list[Any] = []
        self._is_checked = False

    def __call__(self, batches: Iterator[Any]) -> StepOutput:
        """Take one optimizer step."""
        self._draw(batches)
        output = self._evaluate()
        try:
            self._optimizer.step()
        except Exception as error:
            if not _asks_for_closure(error):
                raise
            self._optimizer.step(self._closure)  # type: ignore[arg-type]  # torch's own do so
        return output

    def _draw(self, batches: Iterator[Any]) -> None:
        self._micro_batches = list(islice(batches, self._accumulation_steps))

    def _evaluate(self) -> StepOutput:
        """Compute the gradients of the mean loss over all samples, and clip them."""
        self._zero_grad()
        # The first evaluation shows which hooks there are.
        with nullcontext() if self._is_checked else refuse_other_steps():
            output = self._accumulate()
        self._is_checked = True
        if self._clip_grad is not None:
            self._clip(self._clip_grad)
        return output

    def _closure(self) -> Tensor:
        """Evaluate the same batches again, and return their loss."""
        with torch.enable_grad():
            output = self._evaluate()
        # A line search must take the same path on every process.
        return mean_over_processes(self._loss.model, output.loss, output.size)

    def _accumulate(self) -> StepOutput:
        if len(self._micro_batches) == 1:
            return self._differentiate(self._micro_batches[0])
        weights = batch_weights(self._micro_batches)
        outputs: list[StepOutput] = []
        for batch, weight in zip(self._micro_batches, weights, strict=True):
            is_last = len(outputs) == len(weights) - 1
            with nullcontext() if is_last else without_sync(self._loss.model):
                output = self._differentiate(batch, weight)
            outputs.append(output.copied())
        return mean_output(outputs)

    def _differentiate(self, batch: Any, weight: float = 1.0) -> StepOutput:
        """Add the gradient of one batch; return its loss without the graph."""
        output = self._loss(batch)
        if not output.loss.requires_grad:
            raise InvalidInputError(
                "the loss must be differentiable, got one without a gradient; compute it from the "
                "model's outputs, without detach(), item() or no_grad()"
            )
        self._backward(output.loss * weight if weight != 1 else output.loss)
        return output._replace(loss=output.loss.detach())

    def _clip(self, clip_grad: ClipGrad) -> None:
        parameters = [p for group in self._optimizer.param_groups for p in group["params"]]
        if callable(clip_grad):
            clip_grad(parameters)
        else:
            torch.nn.utils.clip_grad_norm_(parameters, clip_grad)


class ClosureStep(GradientStep):
    """The same for an optimizer that evaluates the loss several times per step, such as LBFGS."""

    def __call__(self, batches: Iterator[Any]) -> StepOutput:
        """Take one optimizer step; the loss is the first one evaluated, before any update."""
        self._draw(batches)
        self._outputs: list[StepOutput] = []
        self._optimizer.step(self._closure)  # type: ignore[arg-type]
        return self._outputs[0]

    def _evaluate(self) -> StepOutput:
        self._outputs.append(super()._evaluate())
        return self._outputs[-1]


class ScaledStep(GradientStep):
    """The same with a gradient scaler, which may skip the step."""

    def __init__(self, scaler: torch.amp.GradScaler, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scaler = scaler

    def __call__(self, batches: Iterator[Any]) -> StepOutput:
        """Take one optimizer step; the scale falls if the scaler skipped it, and only then.

        A loss that is itself infinite or NaN does not count as skipped: no scale would help it.
        """
        self._draw(batches)
        output = self._evaluate()
        scale = self._scaler.get_scale()
        try:
            self._scaler.step(self._optimizer)
        except Exception as error:
            if _asks_for_closure(error):
                raise _no_scaler(self._optimizer) from None
            raise
        self._scaler.update()
        fell = self._scaler.get_scale() < scale
        return output._replace(skipped=fell and math.isfinite(output.loss))

    def _clip(self, clip_grad: ClipGrad) -> None:
        self._scaler.unscale_(self._optimizer)
        super()._clip(clip_grad)

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
    """Return the step that fits the optimizer and the scaler, with arguments as for these steps.

    Raises:
        InvalidInputError: if the optimizer needs a closure and there is a scaler.
    """
    common = (loss, optimizer, accumulation_steps, clip_grad)
    if scaler is None:
        return ClosureStep(*common) if _needs_closure(optimizer) else GradientStep(*common)
    if _needs_closure(optimizer):
        raise _no_scaler(optimizer)
    return ScaledStep(scaler, *common)


def _zero_grad_of(optimizer: Optimizer) -> Callable[[], None]:
    """Return the optimizer's `zero_grad`, without its mark for the profiler if it is torch's own.

    The mark takes 2 to 4 % of the time that a small model takes for a step.
    """
    if getattr(optimizer.zero_grad, "__func__", None) is not Optimizer.zero_grad:
        return optimizer.zero_grad

    def zero_grad() -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                parameter.grad = None

    return zero_grad


def _needs_closure(optimizer: Optimizer) -> bool:
    """Return whether the optimizer's `step` cannot be called without a closure."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def _asks_for_closure(error: Exception) -> bool:
    """Return whether a step failed because it needs a closure that its signature does not need."""
    return "closure" in str(error) or (isinstance(error, AssertionError) and not str(error))


def _no_scaler(optimizer: Optimizer) -> InvalidInputError:
    return InvalidInputError(
        f"the step of {type(optimizer).__name__} takes a closure, and torch's GradScaler cannot "
        "step it; leave the scaler out"
    )


def mean_output(outputs: list[StepOutput]) -> StepOutput:
    """Return the mean over micro-batches; for a metric, over those that return it."""
    sizes = [output.size for output in outputs]
    weights = shares(sizes)
    loss: Any = sum(output.loss * weight for output, weight in zip(outputs, weights, strict=True))
    parts: dict[str, list[tuple[Any, float]]] = {}
    for output, weight in zip(outputs, weights, strict=True):
        for name, value in output.metrics.items():
            parts.setdefault(name, []).append((value * weight, weight))
    totals = {name: sum(weight for _, weight in each) for name, each in parts.items()}
    metrics = {
        name: sum(value for value, _ in each) / totals[name] if totals[name] else math.nan
        for name, each in parts.items()
    }
    return StepOutput(loss, metrics, sum_sizes(sizes))

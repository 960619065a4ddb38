"""One optimizer update from the next batches: accumulation, scaling, clipping, closures."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterator
from contextlib import nullcontext
from itertools import islice
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.optim import Optimizer

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.batch import batch_weights
from lrfinder._sweep.loss import LossFunction

ClipGrad = float | Callable[[list[Tensor]], Any]


class StepOutcome(NamedTuple):
    """What one optimizer update has to tell.

    Attributes:
        loss: mean over the micro-batches, weighted by their sizes; a detached scalar tensor.
        metrics: the same mean of every further scalar.
        size: samples in the update; None where the batches do not tell.
        skipped: the gradient scaler found infinities and left the parameters alone.
    """

    loss: Tensor
    metrics: dict[str, Any]
    size: int | None
    skipped: bool = False


class Step(Protocol):
    """Takes what it needs from the batches and updates the parameters once."""

    def __call__(self, batches: Iterator[Any]) -> StepOutcome:
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

    def __call__(self, batches: Iterator[Any]) -> StepOutcome:
        """Do one update."""
        self._zero_grad()
        if self._accumulation_steps == 1:
            # Held until the next one is there, as the variable of a for loop holds it. Freed
            # sooner, it is more often glibc that trims the heap in every step.
            self._batch = next(batches)
            outcome = self._differentiate(self._batch)
        else:
            outcome = self._accumulate(list(islice(batches, self._accumulation_steps)))
        if self._clip_grad is not None:
            self._clip()
        self._optimizer.step()
        return outcome

    def _accumulate(self, micro_batches: list[Any]) -> StepOutcome:
        """Add up the gradients of the mean loss over all samples."""
        if len(micro_batches) == 1:
            return self._differentiate(micro_batches[0])
        weights = batch_weights(micro_batches)
        outcomes: list[StepOutcome] = []
        for batch, weight in zip(micro_batches, weights, strict=True):
            is_last = len(outcomes) == len(micro_batches) - 1
            with nullcontext() if is_last else self._loss.without_sync():
                outcomes.append(self._differentiate(batch, weight))
        return _mean(outcomes, weights)

    def _differentiate(self, batch: Any, weight: float = 1.0) -> StepOutcome:
        """Add the gradient of one batch; return what it has to tell, apart from the graph."""
        value, metrics, size = self._loss(batch)
        if not value.requires_grad:
            raise InvalidInputError(
                "expected a differentiable loss, got one without a gradient; compute it from the "
                "model's outputs, without detach(), item() or no_grad()"
            )
        self._backward(value * weight if weight != 1 else value)
        return StepOutcome(value.detach(), metrics, size)

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

    def __call__(self, batches: Iterator[Any]) -> StepOutcome:
        """Do one update; the loss is the one before it, the first that was evaluated."""
        micro_batches = list(islice(batches, self._accumulation_steps))
        outcomes: list[StepOutcome] = []

        def closure() -> Tensor:
            self._zero_grad()
            outcomes.append(self._accumulate(micro_batches))
            self._clip()
            # A line search must take the same way on every process.
            return self._loss.over_processes(outcomes[-1].loss, outcomes[-1].size)

        self._optimizer.step(closure)  # type: ignore[arg-type]  # torch's own closures do so
        return outcomes[0]


class ScaledStep(GradientStep):
    """The same with a gradient scaler, which may skip the step.

    Args:
        scaler: scales the loss before backward.
        *arguments: as for `GradientStep`.
    """

    def __init__(self, scaler: torch.amp.GradScaler, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._scaler = scaler

    def __call__(self, batches: Iterator[Any]) -> StepOutcome:
        """Do one update; the scale falls if the scaler skipped it, and only then.

        A loss that is itself infinite or NaN does not count as skipped: no scale would help it.
        """
        self._zero_grad()
        outcome = self._accumulate(list(islice(batches, self._accumulation_steps)))
        if self._clip_grad is not None:
            self._scaler.unscale_(self._optimizer)
            self._clip()
        scale = self._scaler.get_scale()
        self._scaler.step(self._optimizer)
        self._scaler.update()
        fell = self._scaler.get_scale() < scale
        return outcome._replace(skipped=fell and math.isfinite(outcome.loss))

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
    """Tell whether the optimizer's `step` cannot be called without a closure."""
    closure = inspect.signature(optimizer.step).parameters.get("closure")
    return closure is not None and closure.default is inspect.Parameter.empty


def _mean(outcomes: list[StepOutcome], weights: list[float]) -> StepOutcome:
    """Return the mean of what some batches have to tell."""

    def weighted(values: list[Any]) -> Any:
        return sum(value * weight for value, weight in zip(values, weights, strict=True))

    sizes = [outcome.size for outcome in outcomes if outcome.size is not None]
    return StepOutcome(
        loss=weighted([outcome.loss for outcome in outcomes]),
        metrics={
            name: weighted([outcome.metrics.get(name, math.nan) for outcome in outcomes])
            for name in outcomes[0].metrics
        },
        size=sum(sizes) if len(sizes) == len(outcomes) else None,
    )

"""An update that the user's own function does from beginning to end."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import register_optimizer_step_pre_hook

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.batch import to_device
from lrfinder._sweep.loss import StepOutput, as_output


class UserStep:
    """Calls the user's function, which does forward, backward and every optimizer step.

    Args:
        update_step: `f(model, batch) -> loss`, returned as for a training step.
        model: passed to it.
        device: where batches are moved.
        optimizers: those that will be put back, and so the ones that it may step.
    """

    def __init__(
        self,
        update_step: Callable[[Any, Any], Any],
        model: nn.Module,
        device: torch.device,
        optimizers: Iterable[Any],
    ) -> None:
        self._update_step = update_step
        self._model = model
        self._device = device
        self._optimizers = list(optimizers)

    def __call__(self, batches: Iterator[Any]) -> StepOutput:
        """Do one update.

        Raises:
            InvalidInputError: if an optimizer is about to step that would not be put back.
        """
        batch = next(batches)
        with _only(self._optimizers):
            returned = self._update_step(self._model, to_device(batch, self._device))
        output = as_output(returned, batch)
        return output._replace(loss=output.loss.detach())


@contextmanager
def _only(optimizers: list[Any]) -> Iterator[None]:
    # Wrappers share the list of groups with the optimizer that they step.
    groups = [getattr(optimizer, "param_groups", None) for optimizer in optimizers]

    def check(optimizer: Optimizer, *_: Any) -> None:
        if not any(optimizer.param_groups is known for known in groups):
            raise InvalidInputError(
                "expected update_step to step only optimizers that are put back, got "
                f"{type(optimizer).__name__}, which is not; add it, and its model where that is "
                "another one, to LRFinder(..., preserve=[...])"
            )

    hook = register_optimizer_step_pre_hook(check)
    try:
        yield
    finally:
        hook.remove()

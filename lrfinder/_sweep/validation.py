"""The validation loss on a fixed subset, measured without an effect on the training."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from lrfinder._snapshot import rng as _rng
from lrfinder._sweep.batch import batch_weights, head, total_size
from lrfinder._sweep.batches import take
from lrfinder._sweep.loss import LossFunction


class Validation:
    """Measures the mean loss over the first batches of a loader, the same at every call.

    Args:
        model: evaluated in eval mode, without gradients.
        optimizer: put in eval mode as well, if it has one, as Schedule-Free optimizers do.
        loss: evaluates a batch.
        loader: any iterable of batches; read once.
        batches: how many of its batches are kept and used, >= 1; None for as many samples of the
            first as a training step has.
        every: optimizer steps from one measurement to the next, >= 1.

    Raises:
        InvalidInputError: if the loader gives no batch.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: Any,
        loss: LossFunction,
        loader: Iterable[Any],
        batches: int | None,
        every: int,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._loss = loss
        self._follows_training = batches is None
        self.every = every
        restore = _rng.capture()  # a loader draws its seed from the generator of the training
        try:
            self._batches = take(loader, batches or 1)
        finally:
            restore()

    def begin(self, train_size: int | None) -> None:
        """Choose the subset before the first measurement.

        Args:
            train_size: samples in a training step, >= 1; None if that is not known.
        """
        if self._follows_training and train_size is not None:
            self._batches = [head(batch, train_size) for batch in self._batches]

    @property
    def size(self) -> int | None:
        """Number of samples in the subset; None if the batches do not tell."""
        return total_size(self._batches)

    @property
    def description(self) -> str:
        """How often it is measured and on how many batches, in words."""
        return f"every {self.every} steps on {len(self._batches)} batches"

    @torch.no_grad()
    def __call__(self) -> Tensor:
        """Return the loss, a scalar tensor on its device."""
        # Not in a generator: interrupted before it ends, its `finally` would run at any later time.
        flags = [(module, module.training) for module in self._model.modules()]
        parameters = self._parameters_with_modes()
        values = [parameter.clone() for parameter in parameters]
        restore = _rng.capture()
        try:
            if parameters:
                self._optimizer.eval()
            self._model.eval()
            losses = [self._loss(batch).loss for batch in self._batches]
        finally:
            self._model.train()  # some modules do more here than to set the flag
            for module, training in flags:
                module.training = training
            if parameters:
                self._optimizer.train()
            for parameter, value in zip(parameters, values, strict=True):
                parameter.copy_(value)  # the way to eval mode and back rounds them
            restore()
        weights = batch_weights(self._batches)
        return torch.stack([loss * w for loss, w in zip(losses, weights, strict=True)]).sum()

    def _parameters_with_modes(self) -> list[Tensor]:
        """Return the parameters of an optimizer that gives them other values in eval mode."""
        if not all(callable(getattr(self._optimizer, mode, None)) for mode in ("eval", "train")):
            return []
        return [p for group in self._optimizer.param_groups for p in group["params"]]

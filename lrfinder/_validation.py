"""The validation loss on a fixed subset, measured without a trace on the training."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from lrfinder import _rng
from lrfinder._errors import InvalidInputError
from lrfinder._loss import LossFunction
from lrfinder._step import batch_weights


class Validation:
    """Measures the mean loss over the first batches of a loader, the same at every call.

    Args:
        model: evaluated in eval mode, without gradients.
        loss: evaluates a batch.
        loader: any iterable of batches; read once.
        batches: how many of its batches are held and used, >= 1.
        every: optimizer steps from one measurement to the next, >= 1.

    Raises:
        InvalidInputError: if the loader gives no batch.
    """

    def __init__(
        self, model: nn.Module, loss: LossFunction, loader: Iterable[Any], batches: int, every: int
    ) -> None:
        self._model = model
        self._loss = loss
        self.every = every
        put_back = _rng.capture()  # a loader draws its seed from the generator of the training
        self._batches = list(islice(loader, batches))
        put_back()
        if not self._batches:
            raise InvalidInputError(
                "expected a validation loader with at least one batch, got an empty one"
            )
        loss.check_batch(self._batches[0])
        self._weights = batch_weights(self._batches)

    @torch.no_grad()
    def __call__(self) -> Tensor:
        """Return the loss, a scalar tensor on its device."""
        put_back = _rng.capture()
        training = [module for module in self._model.modules() if module.training]
        self._model.eval()
        try:
            losses = [self._loss(batch).value * w for batch, w in self._weighted()]
        finally:
            for module in training:
                module.training = True
            put_back()
        return torch.stack(losses).sum()

    def _weighted(self) -> Iterable[tuple[Any, float]]:
        return zip(self._batches, self._weights, strict=True)

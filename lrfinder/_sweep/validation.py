"""The validation loss on a fixed subset, measured without an effect on the training."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import islice
from typing import Any

import torch
from torch import Tensor, nn

from lrfinder._snapshot import rng as _rng
from lrfinder._sweep.batch import batch_weights, pieces, total_size
from lrfinder._sweep.batches import take
from lrfinder._sweep.loss import LossFunction


class Validation:
    """Measures the mean loss over the first batches of a loader.

    It measures all of them at each call, or one part at a time. Parts are cheaper, and comparable
    between runs, because every run measures the same parts in the same order.

    Args:
        model: evaluated in eval mode, without gradients.
        optimizer: put in eval mode as well, if it has one, as Schedule-Free optimizers do.
        loss: evaluates a batch.
        loader: any iterable of batches; read once.
        batches: how many of its batches are kept and used, >= 1; None for pieces that have as many
            samples as a training step, one for each part.
        parts: the subset is divided into so many parts, >= 1, or as many as it has batches, and one
            of them is measured at each call.

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
        parts: int = 1,
    ) -> None:
        self._model = model
        self._optimizer = optimizer
        self._loss = loss
        self._most_parts = parts
        self._cut_pending = batches is None
        self._divide(take(loader, batches or parts, "val_loader"))
        self._next = 0

    def begin(self, train_size: int | None) -> None:
        """Choose the subset before the first measurement of a sweep, and begin with its first part.

        Args:
            train_size: samples in a training step, >= 1; None if that is not known.
        """
        self._next = 0
        if self._cut_pending and train_size:
            kept = (batch for part in self._parts for batch in part)
            every = (piece for batch in kept for piece in pieces(batch, train_size))
            self._divide(list(islice(every, self._most_parts)))
            self._cut_pending = False

    def _divide(self, batches: list[Any]) -> None:
        count = min(self._most_parts, len(batches))
        self._parts = [batches[part::count] for part in range(count)]

    @property
    def description(self) -> str:
        """On how many batches it is measured at each call, in words."""
        return f"on {len(self._parts[0])} batches"

    @torch.no_grad()
    def __call__(self) -> tuple[Tensor, int | None]:
        """Return the loss, a scalar tensor on its device, and of how many samples, if known."""
        # With fewer parts than asked for, each round of `parts` calls still measures the same ones.
        batches = self._parts[self._next % self._most_parts % len(self._parts)]
        self._next += 1
        # Not a generator-based context: if a signal interrupts it, `finally` may run much later.
        flags = [(module, module.training) for module in self._model.modules()]
        parameters = self._parameters_with_modes()
        values = [parameter.clone() for parameter in parameters]
        restore = _rng.capture()
        try:
            if parameters:
                self._optimizer.eval()
            self._model.eval()
            # Copies, for a replayed graph writes its next loss to the same memory.
            losses = [self._loss(batch).loss.clone() for batch in batches]
        finally:
            self._model.train()  # some modules do more here than to set the flag
            for module, training in flags:
                module.training = training
            if parameters:
                self._optimizer.train()
            for parameter, value in zip(parameters, values, strict=True):
                parameter.copy_(value)  # the way to eval mode and back rounds them
            restore()
        weights = batch_weights(batches)
        mean = torch.stack([loss * w for loss, w in zip(losses, weights, strict=True)]).sum()
        return mean, total_size(batches)

    def _parameters_with_modes(self) -> list[Tensor]:
        """Return the parameters of an optimizer that gives them other values in eval mode."""
        if not all(callable(getattr(self._optimizer, mode, None)) for mode in ("eval", "train")):
            return []
        return [p for group in self._optimizer.param_groups for p in group["params"]]

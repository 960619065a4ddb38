"""The range test for a Hugging Face `Trainer`, before `trainer.train()`.

```python
result = range_test(trainer, set_lr=True)  # with args.learning_rate from the result
trainer.train()
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import nn

from lrfinder._errors import InvalidInputError, missing_extra
from lrfinder._finder import LRFinder
from lrfinder._result import RangeTestResult
from lrfinder._snapshot.snapshot import preserve_state
from lrfinder._sweep.param_groups import learning_rates

try:
    from transformers import Trainer
except ImportError as error:
    raise missing_extra("transformers", "transformers") from error


def range_test(trainer: Trainer, *, set_lr: bool = False, **options: Any) -> RangeTestResult:
    """Run a range test as `trainer` would train, and leave the trainer as it was.

    Batches come from `get_train_dataloader` and `get_batch_samples`, losses from `compute_loss`,
    the groups from `create_optimizer`; precision, accumulation and `max_grad_norm` are those of
    its arguments. Callbacks are not called and nothing is logged or saved.

    Args:
        trainer: of a single process.
        set_lr: write the suggestion to `trainer.args.learning_rate`, and to the optimizer where
            the trainer has one already.
        **options: as for `LRFinder.range_test`.

    Raises:
        InvalidInputError: if the trainer trains in several processes, or shards its model.
        NoSuggestionError: if `set_lr` is asked for and the curve names no rate.
    """
    _check(trainer)
    own = trainer.optimizer
    try:
        with preserve_state(trainer.model):
            optimizer = trainer.create_optimizer()
            largest = max(learning_rates(optimizer))
            result = _sweep(trainer, optimizer, options)
    finally:
        trainer.optimizer = own
    if set_lr:
        suggestion = result.suggest()
        # The rate of the arguments is that of the largest group only where no code scales it.
        trainer.args.learning_rate *= suggestion.lr / largest
        if own is not None:
            suggestion.apply(own)
    return result


def _check(trainer: Trainer) -> None:
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    if trainer.args.world_size > 1 or sharded:
        raise InvalidInputError(
            f"expected a trainer of a single process, got {trainer.args.world_size} processes"
            f"{' with a sharded model' if sharded else ''}; run the range test by itself in one "
            "process, with a per-device batch size as large as the batch of all of them"
        )


def _sweep(
    trainer: Trainer, optimizer: torch.optim.Optimizer, options: dict[str, Any]
) -> RangeTestResult:
    finder = LRFinder(
        trainer.model,
        optimizer,
        training_step=_step(trainer),
        scaler=trainer.accelerator.scaler,
        clip_grad=trainer.args.max_grad_norm or None,
    )
    loader = trainer.get_train_dataloader()
    accumulation = {"accumulation_steps": trainer.args.gradient_accumulation_steps}
    try:
        return finder.range_test(_MicroBatches(trainer, loader), **(accumulation | options))
    finally:
        if hasattr(loader, "end"):  # accelerate counts a loader that was left midway as in use
            loader.end()


@dataclass(frozen=True)
class _MicroBatch:
    """One of the batches of an update.

    Attributes:
        inputs: keyword arguments of the model.
        items: number of targets in the whole update; None where the trainer does not count them.
    """

    inputs: Any
    items: Any

    def to(self, device: torch.device) -> _MicroBatch:
        """Move what can be moved to a device."""
        moved = {k: v.to(device) if hasattr(v, "to") else v for k, v in self.inputs.items()}
        return replace(self, inputs=moved)


class _MicroBatches:
    """The batches of a loader, without an end, each with the number of targets in its update.

    Args:
        trainer: counts the targets.
        loader: is started again when it ends.
    """

    def __init__(self, trainer: Trainer, loader: Iterable[Any]) -> None:
        self._trainer = trainer
        self._loader = loader

    def __iter__(self) -> Iterator[_MicroBatch]:
        args, batches = self._trainer.args, _endless(self._loader)
        while True:
            samples, items = self._trainer.get_batch_samples(
                batches, args.gradient_accumulation_steps, args.device
            )
            if not samples:
                return
            yield from (_MicroBatch(inputs, items) for inputs in samples)


def _endless(loader: Iterable[Any]) -> Iterator[Any]:
    empty = False
    while not empty:
        empty = True
        for batch in loader:
            empty = False
            yield batch


def _step(trainer: Trainer) -> Callable[[nn.Module, _MicroBatch], Any]:
    def step(model: nn.Module, batch: _MicroBatch) -> Any:
        with trainer.compute_loss_context_manager(), trainer.accelerator.autocast():
            loss = trainer.compute_loss(model, batch.inputs, num_items_in_batch=batch.items)
        # A loss over the targets of the update is a part of their sum, where we take a mean.
        return loss * trainer.args.gradient_accumulation_steps if _is_part(trainer, batch) else loss

    return step


def _is_part(trainer: Trainer, batch: _MicroBatch) -> bool:
    """Tell whether the loss of a micro-batch is divided by the targets of the whole update."""
    stated = getattr(trainer, "loss_is_scaled_for_ga", None)
    if stated is not None:
        return bool(stated)
    counted = trainer.model_accepts_loss_kwargs and batch.items is not None
    return bool(counted or trainer.compute_loss_func is not None)

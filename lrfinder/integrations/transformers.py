"""The learning rate of a Hugging Face `Trainer`, before `trainer.train()`.

```python
recommend(trainer, set_lr=True)  # sets args.learning_rate; or range_test, for a quick look
trainer.train()
```
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib import import_module
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.optim import Optimizer

from lrfinder._errors import InvalidInputError, missing_extra
from lrfinder._finder import LRFinder
from lrfinder._recommend.recommendation import Recommendation
from lrfinder._result import RangeTestResult
from lrfinder._snapshot.snapshot import preserve_state
from lrfinder._snapshot.storage import Where
from lrfinder._sweep.batch import batch_weights
from lrfinder._sweep.batches import count_batches
from lrfinder._sweep.checks import check_preserve, reject_keywords
from lrfinder._sweep.param_groups import (
    learning_rates,
    overriding_scheduler,
    set_starting_rates,
)
from lrfinder.integrations._kind import check_kind
from lrfinder.integrations._set_lr import check_one_factor, suggest_or_warn
from lrfinder.integrations._updates import endless
from lrfinder.suggestion import Suggestion

try:
    from accelerate.utils import convert_outputs_to_fp32
    from transformers import Trainer
except ImportError as error:
    raise missing_extra("transformers", "transformers") from error

_reject_keywords = reject_keywords(
    accumulation_steps="accumulation is that of the arguments, gradient_accumulation_steps"
)
# A longer list is taken for data.
_MOST_ITEMS = 1000
_DATA = ("train_dataset", "eval_dataset")
_SET_EACH = "call trainer.create_optimizer() before, and set_lr sets the rate of each group in it"


@_reject_keywords
def range_test(
    trainer: Trainer,
    *,
    set_lr: bool = False,
    preserve: Sequence[Any] = (),
    snapshot: Where = "memory",
    **options: Any,
) -> RangeTestResult:
    """Run a range test as `trainer` would train, and leave the trainer as it was.

    Batches come from `get_train_dataloader` and `get_batch_samples`, losses and gradients from
    `training_step`, the groups from `create_optimizer`; precision, accumulation, `max_grad_norm`,
    activation checkpointing and NEFTune are those of its arguments. Callbacks are not called and
    nothing is logged or saved. Numbers, tensors, and lists and dicts of them that a subclass keeps
    in attributes of the trainer are restored too.

    Args:
        trainer: of a single process.
        set_lr: write the suggestion to `trainer.args.learning_rate`, and to the trainer's optimizer
            if it exists. If it does not, all groups must keep their ratios; call
            `trainer.create_optimizer()` first to set a rate for each group. If there is no
            suggestion, a warning says why and the rate stays.
        preserve: list of further objects to restore.
        snapshot: as for `LRFinder`; two copies of the weights are kept.
        **options: as for `LRFinder.range_test`; as `val_loader`, pass
            `trainer.get_eval_dataloader()`, whose losses are those of `prediction_step`.

    Raises:
        InvalidInputError: if the trainer trains in several processes, or shards its model, or if
            `set_lr` is true and cannot express what `groups` and the bounds ask for, or a scheduler
            of your own would undo it.
    """
    with _finder(trainer, options, preserve, snapshot, set_lr=set_lr) as (finder, loader):
        result = finder.range_test(loader, **options)
    if set_lr and (suggestion := suggest_or_warn(result)) is not None:
        _set_lr(trainer, finder.optimizer, suggestion)
    return result


@_reject_keywords
def recommend(
    trainer: Trainer,
    *,
    set_lr: bool = False,
    preserve: Sequence[Any] = (),
    snapshot: Where = "memory",
    **options: Any,
) -> Recommendation:
    """Find the rate to train with by short runs, each as `trainer` would train.

    The trainer stays as it was.

    Args:
        trainer: as for `range_test`.
        set_lr: as for `range_test`, with the recommended rate.
        preserve: as for `range_test`.
        snapshot: as for `range_test`.
        **options: as for `LRFinder.recommend`; `total_steps` is that of the trainer's arguments,
            and as `val_loader`, pass `trainer.get_eval_dataloader()`.

    Raises:
        InvalidInputError: as for `range_test`.
        NoSuggestionError: if no rate trains.
    """
    with _finder(trainer, options, preserve, snapshot, set_lr=set_lr) as (finder, loader):
        options.setdefault("total_steps", _planned_steps(trainer, loader))
        found = finder.recommend(loader, **options)
    if set_lr:
        _set_lr(trainer, finder.optimizer, found)
    return found


def _planned_steps(trainer: Trainer, loader: _MicroBatches) -> int | None:
    """Return the optimizer steps of the training that the arguments ask for, if that is known."""
    args = trainer.args
    if args.max_steps > 0:
        return int(args.max_steps)
    steps = math.ceil(count_batches(loader) / args.gradient_accumulation_steps)
    return math.ceil(args.num_train_epochs * steps) or None


def _set_lr(trainer: Trainer, tested: Optimizer, suggestion: Suggestion) -> None:
    """Write a rate to the arguments, and to the trainer's optimizer if it has one already."""
    args, optimizer = trainer.args, trainer.optimizer
    if optimizer is None:
        suggestion.warn_of_doubt()
        # The rate of the arguments is that of the largest group unless the user's code scales it.
        args.learning_rate *= suggestion.lr / max(learning_rates(tested))
        return
    args.learning_rate = suggestion.lr
    if not trainer._created_lr_scheduler:
        suggestion.apply(optimizer)
        return
    # `apply` would warn of a scheduler that `train` replaces by a new one.
    suggestion.warn_of_doubt()
    set_starting_rates(optimizer, suggestion.lrs)


@contextmanager
def _finder(
    trainer: Trainer,
    options: dict[str, Any],
    preserve: Sequence[Any],
    where: Where,
    *,
    set_lr: bool,
) -> Iterator[tuple[LRFinder, _MicroBatches]]:
    """Yield the finder and the data of a trainer, which is left as it was."""
    check_kind("trainer", trainer, Trainer, "pass the trainer that holds the model")
    options["accumulation_steps"] = trainer.args.gradient_accumulation_steps
    sharded = trainer.is_fsdp_enabled or trainer.is_deepspeed_enabled
    if trainer.args.world_size > 1 or sharded:
        raise InvalidInputError(
            f"the trainer uses {trainer.args.world_size} processes"
            f"{' and a sharded model' if sharded else ''}; run the range test in a single process "
            "and multiply gradient_accumulation_steps by their number"
        )
    check_preserve(preserve)
    if set_lr:
        _check_scheduler(trainer)
    own = trainer.optimizer
    loader: Any = None
    try:
        with preserve_state(trainer.model, trainer.accelerator._dataloaders, snapshot=where):
            _prepare_model(trainer)
            optimizer = trainer.create_optimizer()
            if set_lr and own is None:
                check_one_factor(optimizer, learning_rates(optimizer), options, _SET_EACH)
            loader = trainer.get_train_dataloader()
            finder = LRFinder(
                trainer.model,
                optimizer,
                training_step=partial(_loss, trainer),
                preserve=[
                    *preserve,
                    *_plain_attributes(trainer),
                    *_plain_attributes(trainer.state),
                ],
                scaler=trainer.accelerator.scaler,
                clip_grad=trainer.args.max_grad_norm or None,
                snapshot=where,
            )
            yield finder, _MicroBatches(trainer, loader)
    finally:
        trainer.optimizer = own
        if hasattr(loader, "end"):  # Accelerate takes a loader that was left midway for one in use
            loader.end()


def _check_scheduler(trainer: Trainer) -> None:
    """Raise `InvalidInputError` if a scheduler of the user's own would undo `set_lr`."""
    if trainer.lr_scheduler is None or trainer._created_lr_scheduler:
        return  # `train` creates another one
    # Accelerate wraps the optimizer, and the scheduler is attached to the one inside.
    optimizer = getattr(trainer.optimizer, "optimizer", trainer.optimizer)
    scheduler = None if optimizer is None else overriding_scheduler(optimizer)
    if scheduler is not None:
        raise InvalidInputError(
            f"set_lr=True would have no effect, because the trainer's {type(scheduler).__name__} "
            "sets the rates that it was created with; pass optimizers=(optimizer, None), or leave "
            "set_lr out and create the scheduler with the rate that is found"
        )


def _prepare_model(trainer: Trainer) -> None:
    """Switch on what `train` switches on: mixed precision, activation checkpointing and NEFTune."""
    args, model = trainer.args, trainer.model
    if trainer.accelerator.native_amp:
        model.forward = convert_outputs_to_fp32(trainer.accelerator.autocast()(model.forward))
    kind = "activation" if hasattr(args, "activation_checkpointing") else "gradient"  # the old name
    if getattr(args, f"{kind}_checkpointing"):
        options = dict(getattr(args, f"{kind}_checkpointing_kwargs") or {})
        own = {name: options.pop(name) for name in ("every_n_layers", "offload") if name in options}
        enable = getattr(model, f"{kind}_checkpointing_enable", None)
        (enable or model.gradient_checkpointing_enable)(options or None, **own)
    if trainer.neftune_noise_alpha is not None:
        if hasattr(trainer, "_activate_neftune"):
            trainer._activate_neftune(model)
        else:  # a function since transformers 5
            neftune = import_module("transformers.integrations.neftune")
            neftune.activate_neftune(model, trainer.neftune_noise_alpha, trainer.accelerator)


def _plain_attributes(owner: Any) -> list[Any]:
    """Return what a snapshot restores of an object: its attributes without data sets and models."""
    values = {
        name: value for name, value in vars(owner).items() if name not in _DATA and _is_plain(value)
    }
    return [values, _Attributes(owner, dict(values))]


class _Attributes:
    """Puts the same values back into the attributes of an object, and removes new plain ones."""

    def __init__(self, owner: Any, values: dict[str, Any]) -> None:
        self._owner = owner
        self._values = values
        self._names = set(vars(owner))

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, _: dict[str, Any]) -> None:
        own = vars(self._owner)
        for name in own.keys() - self._names:
            if _is_plain(own[name]):
                del own[name]
        own.update(self._values)


def _is_plain(value: Any) -> bool:
    """Return whether this is a number, a tensor, or some of them in lists and dicts."""
    if isinstance(value, (list, dict, deque)):
        parts = value.values() if isinstance(value, dict) else value
        return len(value) <= _MOST_ITEMS and all(map(_is_plain, parts))
    return value is None or isinstance(value, (int, float, str, Tensor))


class _MicroBatch(NamedTuple):
    """One of the batches of an update."""

    items: Any  # number of targets in the whole update; None where the trainer does not count them
    micro_batches: int  # of the update
    weight: float  # share of the samples of the update
    inputs: Any


class _MicroBatches:
    """The data of a loader, without end, each batch with what its update tells of it."""

    def __init__(self, trainer: Trainer, loader: Any) -> None:
        self._trainer = trainer
        # The snapshot looks for the wrapped loader under this name, which is Accelerate's.
        self.base_dataloader = loader

    def __length_hint__(self) -> int:
        return count_batches(self.base_dataloader)

    def __iter__(self) -> Iterator[_MicroBatch]:
        args, batches = self._trainer.args, endless(lambda: self.base_dataloader)
        while True:
            samples, items = self._trainer.get_batch_samples(
                batches, args.gradient_accumulation_steps, args.device
            )
            if not samples:
                return
            micro_batch = partial(_MicroBatch, items, len(samples))
            yield from map(micro_batch, batch_weights(samples), samples)


def _loss(trainer: Trainer, model: nn.Module, batch: Any) -> Any:
    if not isinstance(batch, _MicroBatch):  # of the validation, as its loader made it
        with trainer.compute_loss_context_manager():
            return trainer.prediction_step(model, batch, prediction_loss_only=True)[0]
    trainer.current_gradient_accumulation_steps = batch.micro_batches
    part = trainer.training_step(model, batch.inputs, batch.items).detach()
    # The trainer adds up parts of the loss of an update, we take a mean that weighs by samples. It
    # has done the backward pass too, so that ours must not reach the model.
    return (part / batch.weight).requires_grad_()

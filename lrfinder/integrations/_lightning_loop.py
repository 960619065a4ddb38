"""Lightning's own training loop, one optimizer step at a time and without a trace.

`lightning.py` holds what users import.
"""

from __future__ import annotations

import copy
import functools
import inspect
import math
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from torch.utils._pytree import tree_leaves
from torch.utils.data import DataLoader

from lrfinder._errors import InvalidInputError, missing_extra
from lrfinder._finder import LRFinder
from lrfinder._snapshot.snapshot import preserve_state
from lrfinder._snapshot.storage import Where
from lrfinder._sweep.batches import with_own_iterators
from lrfinder._sweep.checks import whole_number
from lrfinder.integrations._updates import Update, Updates, mean, run_update, scalars

if TYPE_CHECKING:
    from lightning.pytorch import LightningModule, Trainer


def _installed() -> list[ModuleType]:
    """Return Lightning under both of its names, whose classes are not the same."""
    found, error = [], None
    for name in ("lightning.pytorch", "pytorch_lightning"):
        try:
            found.append(import_module(name))
        except ImportError as missing:
            error = missing
    if not found:
        raise missing_extra("lightning", "lightning") from error
    return found


PACKAGES = _installed()
parsing = import_module(f"{PACKAGES[0].__name__}.utilities.parsing")
CALLBACKS = tuple(package.Callback for package in PACKAGES)
DATA_MODULES = tuple(package.LightningDataModule for package in PACKAGES)
TRAINERS = tuple(package.Trainer for package in PACKAGES)
# These write files or draw on the screen, and have no part in a training step.
_ONLOOKERS = tuple(
    getattr(package.callbacks, name)
    for package in PACKAGES
    for name in ("Checkpoint", "ProgressBar", "ModelSummary")
)
_ACCUMULATION_SCHEDULES = tuple(
    package.callbacks.GradientAccumulationScheduler for package in PACKAGES
)


@contextmanager
def open_finder(
    trainer: Trainer,
    module: LightningModule,
    optimizer: int,
    monitor: str | None,
    preserve: Sequence[Any],
    where: Where,
    waiting: Sequence[Any] = (),
) -> Iterator[tuple[LRFinder, Updates]]:
    """Yield the finder and the data of a trainer that is about to train.

    The hooks that begin a training are called first; what they change is restored.

    Args:
        trainer: it calls `on_train_start` of its callbacks.
        module: is trained.
        optimizer: index of the one whose rate is swept.
        monitor: name of the logged value that is the loss.
        preserve: further objects to restore.
        where: where copies of the state are kept.
        waiting: the callbacks that have not started yet.
    """
    count = len(trainer.optimizers)
    if whole_number("optimizer", optimizer, at_least=0) >= count:
        raise InvalidInputError(
            f"optimizer must be an index of those that {type(module).__name__} configures, below "
            f"{count}, got {optimizer}"
        )
    with (
        preserve_state(module, *_changed_by_steps(trainer), *preserve, snapshot=where),
        _recorded(trainer, module, monitor) as (record, logged),
    ):
        _begin(trainer, participants(waiting))
        swept, epochs = trainer.optimizers[optimizer], _Epochs(trainer, record)

        def update_step(_: Any, update: Update) -> dict[str, Any]:
            return mean(run_update(swept, update, epochs.iterate))

        def validate(_: Any, batch: Any) -> Any:
            logged.clear()
            returned = _call_validation_step(trainer, module, batch)
            return _validation_loss(module, returned, logged, monitor)

        finder = LRFinder(
            module,
            swept,
            update_step=update_step,
            training_step=validate,
            snapshot=where,
            preserve=[*_changed_by_steps(trainer), *preserve],
        )
        combined = trainer.fit_loop._combined_loader
        yield finder, Updates(combined, epochs.portions, _epoch_steps(trainer))


def _begin(trainer: Trainer, waiting: list[Any]) -> None:
    """Call the hooks before the first batch, in the order of Lightning."""
    call = package_of(trainer).trainer.call
    with replaced(trainer, "callbacks", waiting):
        call._call_callback_hooks(trainer, "on_train_start")
    call._call_lightning_module_hook(trainer, "on_train_start")
    call._call_callback_hooks(trainer, "on_train_epoch_start")
    call._call_lightning_module_hook(trainer, "on_train_epoch_start")


def _changed_by_steps(trainer: Trainer) -> list[Any]:
    """Return what training steps and the hooks before them change, besides the module."""
    loop = trainer.fit_loop.epoch_loop
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    loaders = trainer.fit_loop._combined_loader.flattened
    return [
        *trainer.optimizers,
        *(config.scheduler for config in trainer.lr_scheduler_configs),
        trainer.lr_scheduler_configs,
        loop.batch_progress,
        loop.automatic_optimization.optim_progress,
        loop.manual_optimization.optim_step_progress,
        *([] if scaler is None else [scaler]),
        *(loader for loader in loaders if isinstance(loader, DataLoader)),
        vars(trainer._logger_connector),
        *map(vars, participants(trainer.callbacks)),
    ]


def planned_steps(trainer: Trainer) -> int | None:
    """Return the optimizer steps of the whole training; None if it has no end."""
    steps = trainer.estimated_stepping_batches
    batches, epochs = trainer.num_training_batches, trainer.max_epochs or 0
    for callback in trainer.callbacks:
        if isinstance(callback, _ACCUMULATION_SCHEDULES) and epochs > 0 and batches < math.inf:
            factors = map(callback.get_accumulate_grad_batches, range(epochs))
            steps = sum(math.ceil(batches / factor) for factor in factors)
            steps = steps if trainer.max_steps < 0 else min(steps, trainer.max_steps)
    return int(steps) if 0 < steps < math.inf else None


def _epoch_steps(trainer: Trainer) -> int:
    batches = trainer.num_training_batches
    return 0 if math.isinf(batches) else math.ceil(batches / trainer.accumulate_grad_batches)


class _MicroBatch(NamedTuple):
    """One batch of Lightning's loop, its number in the epoch from 0, and whether it is the last."""

    batch: Any
    number: int
    is_last: bool


class _Fetcher:
    """Hands one batch to Lightning's loop, in the way of its own data fetchers."""

    def __init__(self, batch: _MicroBatch) -> None:
        self._batch = batch
        self.done = batch.is_last

    def __next__(self) -> tuple[Any, int, int]:
        return self._batch.batch, self._batch.number, 0


class _Epochs:
    """Lightning's loop, one batch at a time, epoch after epoch.

    Args:
        trainer: its loop is run.
        record: where each training step leaves its `output`.
    """

    def __init__(self, trainer: Trainer, record: dict[str, Any]) -> None:
        self._trainer = trainer
        self._record = record
        self._is_over = False  # the present epoch, by the module

    def iterate(self, batch: _MicroBatch) -> dict[str, Any] | None:
        """Run the loop on one batch; return the output of its step, None if it is skipped."""
        loop = self._trainer.fit_loop.epoch_loop
        self._record.clear()
        self._is_over &= batch.number > 0
        if self._is_over:
            return None
        loop.batch_progress.current.reset()
        loop.batch_progress.current.ready = batch.number
        try:
            loop.advance(_Fetcher(batch))
        except StopIteration:  # the module's on_train_batch_start returned -1
            self._is_over = True
            return None
        return self._record.get("output")

    def portions(self, combined: Any) -> Iterator[list[_MicroBatch]]:
        """Yield the batches of an epoch until it is over, as many at a time as a step takes."""
        loader = copy.copy(combined)  # the trainer has begun to iterate its own
        loader.flattened = [with_own_iterators(part) for part in combined.flattened]
        portion: list[_MicroBatch] = []
        for index, (batch, *_) in enumerate(loader):
            is_last = index + 1 == self._trainer.num_training_batches
            portion.append(_MicroBatch(batch, index, is_last))
            if is_last or len(portion) == self._trainer.accumulate_grad_batches:
                yield portion
                portion = []
                # By the trainer's limit, which may end before the data, or by the module.
                if is_last or self._is_over:
                    return
        if portion:
            yield [*portion[:-1], portion[-1]._replace(is_last=True)]


def check_validation(module: LightningModule, val_loader: Any) -> None:
    """Raise `InvalidInputError` if a module cannot validate with a loader; None is fine."""
    if val_loader is None:
        return
    inherited = [package.LightningModule.validation_step for package in PACKAGES]
    if getattr(module.validation_step, "__func__", None) in inherited:
        raise InvalidInputError(
            f"{type(module).__name__} has no validation_step for the batches of val_loader; define "
            "one that returns the loss, or leave val_loader out"
        )
    parts = tree_leaves(getattr(val_loader, "iterables", val_loader))
    if parts != [val_loader] and any(isinstance(part, DataLoader) for part in parts):
        raise InvalidInputError(
            f"val_loader must be a single loader, got a {type(val_loader).__name__} of "
            f"{len(parts)}; pass the one whose loss you watch"
        )


def _call_validation_step(trainer: Trainer, module: LightningModule, batch: Any) -> Any:
    """Call `validation_step` as in a training, for the first batch of a single loader."""
    # Some modules take the names of what they log from the stage.
    with replaced(trainer.state, "stage", type(trainer.state.stage).VALIDATING):
        batch = trainer.precision_plugin.convert_input(batch)
        batch = module._on_before_batch_transfer(batch, dataloader_idx=0)
        arguments = {
            "batch": trainer.strategy.batch_to_device(batch, dataloader_idx=0),
            "batch_idx": 0,
        }
        if "dataloader_idx" in inspect.signature(module.validation_step).parameters:
            arguments["dataloader_idx"] = 0
        loop = trainer.fit_loop.epoch_loop.val_loop
        return trainer.strategy.validation_step(
            *loop._build_step_args_from_hook_kwargs(arguments, "validation_step")
        )


def _validation_loss(
    module: LightningModule, returned: Any, logged: dict[str, Any], monitor: str | None
) -> Any:
    for value in (logged.get(monitor or ""), returned, logged.get("val_loss")):
        found = scalars(value)
        if found is not None:
            return found["loss"]
    raise InvalidInputError(
        f"validation_step of {type(module).__name__} neither returns a scalar loss nor logs one as "
        f"'val_loss', only {sorted(logged)}; let it return the loss, or leave val_loader out"
    )


@contextmanager
def _recorded(
    trainer: Trainer, module: LightningModule, monitor: str | None
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Run steps without a trace.

    Yields:
        A dict with the `output` of the last training step, and what the last step has logged.
    """
    record: dict[str, Any] = {}
    logged: dict[str, Any] = {}
    own_step = module.training_step

    @functools.wraps(own_step)
    def training_step(*arguments: Any, **keywords: Any) -> Any:
        logged.clear()
        returned = own_step(*arguments, **keywords)
        output = _output(module, returned, logged, monitor)
        if output is not None:
            record.setdefault("output", output)  # a closure may be called several times in a step
        return returned

    def log_dict(values: Any, *_: Any, **__: Any) -> None:
        logged.update(values)

    def log(name: str, value: Any, *_: Any, **__: Any) -> None:
        logged[name] = value

    with ExitStack() as stack:
        for holder, name, value in (
            (module, "training_step", training_step),
            (module, "log", log),
            (module, "log_dict", log_dict),
            (trainer.fit_loop.epoch_loop, "update_lr_schedulers", lambda *_, **__: None),
            (trainer, "callbacks", participants(trainer.callbacks)),
            (trainer, "loggers", silent(trainer)),
            (trainer, "should_stop", trainer.should_stop),
            (trainer, "accumulate_grad_batches", trainer.accumulate_grad_batches),
        ):
            stack.enter_context(replaced(holder, name, value))
        yield record, logged


def _output(
    module: LightningModule, returned: Any, logged: dict[str, Any], monitor: str | None
) -> dict[str, Any] | None:
    """Return the loss of a batch, and what was returned beside it; None if it is skipped."""
    if returned is None and module.automatic_optimization:
        return None
    if monitor is not None and monitor not in logged:
        raise InvalidInputError(
            f"training_step does not log {monitor!r}, only {sorted(logged)}; pass the name of a "
            "loss that it logs at every step as monitor"
        )
    output = scalars(returned if monitor is None else logged[monitor])
    if output is None:
        raise InvalidInputError(
            f"training_step of {type(module).__name__} does not return a scalar loss but "
            f"{type(returned).__name__}; pass the name of a loss that it logs as monitor: "
            f"{sorted(logged)}"
        )
    return output


@contextmanager
def replaced(holder: Any, name: str, value: Any) -> Iterator[None]:
    """Replace an attribute for a while."""
    is_own = name in vars(holder) or isinstance(getattr(type(holder), name, None), property)
    before = getattr(holder, name)
    setattr(holder, name, value)
    try:
        yield
    finally:
        if is_own:
            setattr(holder, name, before)
        else:
            delattr(holder, name)


def participants(callbacks: Iterable[Any]) -> list[Any]:
    """Return the callbacks that may have a part in a training step."""
    return [
        callback
        for callback in callbacks
        if not isinstance(callback, _ONLOOKERS) and not hasattr(callback, "is_finder")
    ]


def silent(trainer: Trainer) -> list[Any]:
    """Return as many loggers as the trainer has, which take everything and write nothing."""
    return [package_of(trainer).loggers.logger.DummyLogger() for _ in trainer.loggers]


def package_of(trainer: Trainer) -> Any:
    """Return Lightning under the name that a trainer was imported from."""
    return next(package for package in PACKAGES if isinstance(trainer, package.Trainer))

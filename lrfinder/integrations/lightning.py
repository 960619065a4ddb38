"""The range test for a `LightningModule` and a `Trainer`: as a function, or as a callback.

```python
result = range_test(trainer, module, loader)  # before trainer.fit
trainer = Trainer(callbacks=[RangeTest(set_lr=True)])  # or at the start of it
```
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from itertools import count
from typing import Any

from lrfinder._errors import InvalidInputError, NoResultError, missing_extra
from lrfinder._finder import LRFinder
from lrfinder._result import RangeTestResult
from lrfinder._snapshot.snapshot import preserve_state

try:
    from lightning.pytorch import Callback, LightningDataModule, LightningModule, Trainer
    from lightning.pytorch.accelerators import CPUAccelerator
    from lightning.pytorch.loggers.logger import DummyLogger
    from lightning.pytorch.strategies import SingleDeviceStrategy
except ImportError as error:
    raise missing_extra("lightning", "lightning") from error

_NAMES = ("lr", "learning_rate")


class RangeTest(Callback):
    """Runs a range test at the start of `Trainer.fit`, and leaves the training as it was.

    Batches go through the module's transfer hooks, precision and strategy, gradients through
    accumulation and `configure_gradient_clipping`. Meanwhile `log` writes nothing, and callbacks
    and loggers are not called. A training that is resumed from a checkpoint is left alone.

    Args:
        optimizer: index of the optimizer whose rate is swept, where a module has several.
        monitor: name of the value that the module logs as the loss to watch; None for the loss
            that its `training_step` returns.
        set_lr: write the suggestion to the module's `lr` or `learning_rate`, and configure its
            optimizers and schedulers anew with it.
        **options: as for `LRFinder.range_test`.

    Attributes:
        result: the last range test; reading it before any raises `NoResultError`.
    """

    def __init__(
        self,
        *,
        optimizer: int = 0,
        monitor: str | None = None,
        set_lr: bool = False,
        **options: Any,
    ) -> None:
        super().__init__()
        self._optimizer = optimizer
        self._monitor = monitor
        self._set_lr = set_lr
        self._options = options
        self._result: RangeTestResult | None = None

    @property
    def result(self) -> RangeTestResult:
        """The last range test; raises `NoResultError` before any."""
        if self._result is None:
            raise NoResultError("expected a range test first, got none; call trainer.fit(module)")
        return self._result

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sweep, once optimizers and data are there and before the first batch."""
        if trainer.ckpt_path is not None:
            return
        if self._set_lr:
            _holders(pl_module)  # a module without a rate is told before the sweep
        self._result = _sweep(trainer, pl_module, self._optimizer, self._monitor, self._options)
        if self._set_lr:
            _set_lr(pl_module, self._result.suggest().lr)
            trainer.strategy.setup_optimizers(trainer)


def range_test(
    trainer: Trainer,
    module: LightningModule,
    train_dataloaders: Iterable[Any] | None = None,
    *,
    datamodule: LightningDataModule | None = None,
    optimizer: int = 0,
    monitor: str | None = None,
    set_lr: bool = False,
    **options: Any,
) -> RangeTestResult:
    """Run a range test as `trainer` would train, without touching it.

    A second trainer of the same device, precision, accumulation and clipping, without loggers and
    callbacks, takes its place.

    Args:
        trainer: of a single device; with several, give it a `RangeTest` callback instead.
        module: put back as it was, apart from its rate where `set_lr` says so.
        train_dataloaders: as for `Trainer.fit`.
        datamodule: as for `Trainer.fit`.
        optimizer: index of the optimizer whose rate is swept, where the module has several.
        monitor: name of the value that the module logs as the loss to watch; None for the loss
            that its `training_step` returns.
        set_lr: write the suggestion to the module's `lr` or `learning_rate`.
        **options: as for `LRFinder.range_test`.

    Raises:
        InvalidInputError: if the trainer has several devices, or `set_lr` finds no rate to set.
        NoSuggestionError: if `set_lr` is asked for and the curve names no rate.
    """
    if set_lr:
        _holders(module)
    test = RangeTest(optimizer=optimizer, monitor=monitor, **options)
    stand_in = _stand_in(trainer, test)
    with _attached(module, datamodule), preserve_state(module):
        stand_in.fit(module, train_dataloaders, datamodule=datamodule)
    if set_lr:
        _set_lr(module, test.result.suggest().lr)
    return test.result


class _Stop(Callback):
    """Ends a training before its first batch."""

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:  # noqa: ARG002
        """Ask the trainer to stop."""
        trainer.should_stop = True


def _stand_in(trainer: Trainer, test: RangeTest) -> Trainer:
    if not isinstance(trainer.strategy, SingleDeviceStrategy):
        raise InvalidInputError(
            f"expected a trainer of a single device, got {type(trainer.strategy).__name__}; use "
            "Trainer(callbacks=[RangeTest()]), which sweeps in the processes of the training"
        )
    on_cpu = isinstance(trainer.accelerator, CPUAccelerator)
    return Trainer(
        accelerator=trainer.accelerator,
        devices=1 if on_cpu else trainer.device_ids,
        precision=trainer.precision,
        accumulate_grad_batches=trainer.accumulate_grad_batches,
        gradient_clip_val=trainer.gradient_clip_val,
        gradient_clip_algorithm=trainer.gradient_clip_algorithm,
        callbacks=[test, _Stop()],
        max_epochs=1,
        limit_val_batches=0,
        logger=_silent(trainer.loggers),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )


def _sweep(
    trainer: Trainer,
    module: LightningModule,
    optimizer: int,
    monitor: str | None,
    options: dict[str, Any],
) -> RangeTestResult:
    schedulers = [config.scheduler for config in trainer.lr_scheduler_configs]
    preserve = [*trainer.optimizers, *schedulers]
    with _quiet(trainer, module) as logged:
        step = _step(trainer, logged, monitor)
        swept = trainer.optimizers[optimizer]
        if not module.automatic_optimization:
            finder = LRFinder(module, swept, update_step=step, preserve=preserve)
            return finder.range_test(trainer.train_dataloader, **options)
        finder = LRFinder(
            module,
            swept,
            training_step=step,
            scaler=getattr(trainer.precision_plugin, "scaler", None),
            clip_grad=lambda _: module.configure_gradient_clipping(
                swept, trainer.gradient_clip_val, trainer.gradient_clip_algorithm
            ),
            preserve=preserve,
        )
        accumulation = {"accumulation_steps": trainer.accumulate_grad_batches}
        return finder.range_test(trainer.train_dataloader, **(accumulation | options))


def _step(
    trainer: Trainer, logged: dict[str, Any], monitor: str | None
) -> Callable[[LightningModule, Any], Any]:
    """Return the way of a batch through the module's hooks to what `training_step` returns."""
    batches = count()

    def step(module: LightningModule, batch: Any) -> Any:
        logged.clear()
        batch = trainer.precision_plugin.convert_input(batch)
        for owner in (trainer.datamodule, module):
            batch = batch if owner is None else owner.on_before_batch_transfer(batch, 0)
        batch = trainer.strategy.batch_to_device(batch)
        takes_index = len(inspect.signature(module.training_step).parameters) > 1
        arguments = (batch, next(batches)) if takes_index else (batch,)
        returned = trainer.strategy.training_step(*arguments)
        return returned if monitor is None else _named(logged, monitor)

    return step


def _named(logged: dict[str, Any], monitor: str) -> Any:
    if monitor not in logged:
        raise InvalidInputError(
            f"expected training_step to log {monitor!r}, got {sorted(logged)}; pass the name of a "
            "loss that it logs at every step"
        )
    return logged[monitor]


@contextmanager
def _quiet(trainer: Trainer, module: LightningModule) -> Iterator[dict[str, Any]]:
    """Keep what the module logs from callbacks and loggers; yields the values of a step."""
    logged: dict[str, Any] = {}
    callbacks, loggers = trainer.callbacks, trainer.loggers

    def log_dict(values: Any, *_: Any, **__: Any) -> None:
        logged.update(values)

    def log(name: str, value: Any, *_: Any, **__: Any) -> None:
        logged[name] = value

    trainer.callbacks, trainer.loggers = [], _silent(loggers)
    module.log, module.log_dict = log, log_dict
    try:
        yield logged
    finally:
        del module.log, module.log_dict
        trainer.callbacks, trainer.loggers = callbacks, loggers


def _silent(loggers: list[Any]) -> list[Any]:
    """Return as many loggers that take everything and write nothing."""
    return [DummyLogger() for _ in loggers]


@contextmanager
def _attached(module: LightningModule, datamodule: LightningDataModule | None) -> Iterator[None]:
    """Attach module and data to their own trainer again."""
    before = [(part, _trainer_of(part)) for part in (module, datamodule) if part is not None]
    try:
        yield
    finally:
        for part, trainer in before:
            part.trainer = trainer


def _trainer_of(part: LightningModule | LightningDataModule) -> Trainer | None:
    try:
        return part.trainer
    except RuntimeError:  # a module says so where it has none
        return None


def _holders(module: LightningModule) -> tuple[str, list[Any]]:
    """Return the name of the module's rate, and what holds it: itself, its hyper-parameters."""
    for name in _NAMES:
        holders = [holder for holder in (module, module.hparams) if hasattr(holder, name)]
        if holders:
            return name, holders
    raise InvalidInputError(
        f"expected {type(module).__name__} to have an attribute lr or learning_rate, got none; "
        "let configure_optimizers read its rate from one"
    )


def _set_lr(module: LightningModule, lr: float) -> None:
    name, holders = _holders(module)
    for holder in holders:
        setattr(holder, name, lr)

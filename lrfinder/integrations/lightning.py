"""The learning rate of a `LightningModule` and a `Trainer`: by functions, or by callbacks.

```python
found = recommend(trainer, module, loader, set_lr=True)  # before trainer.fit
trainer = Trainer(callbacks=[Recommend(set_lr=True)])  # or at the start of it
```

`range_test` and `RangeTest` are the quick look, with the rate that one sweep suggests.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any, NamedTuple

from torch.utils.data import DataLoader

from lrfinder._errors import (
    InvalidInputError,
    NoResultError,
    NoSuggestionError,
    missing_extra,
    warn,
)
from lrfinder._finder import LRFinder
from lrfinder._recommend.recommendation import Recommendation
from lrfinder._result import RangeTestResult
from lrfinder._snapshot.snapshot import preserve_state
from lrfinder._sweep.batches import _own_workers
from lrfinder.integrations._updates import Update, Updates, mean, run_update, scalars

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule, LightningModule, Trainer


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


_PACKAGES = _installed()
_parsing = import_module(f"{_PACKAGES[0].__name__}.utilities.parsing")
_CALLBACKS = tuple(package.Callback for package in _PACKAGES)
# These write files or draw on the screen, and have no part in a training step.
_ONLOOKERS = tuple(
    kind
    for package in _PACKAGES
    for kind in (package.callbacks.Checkpoint, package.callbacks.ProgressBar)
)


class RangeTest(*_CALLBACKS):  # type: ignore[misc]
    """Runs a range test at the start of `Trainer.fit`, and leaves the training as it was.

    Each step runs as in training: with the transfer, precision and strategy, the accumulation and
    clipping, and the hooks of the module and of the other callbacks for batches, backward and
    optimizer steps. Checkpoints, progress bars and loggers are not called, and `log` writes
    nothing. A training that is resumed from a checkpoint is left alone. List this callback last:
    those after it have not started yet.

    Args:
        optimizer: index of the optimizer whose rate is swept, if a module has several.
        monitor: name of the value that the module logs as the loss to watch; None for the loss
            that its `training_step` returns.
        set_lr: write the suggestion to the module's learning rate, and configure its optimizers
            and schedulers again with it. If there is no suggestion, a warning says why and the
            training goes on with the old rate.
        attr_name: name of the learning rate in the module, its `hparams` or its data module; empty
            for `lr` or `learning_rate`.
        **options: as for `LRFinder.range_test`; accumulation is that of the trainer.

    Attributes:
        result: the `RangeTestResult`; reading it raises `NoResultError` before the first.
    """

    def __init__(
        self,
        *,
        optimizer: int = 0,
        monitor: str | None = None,
        set_lr: bool = False,
        attr_name: str = "",
        **options: Any,
    ) -> None:
        super().__init__()
        self._optimizer = optimizer
        self._monitor = monitor
        self._set_lr = set_lr
        self._attr_name = attr_name
        self._options = options
        self._result: Any = None

    @property
    def result(self) -> Any:
        """The last result; raises `NoResultError` before the first."""
        if self._result is None:
            raise NoResultError(
                f"{type(self).__name__} has no result yet; call trainer.fit(module) first"
            )
        return self._result

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        """Sweep when optimizers and data are ready, before the first batch."""
        if trainer.ckpt_path is not None:
            return
        if self._set_lr:  # a module without a rate is an error before the sweep
            _name_of_lr(pl_module, self._attr_name)
        with _finder(trainer, pl_module, self._optimizer, self._monitor) as (finder, loader):
            try:
                self._result = self._run(finder, loader)
                lr = self._lr(self._result) if self._set_lr else None
            except NoSuggestionError as error:
                warn(f"the learning rate was not changed, because none was found: {error}")
                lr = None
        if lr is not None:
            _parsing.lightning_setattr(pl_module, _name_of_lr(pl_module, self._attr_name), lr)
            trainer.strategy.setup_optimizers(trainer)

    def _run(self, finder: LRFinder, loader: Updates) -> Any:
        return finder.range_test(loader, **self._options)

    def _lr(self, result: Any) -> float:
        lr: float = result.suggest().lr
        return lr


class Recommend(RangeTest):
    """Confirms a rate by short trainings at the start of `Trainer.fit`.

    Args:
        **options: those of `RangeTest`, with those of `LRFinder.recommend` in place of those of
            `range_test`.

    Attributes:
        result: the `Recommendation`; reading it raises `NoResultError` if there is none.
    """

    def _run(self, finder: LRFinder, loader: Updates) -> Any:
        return finder.recommend(loader, **self._options)

    def _lr(self, result: Any) -> float:
        return float(result)


def range_test(
    trainer: Trainer,
    module: LightningModule,
    train_dataloaders: Iterable[Any] | None = None,
    *,
    datamodule: LightningDataModule | None = None,
    set_lr: bool = False,
    attr_name: str = "",
    **options: Any,
) -> RangeTestResult:
    """Run a range test as `trainer` would train, without changing it.

    A second trainer with the same settings for a training step, the same callbacks but without
    loggers, takes its place.

    Args:
        trainer: on a single device; with several, give it a `RangeTest` callback instead.
        module: restored afterwards, apart from its rate if `set_lr` is true.
        train_dataloaders: as for `Trainer.fit`.
        datamodule: as for `Trainer.fit`.
        set_lr: write the suggestion to the module's learning rate. If there is no suggestion, a
            warning says why and the rate stays.
        attr_name: as for `RangeTest`.
        **options: as for `RangeTest`.

    Raises:
        InvalidInputError: if the trainer uses several devices, or `set_lr` finds no rate to set.
    """

    def sweep(finder: LRFinder, loader: Updates, chosen: dict[str, Any]) -> RangeTestResult:
        return finder.range_test(loader, **chosen)

    name = _name_of_lr(module, attr_name) if set_lr else ""
    result: RangeTestResult = _run_alone(
        trainer, sweep, module, train_dataloaders, datamodule, options
    )
    if set_lr:
        try:
            _parsing.lightning_setattr(module, name, result.suggest().lr)
        except NoSuggestionError as error:
            warn(f"the learning rate was not changed, because none was found: {error}")
    return result


def recommend(
    trainer: Trainer,
    module: LightningModule,
    train_dataloaders: Iterable[Any] | None = None,
    *,
    datamodule: LightningDataModule | None = None,
    set_lr: bool = False,
    attr_name: str = "",
    **options: Any,
) -> Recommendation:
    """Confirm a rate by short trainings, each as `trainer` would train, without changing it.

    Args:
        trainer: as for `range_test`.
        module: restored afterwards, apart from its rate if `set_lr` is true.
        train_dataloaders: as for `Trainer.fit`.
        datamodule: as for `Trainer.fit`.
        set_lr: write the confirmed rate to the module's learning rate.
        attr_name: as for `RangeTest`.
        **options: `optimizer` and `monitor` as for `RangeTest`, and those of `LRFinder.recommend`.

    Raises:
        InvalidInputError: as for `range_test`.
        NoSuggestionError: if no rate trains.
    """

    def search(finder: LRFinder, loader: Updates, chosen: dict[str, Any]) -> Recommendation:
        return finder.recommend(loader, **chosen)

    name = _name_of_lr(module, attr_name) if set_lr else ""
    found: Recommendation = _run_alone(
        trainer, search, module, train_dataloaders, datamodule, options
    )
    if set_lr:
        _parsing.lightning_setattr(module, name, found.lr)
    return found


def _run_alone(
    trainer: Trainer,
    work: Callable[[LRFinder, Updates, dict[str, Any]], Any],
    module: LightningModule,
    train_dataloaders: Iterable[Any] | None,
    datamodule: LightningDataModule | None,
    options: dict[str, Any],
) -> Any:
    """Do some work at the start of a training that ends before its first batch."""
    index, monitor = options.pop("optimizer", 0), options.pop("monitor", None)
    results = []

    class Work(*_CALLBACKS):  # type: ignore[misc]
        """Does the work, then ends the training, unseen by the other callbacks."""

        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            trainer.callbacks.remove(self)
            with _finder(trainer, pl_module, index, monitor) as (finder, loader):
                results.append(work(finder, loader, options))
            trainer.should_stop = True
            trainer.callbacks = []

    others = _participants(trainer)
    stand_in = _stand_in(trainer, [*others, Work()])
    with _attached(module, datamodule), preserve_state(module, *map(vars, others)):
        stand_in.fit(module, train_dataloaders, datamodule=datamodule)
    if not results:
        raise InvalidInputError(
            "trainer.fit ended before the first batch; check the training data, "
            "limit_train_batches and fast_dev_run"
        )
    return results[0]


def _stand_in(trainer: Trainer, callbacks: list[Any]) -> Trainer:
    package = next(package for package in _PACKAGES if isinstance(trainer, package.Trainer))
    if not isinstance(trainer.strategy, package.strategies.SingleDeviceStrategy):
        raise InvalidInputError(
            f"the trainer uses {type(trainer.strategy).__name__}, not a single device; use "
            "Trainer(callbacks=[RangeTest()]), which sweeps in the processes of the training"
        )

    on_cpu = isinstance(trainer.accelerator, package.accelerators.CPUAccelerator)
    stand_in: Trainer = package.Trainer(
        accelerator=trainer.accelerator,
        devices=1 if on_cpu else trainer.device_ids,
        precision=trainer.precision,
        accumulate_grad_batches=trainer.accumulate_grad_batches,
        gradient_clip_val=trainer.gradient_clip_val,
        gradient_clip_algorithm=trainer.gradient_clip_algorithm,
        limit_train_batches=trainer.limit_train_batches,
        overfit_batches=trainer.overfit_batches,
        callbacks=callbacks,
        max_epochs=1,
        limit_val_batches=0,
        logger=_silent(trainer),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return stand_in


@contextmanager
def _finder(
    trainer: Trainer, module: LightningModule, optimizer: int, monitor: str | None
) -> Iterator[tuple[LRFinder, Updates]]:
    """Yield the finder and the data of a trainer that is about to train."""
    loop = trainer.fit_loop.epoch_loop
    combined = trainer.fit_loop._combined_loader
    progress = (
        loop.batch_progress,
        loop.automatic_optimization.optim_progress,
        loop.manual_optimization.optim_step_progress,
    )
    scaler = getattr(trainer.precision_plugin, "scaler", None)
    preserve = [
        *trainer.optimizers,
        *(config.scheduler for config in trainer.lr_scheduler_configs),
        *progress,
        *([] if scaler is None else [scaler]),
        *(loader for loader in combined.flattened if isinstance(loader, DataLoader)),
        vars(trainer._logger_connector),
        *map(vars, _participants(trainer)),
    ]
    swept = trainer.optimizers[optimizer]
    with _recorded(trainer, module, monitor) as record:

        def iterate(batch: _MicroBatch) -> dict[str, Any] | None:
            record.clear()
            loop.batch_progress.current.reset()
            loop.batch_progress.current.ready = batch.number
            try:
                loop.advance(_Fetcher(batch))
            except StopIteration:  # the module's on_train_batch_start returned -1
                return None
            return record.get("output")

        def update_step(_: Any, update: Update) -> dict[str, Any]:
            return mean(run_update(swept, update, iterate))

        finder = LRFinder(module, swept, update_step=update_step, preserve=preserve)
        yield finder, Updates(combined, functools.partial(_portions, trainer))


class _MicroBatch(NamedTuple):
    """One batch of Lightning's loop.

    Attributes:
        batch: what the loaders yield.
        number: its place in the epoch, from 0.
        is_last: it is the last one of the epoch.
    """

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


def _portions(trainer: Trainer, combined: Any) -> Iterator[list[_MicroBatch]]:
    """Yield the batches of an epoch, as many at a time as one optimizer step takes."""
    loader = copy.copy(combined)  # the trainer has begun to iterate its own
    loader.flattened = [_own_workers(part) for part in combined.flattened]
    portion: list[_MicroBatch] = []
    for index, (batch, *_) in enumerate(loader):
        is_last = index + 1 == trainer.num_training_batches
        portion.append(_MicroBatch(batch, index, is_last))
        if is_last or len(portion) == trainer.accumulate_grad_batches:
            yield portion
            portion = []
        if is_last:  # of the trainer's limit, which may end before the data
            return
    if portion:
        yield [*portion[:-1], portion[-1]._replace(is_last=True)]


@contextmanager
def _recorded(
    trainer: Trainer, module: LightningModule, monitor: str | None
) -> Iterator[dict[str, Any]]:
    """Run training steps without a trace; yields a dict with the `output` of the last one."""
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
            (trainer, "callbacks", _participants(trainer)),
            (trainer, "loggers", _silent(trainer)),
            (trainer, "should_stop", trainer.should_stop),
        ):
            stack.enter_context(_replaced(holder, name, value))
        yield record


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
def _replaced(holder: Any, name: str, value: Any) -> Iterator[None]:
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


def _participants(trainer: Trainer) -> list[Any]:
    """Return the callbacks that may have a part in a training step."""
    onlookers = (*_ONLOOKERS, RangeTest)
    return [callback for callback in trainer.callbacks if not isinstance(callback, onlookers)]


def _silent(trainer: Trainer) -> list[Any]:
    """Return as many loggers as the trainer has, which take everything and write nothing."""
    package = next(package for package in _PACKAGES if isinstance(trainer, package.Trainer))
    return [package.loggers.logger.DummyLogger() for _ in trainer.loggers]


@contextmanager
def _attached(module: LightningModule, datamodule: LightningDataModule | None) -> Iterator[None]:
    """Attach module and data to their own trainer again afterwards."""
    before = [(part, _trainer_of(part)) for part in (module, datamodule) if part is not None]
    try:
        yield
    finally:
        for part, trainer in before:
            part.trainer = trainer


def _trainer_of(part: LightningModule | LightningDataModule) -> Trainer | None:
    try:
        return part.trainer
    except RuntimeError:  # raised by a module that has none
        return None


def _name_of_lr(module: LightningModule, attr_name: str) -> str:
    """Return the name under which the module, its hyper-parameters or its data hold the rate."""
    names = (attr_name,) if attr_name else ("lr", "learning_rate")
    for name in names:
        if _parsing.lightning_hasattr(module, name):
            return name
    raise InvalidInputError(
        f"{type(module).__name__} and its hparams have no attribute {' or '.join(names)} to set; "
        "let configure_optimizers read its rate from one, and pass its name as attr_name"
    )

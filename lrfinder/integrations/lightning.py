"""The learning rate of a `LightningModule` and a `Trainer`: by functions, or by callbacks.

```python
found = recommend(trainer, module, loader, set_lr=True)  # before trainer.fit
trainer = Trainer(callbacks=[Recommend(set_lr=True)])  # or at the start of it
```

`range_test` and `RangeTest` are the quick look, with the rate that one sweep suggests.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from itertools import dropwhile
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from torch.utils._pytree import tree_leaves

from lrfinder._errors import InvalidInputError, NoResultError, NoSuggestionError
from lrfinder._finder import LRFinder
from lrfinder._recommend.recommendation import Recommendation
from lrfinder._result import RangeTestResult
from lrfinder._snapshot.snapshot import Snapshot
from lrfinder._snapshot.storage import Where
from lrfinder._sweep.checks import check_preserve, reject_keywords
from lrfinder.integrations._kind import check_kind
from lrfinder.integrations._lightning_loop import (
    CALLBACKS,
    DATA_MODULES,
    TRAINERS,
    check_validation,
    open_finder,
    package_of,
    parsing,
    participants,
    planned_steps,
    replaced,
    silent,
)
from lrfinder.integrations._set_lr import suggest_or_warn, warn_unchanged
from lrfinder.integrations._updates import Updates
from lrfinder.suggestion import Suggestion

if TYPE_CHECKING:
    from lightning.pytorch import LightningDataModule, LightningModule, Trainer

_reject_keywords = reject_keywords(
    val_dataloaders="pass a single loader as val_loader",
    accumulation_steps="accumulation is that of the trainer, accumulate_grad_batches",
)
_IN_THIS_ORDER = "pass trainer, module and data in this order"


def _range_test(_: Trainer, finder: LRFinder, loader: Updates, **options: Any) -> RangeTestResult:
    return finder.range_test(loader, **options)


def _recommend(
    trainer: Trainer, finder: LRFinder, loader: Updates, **options: Any
) -> Recommendation:
    options.setdefault("total_steps", planned_steps(trainer))
    return finder.recommend(loader, **options)


class RangeTest(*CALLBACKS):  # type: ignore[misc]
    """Runs a range test at the start of `Trainer.fit`, and leaves the training as it was.

    Each step runs as in training, with its transfer, precision, strategy, accumulation and
    clipping, and with the hooks of the module and of the other callbacks for batches, backward and
    optimizer steps. `on_train_start` and `on_train_epoch_start` are called once before the first
    step, and again when the training starts. Checkpoints, progress bars and loggers are not
    called, and `log` writes nothing. If `fit` resumes from a checkpoint, the callback does nothing.

    Args:
        optimizer: index of the optimizer whose rate is swept, if a module has several.
        monitor: name of the value that the module logs as the loss to watch; None for the loss
            that its `training_step` returns.
        set_lr: write the suggestion to the module's learning rate, and configure its optimizers
            and schedulers again with it. If there is no suggestion, a warning says why and the
            training goes on with the old rate.
        attr_name: name of the learning rate in the module, its `hparams` or its data module; empty
            for `lr` or `learning_rate`.
        preserve: list of further objects to restore, such as a replay buffer of the module.
        snapshot: as for `LRFinder`; two copies of the state are kept, by the functions three.
        **options: as for `LRFinder.range_test`; accumulation is that of the trainer. With
            `val_loader`, the loss of a batch is what `validation_step` logs as `monitor`, else what
            it returns, else what it logs as `val_loss`. Only the hooks of the batch transfer are
            called for it.

    Attributes:
        result: the `RangeTestResult`; reading it raises `NoResultError` before the first.
    """

    is_finder = True  # it has no part in a training step
    _work: Callable[..., Any] = staticmethod(_range_test)

    @_reject_keywords
    def __init__(
        self,
        *,
        optimizer: int = 0,
        monitor: str | None = None,
        set_lr: bool = False,
        attr_name: str = "",
        preserve: Sequence[Any] = (),
        snapshot: Where = "memory",
        **options: Any,
    ) -> None:
        super().__init__()
        check_preserve(preserve)
        self._optimizer = optimizer
        self._monitor = monitor
        self._preserve = preserve
        self._snapshot = snapshot
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
        # A module without a rate is an error before the sweep.
        name = _name_of_lr(pl_module, self._attr_name) if self._set_lr else ""
        check_validation(pl_module, self._options.get("val_loader"))
        waiting = list(dropwhile(lambda callback: callback is not self, trainer.callbacks))[1:]
        with open_finder(
            trainer,
            pl_module,
            self._optimizer,
            self._monitor,
            self._preserve,
            self._snapshot,
            waiting,
        ) as (finder, loader):
            try:
                self._result = self._work(trainer, finder, loader, **self._options)
                suggestion = _suggestion_of(self._result) if self._set_lr else None
            except NoSuggestionError as reason:
                warn_unchanged(reason)
                suggestion = None
        if suggestion is not None:
            _write_lr(pl_module, name, suggestion)
            trainer.strategy.setup_optimizers(trainer)


class Recommend(RangeTest):
    """Finds the rate to train with by short runs at the start of `Trainer.fit`.

    Args:
        **options: those of `RangeTest`, with those of `LRFinder.recommend` in place of those of
            `range_test`; `total_steps` is that of the trainer, if it has an end.

    Attributes:
        result: the `Recommendation`; reading it raises `NoResultError` if there is none.
    """

    _work = staticmethod(_recommend)


@_reject_keywords
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

    A second trainer runs the test. It has the same settings and callbacks, but no loggers,
    checkpoints or progress bars.

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
        InvalidInputError: if the trainer uses several devices, `set_lr` finds no rate to set, or
            the module has no validation loss for a `val_loader`.
    """
    check_kind("trainer", trainer, TRAINERS, _IN_THIS_ORDER)
    check_validation(module, options.get("val_loader"))
    # As for `Trainer.fit`, either may be the data module.
    data = train_dataloaders if datamodule is None else datamodule
    name = _name_of_lr(module, attr_name, data) if set_lr else ""
    result: RangeTestResult = _run_alone(
        trainer, _range_test, module, train_dataloaders, datamodule, options
    )
    if set_lr and (suggestion := suggest_or_warn(result)) is not None:
        _write_lr(module, name, suggestion, data)
    return result


@_reject_keywords
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
    """Find the rate to train with by short runs, each as `trainer` would train.

    Module and trainer stay as they were.

    Args:
        trainer: on a single device; with several, give it a `Recommend` callback instead.
        module: restored afterwards, apart from its rate if `set_lr` is true.
        train_dataloaders: as for `Trainer.fit`.
        datamodule: as for `Trainer.fit`.
        set_lr: write the recommended rate to the module's learning rate.
        attr_name: as for `RangeTest`.
        **options: `optimizer`, `monitor`, `preserve` and `snapshot` as for `RangeTest`, and those
            of `LRFinder.recommend`; `total_steps` is that of the trainer, if it has an end, and the
            batches of a `val_loader` go to the module's `validation_step`.

    Raises:
        InvalidInputError: as for `range_test`.
        NoSuggestionError: if no rate trains.
    """
    check_kind("trainer", trainer, TRAINERS, _IN_THIS_ORDER)
    check_validation(module, options.get("val_loader"))
    # As for `Trainer.fit`, either may be the data module.
    data = train_dataloaders if datamodule is None else datamodule
    name = _name_of_lr(module, attr_name, data) if set_lr else ""
    found: Recommendation = _run_alone(
        trainer, _recommend, module, train_dataloaders, datamodule, options
    )
    if set_lr:
        _write_lr(module, name, found, data)
    return found


def _run_alone(
    trainer: Trainer,
    work: Callable[..., Any],
    module: LightningModule,
    train_dataloaders: Iterable[Any] | None,
    datamodule: LightningDataModule | None,
    options: dict[str, Any],
) -> Any:
    """Do some work at the start of a training that ends before its first batch."""
    index, monitor = options.pop("optimizer", 0), options.pop("monitor", None)
    preserve, where = options.pop("preserve", ()), options.pop("snapshot", "memory")
    check_preserve(preserve)
    results = []

    class Work(*CALLBACKS):  # type: ignore[misc]
        """Does the work, then ends the training, unseen by the other callbacks."""

        def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
            trainer.callbacks.remove(self)
            with open_finder(trainer, pl_module, index, monitor, preserve, where) as opened:
                finder, loader = opened
                results.append(work(trainer, finder, loader, **options))
            trainer.should_stop = True
            trainer.callbacks = []

    others = participants(trainer.callbacks)
    stand_in = _stand_in(trainer, [*others, Work()])
    # The stand-in draws from the data, wherever they are kept, before the finder is opened.
    data = tree_leaves(getattr(train_dataloaders, "iterables", train_dataloaders))
    kept = (module, *map(vars, others), *preserve)
    with Snapshot(*kept, loaders=[module, datamodule, *data], where=where):
        stand_in.fit(module, train_dataloaders, datamodule=datamodule)
    if not results:
        raise InvalidInputError(
            "trainer.fit ended before the first batch; check the training data, "
            "limit_train_batches and fast_dev_run"
        )
    return results[0]


def _stand_in(trainer: Trainer, callbacks: list[Any]) -> Trainer:
    package = package_of(trainer)
    if not isinstance(trainer.strategy, package.strategies.SingleDeviceStrategy):
        raise InvalidInputError(
            f"the trainer uses {type(trainer.strategy).__name__}, not a single device; use "
            "Trainer(callbacks=[Recommend()]) or [RangeTest()], which run in the processes of the "
            "training"
        )

    on_cpu = isinstance(trainer.accelerator, package.accelerators.CPUAccelerator)
    stand_in: Trainer = package.Trainer(
        accelerator=trainer.accelerator,
        devices=1 if on_cpu else trainer.device_ids,
        # The user may have written it, so its name is not enough.
        plugins=[copy.deepcopy(trainer.precision_plugin)],
        accumulate_grad_batches=trainer.accumulate_grad_batches,
        gradient_clip_val=trainer.gradient_clip_val,
        gradient_clip_algorithm=trainer.gradient_clip_algorithm,
        limit_train_batches=trainer.limit_train_batches,
        overfit_batches=trainer.overfit_batches,
        callbacks=callbacks,
        max_epochs=trainer.max_epochs,
        max_steps=trainer.max_steps,
        limit_val_batches=0,
        logger=silent(trainer),
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    return stand_in


def _write_lr(module: LightningModule, name: str, suggestion: Suggestion, data: Any = None) -> None:
    suggestion.warn_of_doubt()
    with _knowing(module, data):
        parsing.lightning_setattr(module, name, suggestion.lr)


def _suggestion_of(result: RangeTestResult | Recommendation) -> Suggestion:
    return result if isinstance(result, Recommendation) else result.suggest()


def _name_of_lr(module: LightningModule, attr_name: str, data: Any = None) -> str:
    """Return the name under which the module, its hyper-parameters or its data hold the rate."""
    names = (attr_name,) if attr_name else ("lr", "learning_rate")
    with _knowing(module, data):
        for name in names:
            if parsing.lightning_hasattr(module, name):
                return name
    raise InvalidInputError(
        f"{type(module).__name__} and its hparams have no attribute {' or '.join(names)} to set; "
        "let configure_optimizers read its rate from one, and pass its name as attr_name"
    )


@contextmanager
def _knowing(module: LightningModule, data: Any) -> Iterator[None]:
    """Let Lightning find a data module through the module's trainer, as during a training."""
    with ExitStack() as stack:
        if isinstance(data, DATA_MODULES):
            stack.enter_context(replaced(module, "_trainer", SimpleNamespace(datamodule=data)))
        yield

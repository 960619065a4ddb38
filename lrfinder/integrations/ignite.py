"""The learning rate of an ignite `Engine` that trains.

```python
with attach(trainer, model, optimizer) as finder:
    found = finder.recommend(loader)  # or finder.range_test, for a quick look
found.apply(optimizer)
trainer.run(loader, max_epochs=10)
```
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from types import MethodType
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from lrfinder._errors import InvalidInputError, missing_extra
from lrfinder._finder import LRFinder
from lrfinder._recommend.recommendation import Recommendation
from lrfinder._result import RangeTestResult
from lrfinder._sweep.checks import check_preserve, reject_keywords
from lrfinder.integrations._kind import check_kind
from lrfinder.integrations._updates import Update, Updates, mean, run_update, scalars

try:
    from ignite.base import Serializable
    from ignite.engine import Engine, Events
    from ignite.handlers import Checkpoint, EMAHandler
    from ignite.handlers.param_scheduler import BaseParamScheduler
    from ignite.metrics import Metric
except ImportError as error:
    raise missing_extra("ignite", "ignite") from error

_reject_keywords = reject_keywords(
    accumulation_steps="accumulation is that of the engine, which may step after several batches"
)
# Longer than any sweep: the engine must not reach the end of an epoch during one.
_EPOCH_LENGTH = 10**9


@contextmanager
def attach(
    trainer: Engine,
    model: nn.Module,
    optimizer: Optimizer,
    *,
    output_transform: Callable[[Any], Any] = lambda output: output,
    preserve: Sequence[Any] = (),
    **settings: Any,
) -> Iterator[LRFinder]:
    """Yield a finder whose steps are iterations of an engine; restore the engine afterwards.

    The engine does its own updates. An engine that accumulates gradients runs as many iterations
    as it needs for one optimizer step. Its handlers run too: attach checkpoints and loggers after
    the range test. Parameter schedulers, an `EMAHandler`, metrics, and other handlers of ignite
    with a state are restored; list handlers of your own in `preserve`. A handler that sets the
    learning rate of `optimizer` has no effect, and one that terminates the engine ends a range
    test, but not `recommend`, and not a range test with `start_lr=None` unless you pass `on_step`.

    Args:
        trainer: between two runs; its state is restored when the block ends.
        model: trained by the engine.
        optimizer: the one whose rate is swept.
        output_transform: from the engine's output to the loss, a scalar tensor or a number, or to
            a dict that holds it as `loss`.
        preserve: list of further objects to restore: other optimizers, gradient scalers, and what
            handlers of your own change.
        **settings: as for `LRFinder`. `criterion` or `training_step` computes the loss of a
            `val_loader`.

    Example:
        >>> def train(engine, batch):
        ...     optimizer.zero_grad()
        ...     loss = model(batch).square().mean()
        ...     loss.backward()
        ...     optimizer.step()
        ...     return loss.item()
        >>> model = nn.Linear(2, 1)
        >>> optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = Engine(train)
        >>> with attach(trainer, model, optimizer) as finder:
        ...     result = finder.range_test([torch.ones(4, 2)], num_iter=50, progress=False)
        >>> trainer.state.iteration, len(result) > 10
        (0, True)
    """
    check_kind("trainer", trainer, Engine, "pass trainer, model and optimizer in this order")
    check_preserve(preserve)
    feed = _Feed()

    def iterate(batch: Any) -> dict[str, Any] | None:
        feed.batch = batch
        trainer.run(feed, epoch_length=_EPOCH_LENGTH)
        feed.is_terminated |= bool(trainer.should_terminate)
        if trainer.state.output is None and trainer.should_terminate:
            return None  # a handler terminated the engine before the update: it runs again
        return _loss(output_transform(trainer.state.output))

    def update_step(_: nn.Module, update: Update) -> dict[str, Any]:
        return mean(run_update(optimizer, update, iterate))

    restored = [*preserve, *_changed_by_handlers(trainer)]
    engine = dict(vars(trainer))
    state = {k: dict(v) if isinstance(v, dict) else v for k, v in vars(trainer.state).items()}
    trainer.state.max_epochs = None  # a training that has ended begins again
    pause = trainer.add_event_handler(Events.ITERATION_COMPLETED, trainer.interrupt)
    try:
        yield _EngineFinder(
            feed, model, optimizer, update_step=update_step, preserve=restored, **settings
        )
    finally:
        pause.remove()
        try:
            paused = trainer._internal_run_generator
            if paused is not None and paused.gi_frame is not None:
                trainer.terminate(skip_completed=True)
                trainer.run()  # to its end
        finally:
            vars(trainer).update(engine)
            vars(trainer.state).clear()
            vars(trainer.state).update(state)


def _changed_by_handlers(trainer: Engine) -> list[Any]:
    """Return the state of the handlers of an engine.

    Left out are handlers whose state only the start of a run makes, such as timers: the engine
    starts once for all sweeps and trials. What a class of the user's own keeps, only they know.
    """
    handlers = (handler for each in trainer._event_handlers.values() for handler, *_ in each)
    owners = {id(owner): owner for owner in map(_owner, handlers)}
    states: list[Any] = []
    for owner in owners.values():
        if isinstance(owner, (EMAHandler, Metric)):
            states.append(vars(owner))
        elif isinstance(owner, (Engine, Checkpoint)):
            continue  # an evaluator; and which files there are
        elif isinstance(owner, (BaseParamScheduler, Serializable, LRScheduler)):
            states.append(owner)
    return states


def _owner(handler: Any) -> Any:
    """Return the object that a handler is or belongs to, inside filters and `partial`."""
    inner = inspect.unwrap(handler)
    if isinstance(inner, partial):
        return _owner(inner.func)
    return inner.__self__ if isinstance(inner, MethodType) else inner


class _EngineFinder(LRFinder):
    """Gives the engine as many batches as it needs for a step, and ends when it is terminated."""

    def __init__(self, feed: _Feed, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self._feed = feed

    @_reject_keywords
    def range_test(
        self,
        train_loader: Iterable[Any],
        *arguments: Any,
        on_step: Callable[[float, float, int], Any] | None = None,
        **options: Any,
    ) -> RangeTestResult:
        def ends(lr: float, loss: float, step: int) -> bool:
            asked = on_step is not None and on_step(lr, loss, step)
            # A loss that is not finite ends the sweep too, with that as its reason.
            return bool(asked or (self._feed.is_terminated and math.isfinite(loss)))

        # A sweep with an open start is run once more for a callback.
        has_open_start = options.get("start_lr", 0.0) is None
        ending = ends if callable(on_step) or (on_step is None and not has_open_start) else on_step
        return super().range_test(Updates(train_loader), *arguments, on_step=ending, **options)

    def _prepare_model(self) -> None:  # before each sweep
        self._feed.is_terminated = False
        super()._prepare_model()

    @_reject_keywords
    def recommend(
        self, train_loader: Iterable[Any], *arguments: Any, **options: Any
    ) -> Recommendation:
        return super().recommend(Updates(train_loader), *arguments, **options)


class _Feed:
    """Gives the batch of the present iteration whenever it is asked."""

    batch: Any = None
    is_terminated = False  # by a handler, since the sweep began

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield self.batch


def _loss(output: Any) -> dict[str, Any]:
    found = scalars(output)
    if found is None:
        kind = f"a {type(output).__name__}" if output is not None else "None"
        keys = f" with the keys {list(output)}" if isinstance(output, dict) else ""
        raise InvalidInputError(
            f"the output of the engine is {kind}{keys}, which has no scalar loss; pass "
            "output_transform=f with f(output) -> loss"
        )
    return found | {"loss": torch.as_tensor(found["loss"])}

"""The range test with an ignite `Engine` that trains.

```python
with attach(trainer, model, optimizer) as finder:
    result = finder.range_test(loader)
trainer.run(loader, max_epochs=10)  # as if nothing had been
```
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from lrfinder._errors import missing_extra
from lrfinder._finder import LRFinder

try:
    from ignite.engine import Engine, Events
except ImportError as error:
    raise missing_extra("ignite", "ignite") from error

# Longer than any sweep: the engine must not come to the end of an epoch within one.
_EPOCH_LENGTH = 10**9


@contextmanager
def attach(
    trainer: Engine,
    model: nn.Module,
    optimizer: Optimizer,
    *,
    output_transform: Callable[[Any], Any] = lambda output: output,
    **settings: Any,
) -> Iterator[LRFinder]:
    """Yield a finder whose steps are iterations of an engine; put the engine back afterwards.

    The engine does its own updates, whatever they are. Handlers that it already has run as well:
    attach checkpoints and loggers after the range test.

    Args:
        trainer: between two runs; its state is put back when the block is left.
        model: trained by the engine.
        optimizer: the one whose rate is swept.
        output_transform: from the engine's output to the loss, a tensor or a number.
        **settings: as for `LRFinder`; `preserve` takes other optimizers, gradient scalers,
            schedulers and metrics that the engine changes.

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
    feed = _Feed()

    def update(_: nn.Module, batch: Any) -> torch.Tensor:
        feed.batch = batch
        trainer.run(feed, epoch_length=_EPOCH_LENGTH)
        return torch.as_tensor(output_transform(trainer.state.output))

    before = {k: dict(v) if isinstance(v, dict) else v for k, v in vars(trainer.state).items()}
    trainer.state.max_epochs = None  # a training that has ended begins anew
    pause = trainer.add_event_handler(Events.ITERATION_COMPLETED, trainer.interrupt)
    try:
        yield LRFinder(model, optimizer, update_step=update, **settings)
    finally:
        pause.remove()
        if feed.batch is not None:  # the paused run must come to an end
            trainer.terminate(skip_completed=True)
            trainer.run()
        vars(trainer.state).clear()
        vars(trainer.state).update(before)


class _Feed:
    """Gives the batch of the present step whenever it is asked."""

    batch: Any = None

    def __iter__(self) -> Iterator[Any]:
        while True:
            yield self.batch

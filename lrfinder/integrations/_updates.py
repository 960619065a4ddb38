"""One optimizer step of a framework that decides itself when its optimizer steps."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import islice
from numbers import Real
from typing import Any, TypeVar

from torch import Tensor
from torch.optim import Optimizer

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.batch import total_size
from lrfinder._sweep.batches import count_batches, with_own_iterators
from lrfinder._sweep.param_groups import learning_rates, set_learning_rates

# More micro-batches than any training accumulates, and than any gradient scaler skips in a row.
_MOST_BATCHES = 1000
T = TypeVar("T")


class Update:
    """The batches of one optimizer step; more are drawn while the optimizer has not stepped.

    They are kept, so that the same update can be done again.

    Args:
        batches: the first of them, at least one.
        further: draws more, some at a time.
    """

    def __init__(self, batches: list[Any], further: Iterator[list[Any]]) -> None:
        self._batches = batches
        self._further = further

    def __iter__(self) -> Iterator[Any]:
        yield from self._batches
        for more in self._further:
            self._batches += more
            yield from more

    @property
    def batch_size(self) -> int | None:
        """Number of samples in all batches drawn so far; None if a batch does not tell."""
        return total_size(self._batches)


class Updates:
    """The data of a loader, without end, as one `Update` after the other.

    Args:
        loader: iterated again whenever it ends.
        portions: from the loader to the batches of one epoch, as many at a time as one step takes;
            None for one at a time.
        count: portions of one epoch; None for as many as the loader has batches.
    """

    def __init__(
        self,
        loader: Any,
        portions: Callable[[Any], Iterable[list[Any]]] | None = None,
        count: int | None = None,
    ) -> None:
        # The snapshot looks for the wrapped loader under this name, which is Accelerate's.
        self.base_dataloader = loader
        self._portions = portions or _one_by_one
        self._count = count

    def __length_hint__(self) -> int:
        return count_batches(self.base_dataloader) if self._count is None else self._count

    def __iter__(self) -> Iterator[Update]:
        portions = endless(lambda: self._portions(self.base_dataloader))
        return (Update(list(portion), portions) for portion in portions)


def endless(start: Callable[[], Iterable[T]]) -> Iterator[T]:
    """Yield from what `start` returns, and start again whenever it ends, until it is empty."""
    empty = False
    while not empty:
        empty = True
        for item in start():
            empty = False
            yield item


def _one_by_one(loader: Iterable[Any]) -> Iterator[list[Any]]:
    return ([batch] for batch in with_own_iterators(loader))


def run_update(
    optimizer: Optimizer, update: Iterable[Any], iterate: Callable[[Any], Any]
) -> list[Any]:
    """Run iterations of a framework until the optimizer has stepped, at the rates it has now.

    Args:
        optimizer: its rates are set again at every step, whatever handlers and hooks set.
        update: its batches.
        iterate: runs one iteration; returns None if it skipped the batch.

    Returns:
        What the iterations returned, apart from None.

    Raises:
        InvalidInputError: if another rate is used all the same, or the optimizer does not step.
    """
    lrs = learning_rates(optimizer)
    has_stepped = False

    def set_rates(*_: Any) -> None:
        set_learning_rates(optimizer, lrs)

    def check_rates(*_: Any) -> None:
        nonlocal has_stepped
        has_stepped = True
        if learning_rates(optimizer) != lrs:
            raise InvalidInputError(
                f"the learning rate was set to {max(learning_rates(optimizer)):g} while the "
                f"optimizer stepped at {max(lrs):g}; leave out the hook or handler that sets it"
            )

    hooks = (
        optimizer.register_step_pre_hook(set_rates),
        optimizer.register_step_post_hook(check_rates),
    )
    returned = []
    try:
        for batch in islice(update, _MOST_BATCHES):
            output = iterate(batch)
            if output is not None:
                returned.append(output)
            if has_stepped and returned:
                return returned
    finally:
        for hook in hooks:
            hook.remove()
        set_rates()
    raise InvalidInputError(
        f"{type(optimizer).__name__} did not step on {_MOST_BATCHES} batches or a whole data set; "
        "pass the optimizer that the training steps"
    )


def scalars(returned: Any) -> dict[str, Any] | None:
    """Return the `loss` of an iteration and the scalars beside it; None if there is no loss."""
    values = returned if isinstance(returned, Mapping) else {"loss": returned}
    found = {
        name: value.detach() if isinstance(value, Tensor) else value
        for name, value in values.items()
        if isinstance(value, Real) or (isinstance(value, Tensor) and value.numel() == 1)
    }
    return found if "loss" in found else None


def mean(outputs: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the mean of each value over the micro-batches of a step, which count alike."""
    return {
        name: sum(output[name] for output in outputs) / len(outputs)
        for name in outputs[0]
        if all(name in output for output in outputs)
    }

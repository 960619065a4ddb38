"""An endless iterator over any iterable of batches."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from itertools import islice
from operator import length_hint
from typing import Any

from torch.utils.data import DataLoader
from torch.utils.data.dataloader import _BaseDataLoaderIter

from lrfinder._errors import InvalidInputError, OutOfDataError

_END = object()


class Batches(Iterator[Any]):
    """An endless iterator over a loader, which is iterated again whenever it ends.

    Args:
        loader: any iterable of batches. A generator can be iterated only once.
        cached: keep the first `cached` batches and repeat them, so that the curve has no noise of
            the data; None uses all of them.

    Raises:
        InvalidInputError: at the first batch, if the loader has none.
    """

    def __init__(self, loader: Iterable[Any], cached: int | None = None) -> None:
        self._given = loader
        self._loader = with_own_iterators(loader) if cached is None else take(loader, cached)
        self._iterator = iter(self._loader)
        self._begun = False

    def __next__(self) -> Any:
        batch = next(self._iterator, _END)
        if batch is _END and self._begun:
            self._iterator = iter(self._loader)
            batch = next(self._iterator, _END)
        if batch is _END:
            raise OutOfDataError if self._begun else _empty()
        self._begun = True
        return batch

    def close(self) -> None:
        """End the worker processes of a loader, even if a traceback still refers to it."""
        _end_workers(self._iterator, self._loader, self._given)
        self._iterator = iter(())


def take(loader: Iterable[Any], count: int, name: str = "the loader") -> list[Any]:
    """Return the first `count` batches of a loader, or all it has, and end its worker processes.

    Raises:
        InvalidInputError: if the loader has none.
    """
    own = with_own_iterators(loader)
    iterator = iter(own)
    try:
        batches = list(islice(iterator, count))
    finally:
        _end_workers(iterator, own, loader)
    if not batches:
        raise _empty(name)
    return batches


def count_batches(loader: Iterable[Any]) -> int:
    """Return how many batches a loader says that it has; 0 if it does not say."""
    try:
        return length_hint(loader)
    except Exception:  # a length that no one asks for in training may raise anything
        return 0


def _empty(name: str = "the loader") -> InvalidInputError:
    return InvalidInputError(
        f"{name} is empty, but at least one batch is needed; check its data set, batch_size and "
        "drop_last, or whether a generator was already used up"
    )


def with_own_iterators(loader: Iterable[Any]) -> Iterable[Any]:
    """Return a loader with persistent workers and kept iterators of its own, if it has any.

    Persistent workers have random number generators that cannot be restored. So the user's workers
    are not used, and the sweep starts others that end with it. The same holds for an iterator that
    a subclass keeps for all epochs: what is drawn from it does not come back.
    """
    if not isinstance(loader, DataLoader):
        return loader
    kept = _kept_iterators(loader)
    if not (loader.persistent_workers or kept):
        return loader
    own = copy.copy(loader)
    own._iterator = None
    for name in kept:
        vars(own)[name] = DataLoader.__iter__(own)
    if hasattr(own, "base_dataloader"):  # Accelerate's loader, around the one with the workers
        own.base_dataloader = with_own_iterators(own.base_dataloader)
    return own


def _kept_iterators(loader: Any) -> dict[str, Any]:
    """Return the iterators in the attributes of a loader, apart from that of torch itself."""
    return {
        name: value
        for name, value in getattr(loader, "__dict__", {}).items()
        if isinstance(value, _BaseDataLoaderIter) and name != "_iterator"
    }


def _end_workers(iterator: Iterator[Any], own: Iterable[Any], given: Iterable[Any]) -> None:
    """End the worker processes of an iterator, and of those that a loader made for it keeps."""
    kept = {} if own is given else _kept_iterators(own)
    for each in (iterator, *kept.values()):
        getattr(each, "_shutdown_workers", lambda: None)()

"""Batches that are drawn ahead, so that it is known in time when they come to an end."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from typing import Any

from lrfinder._sweep.batches import OutOfDataError

# Updates whose batches are held. An update is announced with the one before the last, whose word
# is read when the last is done: two updates later.
AHEAD = 2


class Lookahead:
    """The same batches, a few of them drawn ahead.

    Args:
        batches: endless batches; may raise `OutOfDataError`.
        per_update: batches of one update, >= 1.
    """

    def __init__(self, batches: Iterator[Any], per_update: int) -> None:
        self._batches = batches
        self._per_update = per_update
        self._held: deque[Any] = deque()
        self._given = 0
        self._end: int | None = None

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self._held or self.has_ended:
            raise OutOfDataError
        self._given += 1
        return self._held.popleft()

    def fill(self) -> int:
        """Draw what is missing; return for how many updates there are batches, 0 to 2."""
        try:
            while len(self._held) < AHEAD * self._per_update:
                self._held.append(next(self._batches))
        except OutOfDataError:
            pass
        return len(self._held) // self._per_update

    @property
    def has_run_out(self) -> bool:
        """Whether these batches do not suffice for another update."""
        return len(self._held) < self._per_update

    @property
    def has_ended(self) -> bool:
        """Whether every update has been done that is to be done."""
        return self._end is not None and self._given >= self._end * self._per_update

    def end_after(self, updates: int) -> None:
        """Give batches for so many updates in all, and no more.

        Args:
            updates: counted from the first one, >= 0.
        """
        self._end = updates if self._end is None else min(self._end, updates)

"""Batches that are drawn ahead, so that every rank knows in time when those of one rank end."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterator
from typing import Any

from lrfinder._errors import OutOfDataError

# Optimizer steps whose batches are held. That there is no batch for a step is sent with the losses
# of the step two before it, and read one step later.
STEPS_AHEAD = 2


class Lookahead:
    """The same endless batches, drawn ahead; `batches_per_step` make one optimizer step."""

    def __init__(self, batches: Iterator[Any], batches_per_step: int) -> None:
        self._batches = batches
        self._batches_per_step = batches_per_step
        self._held: deque[Any] = deque()
        self._given = 0
        self._most = math.inf  # batches to give in all
        self._has_stopped = False

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        if not self._held or self._given >= self._most:
            self._has_stopped = True
            raise OutOfDataError
        self._given += 1
        return self._held.popleft()

    def fill(self) -> int:
        """Draw what is missing; return for how many steps there are batches, 0 to 2."""
        try:
            while len(self._held) < STEPS_AHEAD * self._batches_per_step:
                self._held.append(next(self._batches))
        except OutOfDataError:
            pass
        return len(self._held) // self._batches_per_step

    def end_after(self, steps: int) -> None:
        """Give batches for this many steps in all; the smallest number of several calls counts."""
        self._most = min(self._most, steps * self._batches_per_step)

    @property
    def ran_out(self) -> bool:
        """Whether a step was asked for after the last one, and these batches have none left."""
        return self._has_stopped and len(self._held) < self._batches_per_step

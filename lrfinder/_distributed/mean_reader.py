"""Reading the mean over all processes, one step late, so that the exchange hides behind a step."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple

import torch
from torch import Tensor

from lrfinder._distributed.exchange import Exchange
from lrfinder._sweep.readback import Scalar

# Every process reads the step before the one that it has just sent: a fixed number of steps late,
# so that all take the same decision after the same step.
_LAG = 1


class Word(NamedTuple):
    """What a process has to say beside its losses, or how many of all have said so.

    Attributes:
        out_of_data: there are no batches for the update after the next.
        failed: something went wrong beside the update.
        asked: the callback asked for the end.
        skipped: the gradient scaler skipped this update.
        non_finite: the loss was infinite or NaN.
    """

    out_of_data: float = 0
    failed: float = 0
    asked: float = 0
    skipped: float = 0
    non_finite: float = 0


class JointReader:
    """Sends the scalars of a step to all processes, and reads the mean of the step before.

    The vector that is exchanged is as wide in every step: each scalar times its number of samples,
    those numbers, and a `Word`.

    Args:
        begin: begins the sum of a vector over all processes.
        device: where the losses are.
        columns: the most scalars that a step has, >= 1.
        say: what this process has to say beside the scalars.
        hear: called with what all have said about an update, the number of that update, and
            whether the loss of this process was not finite; what it raises, it raises everywhere.
        waited_for: a context around each collective.
        is_shared_failure: tells, once, whether an update has failed on every process.
    """

    def __init__(
        self,
        begin: Callable[[Tensor], Exchange],
        device: torch.device,
        columns: int,
        *,
        say: Callable[[], Word],
        hear: Callable[[Word, int, bool], None],
        waited_for: Callable[[], AbstractContextManager[None]],
        is_shared_failure: Callable[[], bool],
    ) -> None:
        self._begin = begin
        self._device = device
        self._columns = columns
        self._say = say
        self._hear = hear
        self._waited_for = waited_for
        self._is_shared_failure = is_shared_failure
        self._under_way: deque[Exchange] = deque()
        self._finished = 0

    def push(self, scalars: Sequence[Scalar], sizes: Sequence[int | None]) -> list[list[float]]:
        """Send the scalars of one update; return the means of the update before."""
        return self._exchange(scalars, sizes, self._say())

    def skip(self) -> list[list[float]]:
        """Send word of an update that was skipped; return the means of the update before."""
        return self._exchange((), (), self._say()._replace(skipped=1))

    def drain(self) -> list[list[float]]:
        """Wait for the rest and return it."""
        return self._read(leave=0)

    def salvage(self) -> list[list[float]]:
        """Wait for the steps before the failed one, if it has failed on every process alike."""
        return self._read(leave=0) if self._is_shared_failure() else []

    def close(self) -> None:
        """Wait for the rest, which all have sent, and forget it."""
        with self._waited_for():
            while self._under_way:
                self._under_way.popleft().finish()

    def _exchange(
        self, scalars: Sequence[Scalar], sizes: Sequence[int | None], word: Word
    ) -> list[list[float]]:
        weights = [1.0 if size is None else float(size) for size in sizes]
        with self._waited_for():
            self._under_way.append(self._begin(self._vector(scalars, weights, word)))
        return self._read(leave=_LAG)

    def _vector(self, scalars: Sequence[Scalar], weights: list[float], word: Word) -> Tensor:
        rest = [0.0] * (self._columns - len(scalars))
        sizes = [*weights, *rest]
        if self._device.type == "cpu":
            values = [*map(float, scalars), *rest]
            sums = [value * size for value, size in zip(values, sizes, strict=True)]
            word = word._replace(non_finite=not math.isfinite(values[0]))
            return torch.tensor([*sums, *sizes, *word], dtype=torch.float64)
        return self._vector_on_device([*scalars, *rest], sizes, word)

    def _vector_on_device(
        self, scalars: Sequence[Scalar], sizes: list[float], word: Word
    ) -> Tensor:
        """Return the same without making the host wait for the scalars."""
        known = torch.tensor([*sizes, *word], dtype=torch.float64)
        known = known.pin_memory().to(self._device, non_blocking=True)
        values = torch.stack([self._as_number(scalar) for scalar in scalars])
        vector = torch.cat((values * known[: self._columns], known))
        vector[-1] = ~values[0].isfinite()
        return vector

    def _as_number(self, scalar: Scalar) -> Tensor:
        number = torch.as_tensor(scalar, dtype=torch.float64, device=self._device)
        return number.detach().reshape(())

    def _read(self, leave: int) -> list[list[float]]:
        arrived = []
        while len(self._under_way) > leave:
            means = self._finish(self._under_way.popleft())
            if means:
                arrived.append(means)
        return arrived

    def _finish(self, exchange: Exchange) -> list[float]:
        with self._waited_for():
            numbers, columns = exchange.finish(), self._columns
        word, update = Word(*numbers[2 * columns : -1]), self._finished
        self._finished += 1
        try:
            self._hear(word, update, bool(numbers[-1]))
        except BaseException:
            self.close()
            raise
        pairs = zip(numbers[:columns], numbers[columns : 2 * columns], strict=True)
        return [total / weight for total, weight in pairs if weight]

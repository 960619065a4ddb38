"""Reads scalars from a device without making the host wait for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

Scalar = Tensor | float
Transfer = Callable[[Sequence[Scalar]], tuple[Tensor, Any]]


class Reader(Protocol):
    """Takes the scalars of each step; returns those of this and earlier steps in order.

    The method bodies here read at once.
    """

    def push(
        self,
        scalars: Sequence[Scalar],
        sizes: Sequence[int | None],  # noqa: ARG002 - the scalars of one process need no weights
        new_names: Sequence[str] = (),  # noqa: ARG002 - and no names
    ) -> list[list[float]]:
        """Take the scalars of one step; return those of every step that has arrived since.

        Args:
            scalars: scalar tensors or numbers.
            sizes: number of samples that each was computed from; None if that is not known.
            new_names: of the last scalars, which no step before this one had.
        """
        return [list(map(float, scalars))]

    def skip(self) -> list[list[float]]:
        """Take a step that the scaler skipped, which has none; return what has arrived since."""
        return []

    def drain(self) -> list[list[float]]:
        """Wait for the rest and return it."""
        return []

    def salvage(self) -> list[list[float]]:
        """Return what can still be read after a step has failed."""
        return self.drain()


class ImmediateReader(Reader):
    """Reads at once, for values that are already on the host."""


class DelayedReader(Reader):
    """Reads a few steps late, when a copy in the background has arrived.

    Args:
        transfer: begins to copy scalars; returns the host tensor that will hold them and an event
            whose `query()` returns whether it does and whose `synchronize()` waits for it.
    """

    def __init__(self, transfer: Transfer) -> None:
        self._transfer = transfer
        self._under_way: deque[tuple[Tensor, Any]] = deque()

    def push(
        self,
        scalars: Sequence[Scalar],
        sizes: Sequence[int | None],  # noqa: ARG002 - as above
        new_names: Sequence[str] = (),  # noqa: ARG002
    ) -> list[list[float]]:
        """Take the scalars of one step; return those of every step that has arrived since."""
        self._under_way.append(self._transfer(scalars))
        arrived = []
        while self._under_way and self._under_way[0][1].query():
            arrived.append(self._under_way.popleft()[0].tolist())
        return arrived

    def drain(self) -> list[list[float]]:
        """Wait for the rest and return it."""
        for _, event in self._under_way:
            event.synchronize()
        arrived = [host.tolist() for host, _ in self._under_way]
        self._under_way.clear()
        return arrived


def reader_for(device: torch.device) -> Reader:
    """Return the reader that does not make the host wait for `device`."""
    if device.type in ("cuda", "xpu"):
        return DelayedReader(_pinned_transfer(device))
    return ImmediateReader()


def _pinned_transfer(device: torch.device) -> Transfer:
    runtime = getattr(torch, device.type)

    def transfer(scalars: Sequence[Scalar]) -> tuple[Tensor, Any]:
        host = torch.empty(len(scalars), dtype=torch.float64, device="cpu", pin_memory=True)
        for place, scalar in zip(host, scalars, strict=True):
            if isinstance(scalar, Tensor):
                place.copy_(scalar.detach().to(torch.float64).reshape(()), non_blocking=True)
            else:
                place.fill_(scalar)
        event = runtime.Event()
        event.record(runtime.current_stream(device))
        return host, event

    return transfer

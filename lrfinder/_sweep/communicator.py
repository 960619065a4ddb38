"""The processes that sweep together, as one of them sees the others; often there are none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, ParamSpec, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from lrfinder._sweep.readback import Reader, reader_for

OnStep = Callable[[float, float, int], Any]
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Communicator(Protocol):
    """What a sweep asks of the processes that it is done with; a context around all its sweeps.

    Attributes:
        is_main_process: this process shows progress and warns for all.
    """

    is_main_process: bool

    def __enter__(self) -> Communicator:
        """Begin; every process does so at about the same time."""

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """End, and tell the others if it is an error that ends it."""

    def begin_sweep(self, batches: Iterator[Any], description: str) -> Iterator[Any]:
        """Begin a sweep.

        Args:
            batches: those of this process.
            description: what all must have agreed on, in words.

        Returns:
            The same batches, which end for all processes at the same update.
        """

    def reader(self, device: torch.device, columns: list[str]) -> Reader:
        """Return what reads the mean over all processes of the scalars named `columns`."""

    def total(self, size: int | None) -> int | None:
        """Return the number of samples in an update of all processes; `size` is of this one."""

    def wrap_callback(self, on_step: OnStep | None) -> OnStep | None:
        """Return a callback that asks for an end where the callback of any process does."""

    def report_failures(self, work: Callable[_P, _T]) -> Callable[_P, _T]:
        """Return work in which the others may wait for this process, who learn if it fails."""

    def end_sweep(self) -> None:
        """End a sweep: nobody goes on before all have come this far."""


def communicator_for(model: nn.Module, per_update: int) -> Communicator:
    """Return the processes that train a model together.

    Args:
        model: if it is not distributed itself, the default process group counts, if there is one.
        per_update: batches of one update, >= 1.
    """
    if not (dist.is_available() and dist.is_initialized()):
        return SingleProcess()
    from lrfinder._distributed.process_group import joint

    return joint(model, per_update) or SingleProcess()


class SingleProcess:
    """No others: everything stays as it is."""

    is_main_process = True

    def __enter__(self) -> Communicator:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        return None

    def begin_sweep(self, batches: Iterator[Any], description: str) -> Iterator[Any]:  # noqa: ARG002
        """Return the batches."""
        return batches

    def reader(self, device: torch.device, columns: list[str]) -> Reader:  # noqa: ARG002
        """Return the reader that suits the device."""
        return reader_for(device)

    def total(self, size: int | None) -> int | None:
        """Return `size`."""
        return size

    def wrap_callback(self, on_step: OnStep | None) -> OnStep | None:
        """Return the callback."""
        return on_step

    def report_failures(self, work: Callable[_P, _T]) -> Callable[_P, _T]:
        """Return `work`."""
        return work

    def end_sweep(self) -> None:
        """Do nothing."""

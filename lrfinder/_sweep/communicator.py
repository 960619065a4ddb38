"""What a sweep asks of the processes that run it together; most often there is only one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, ParamSpec, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch import nn

from lrfinder._distributed.rank import has_process_group
from lrfinder._sweep.readback import Reader, reader_for

OnStep = Callable[[float, float, int], Any]
_P = ParamSpec("_P")
_T = TypeVar("_T")


class Communicator(Protocol):
    """The processes of a range test, as one of them sees them; a context around all its sweeps.

    The method bodies here are those of a single process.

    Attributes:
        is_main_process: this process shows progress and warns for all.
    """

    is_main_process: bool = True

    def __enter__(self) -> Communicator:
        """Begin; every process does so at about the same time."""
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        """End; an error is reported to the other processes."""
        return

    def begin_sweep(self, batches: Iterator[Any], description: str) -> Iterator[Any]:  # noqa: ARG002
        """Begin a sweep; return the batches of this process, which end for all at the same step.

        The description of the sweep, in words, must be the same on all processes.
        """
        return batches

    def reader(self, device: torch.device, names: list[str]) -> Reader:  # noqa: ARG002
        """Return the reader of the mean over all processes of the scalars with these names."""
        return reader_for(device)

    def total_batch_size(self, size: int | None) -> int | None:
        """Return the number of samples in a step of all processes; `size` is of this one."""
        return size

    def has_callback(self, on_step: OnStep | None) -> bool:
        """Return whether any process has a callback; `on_step` is that of this one."""
        return on_step is not None

    def wrap_callback(self, on_step: OnStep | None) -> OnStep | None:
        """Return a callback that asks to stop where the callback of any process does."""
        return on_step

    def report_failures(self, function: Callable[_P, _T]) -> Callable[_P, _T]:
        """Return a function in which others may wait for this process, and learn if it fails."""
        return function

    def end_sweep(self) -> None:
        """End a sweep; no process continues before all have come this far."""
        return


class SingleProcess(Communicator):
    """One process."""


def communicator_for(model: nn.Module, batches_per_step: int) -> Communicator:
    """Return the processes that train a model together.

    If it is not distributed itself, the default process group counts, if there is one.
    """
    if not has_process_group():
        return SingleProcess()
    from lrfinder._distributed.process_group import ProcessGroupCommunicator
    from lrfinder._distributed.sharding import group_of

    if dist.get_world_size(group_of(model)) == 1:
        return SingleProcess()
    return ProcessGroupCommunicator(model, batches_per_step)


@contextmanager
def report_errors(model: nn.Module) -> Iterator[None]:
    """Report an error in the block, where arguments are checked, to the other processes.

    They may be in the range test already, where they would wait for this one until the timeout.
    What is not a model stands for the default group.
    """
    try:
        yield
    except Exception:
        with communicator_for(model if isinstance(model, nn.Module) else nn.Module(), 1):
            raise

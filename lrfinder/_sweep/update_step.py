"""An optimizer step that the user's own function does from beginning to end."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer
from torch.optim.optimizer import (
    register_optimizer_step_post_hook,
    register_optimizer_step_pre_hook,
)

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.batch import to_device
from lrfinder._sweep.loss import StepOutput, as_output
from lrfinder._sweep.param_groups import learning_rates


@dataclass(frozen=True)
class UpdateStep:
    """Calls the user's function, which does forward, backward and every optimizer step.

    Attributes:
        update_step: `f(model, batch) -> loss`, returned as for a training step.
        model: passed to it.
        device: where batches are moved.
        optimizer: the one whose rate is swept.
    """

    update_step: Callable[[Any, Any], Any]
    model: nn.Module
    device: torch.device
    optimizer: Optimizer

    def __call__(self, batches: Iterator[Any]) -> StepOutput:
        """Do one optimizer step.

        Raises:
            InvalidInputError: if an optimizer is about to step that would not be restored.
        """
        batch = next(batches)
        used: list[float] = []
        before, _watch.step = _watch.step, (self.optimizer, used)
        _count_users(1)
        try:
            returned = self.update_step(self.model, to_device(batch, self.device))
        finally:
            _count_users(-1)
            _watch.step = before
        output = as_output(returned, batch)
        lrs = used if used or self._is_seen_to_step else None
        return output._replace(loss=output.loss.detach(), lrs=lrs)

    @property
    def _is_seen_to_step(self) -> bool:
        """Whether every step calls torch's hooks: that of a replayed graph does not."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        may_be_replayed = any(map(torch.is_tensor, rates))  # a graph knows no other rates
        return isinstance(self.optimizer, Optimizer) and not may_be_replayed


class _Watch(threading.local):
    """What is known of the range tests of one thread.

    Attributes:
        restored: the optimizers that are restored afterwards, among other objects.
        step: the swept optimizer of the innermost update step, and the list that is filled with
            the rates it used; None outside of an update step.
    """

    restored: tuple[Any, ...] = ()
    step: tuple[Any, list[float]] | None = None


_watch = _Watch()
# One pair of hooks for all threads: if each step added and removed its own, a step in another
# thread could fail.
_lock = threading.Lock()
_hooks: list[Any] = []
_users = 0


@contextmanager
def allow_steps_of(optimizers: Iterable[Any]) -> Iterator[None]:
    """Let update steps of this thread step these optimizers; other objects are ignored."""
    before = _watch.restored
    _watch.restored = (*before, *optimizers)
    try:
        yield
    finally:
        _watch.restored = before


def _count_users(change: int) -> None:
    global _users  # noqa: PLW0603 - torch's hooks are global as well
    with _lock:
        _users += change
        if _users and not _hooks:
            _hooks.append(register_optimizer_step_pre_hook(_check_restored))
            _hooks.append(register_optimizer_step_post_hook(_read_rates))
        elif not _users:
            while _hooks:
                _hooks.pop().remove()


def _check_restored(optimizer: Optimizer, *_: Any) -> None:
    if _watch.step is None:  # a step of another thread
        return
    # Wrappers share the list of groups with the optimizer that they step, also once that has
    # loaded a state and has a new list.
    known = (getattr(each, "param_groups", None) for each in _watch.restored)
    if not any(optimizer.param_groups is groups for groups in known):
        raise InvalidInputError(
            f"update_step steps an optimizer, {type(optimizer).__name__}, that would not be "
            "restored; pass it, and its model if that is another one, as preserve=[...]"
        )


def _read_rates(optimizer: Optimizer, *_: Any) -> None:
    if _watch.step is not None and optimizer.param_groups is _watch.step[0].param_groups:
        _watch.step[1][:] = learning_rates(optimizer)

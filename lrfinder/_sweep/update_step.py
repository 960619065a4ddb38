"""An optimizer step that the user's own function does from beginning to end."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

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
        """Call the function once; a call that does not step the optimizer counts as skipped.

        A call with an infinite or NaN loss does not: a gradient scaler would never step on it.

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
        loss = output.loss.detach()
        skipped = lrs == [] and math.isfinite(loss)
        return output._replace(loss=loss, skipped=skipped, lrs=lrs)

    @property
    def _is_seen_to_step(self) -> bool:
        """Whether every step calls torch's hooks: that of a replayed graph does not."""
        rates = [group["lr"] for group in self.optimizer.param_groups]
        may_be_replayed = any(map(torch.is_tensor, rates))  # a graph knows no other rates
        return isinstance(self.optimizer, Optimizer) and not may_be_replayed


class _RangeTest(NamedTuple):
    """What a range test restores.

    Attributes:
        objects: the optimizers among them, and others.
        is_captured: returns whether its snapshot has captured an object.
    """

    objects: tuple[Any, ...]
    is_captured: Callable[[Any], bool]

    def restores(self, optimizer: Optimizer) -> bool:
        # Wrappers share the list of groups with the optimizer that they step, also once that has
        # loaded a state and has a new list.
        known = (getattr(each, "param_groups", None) for each in self.objects)
        return self.is_captured(optimizer) or any(optimizer.param_groups is each for each in known)

    def restores_parameters_of(self, optimizer: Optimizer) -> bool:
        return any(self.is_captured(p) for group in optimizer.param_groups for p in group["params"])


class _Watch(threading.local):
    """What is known of the range tests of one thread.

    Attributes:
        range_tests: those under way, an inner one after the one whose step runs it.
        step: the swept optimizer of the innermost update step, and the list that is filled with
            the rates it used; None outside of an update step.
    """

    range_tests: tuple[_RangeTest, ...] = ()
    step: tuple[Any, list[float]] | None = None


_watch = _Watch()
# The range tests that compute gradients now, those of each thread under a key of its own. For them
# the thread says nothing: torch calls hooks in backward in threads of its own on an accelerator.
_computing_gradients: dict[object, tuple[_RangeTest, ...]] = {}
# One pair of hooks for all threads: if each step added and removed its own, a step in another
# thread could fail.
_lock = threading.Lock()
_hooks: list[Any] = []
_users = 0


@contextmanager
def allow_steps_of(objects: tuple[Any, ...], is_captured: Callable[[Any], bool]) -> Iterator[None]:
    """Let the steps of this thread step the optimizers among some objects, and captured ones."""
    before = _watch.range_tests
    _watch.range_tests = (*before, _RangeTest(objects, is_captured))
    try:
        yield
    finally:
        _watch.range_tests = before


@contextmanager
def refuse_other_steps() -> Iterator[None]:
    """Raise if an optimizer that is not restored steps parameters that are, as hooks may do."""
    key = object()
    _computing_gradients[key] = _watch.range_tests
    _count_users(1)
    try:
        yield
    finally:
        _count_users(-1)
        del _computing_gradients[key]


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
    # Without a step here, it is one of another thread.
    if _watch.step is not None and not any(each.restores(optimizer) for each in _watch.range_tests):
        raise InvalidInputError(
            f"update_step steps an optimizer, {type(optimizer).__name__}, that would not be "
            "restored; pass it, and its model if that is another one, as preserve=[...]"
        )
    for tests in list(_computing_gradients.values()):
        # One of the step's own, such as that of an adversarial example, changes nothing that stays.
        changes = any(each.restores_parameters_of(optimizer) for each in tests)
        if changes and not any(each.restores(optimizer) for each in tests):
            raise InvalidInputError(
                f"an optimizer, {type(optimizer).__name__}, steps before the gradients are "
                "complete, as by a hook in backward; it would not be restored, and its rate is "
                "not swept: remove the hook and pass one optimizer of all parameters, or pass the "
                "others as preserve=[...] to let them train at their own rates; if training_step "
                "steps it, pass that function as update_step"
            )


def _read_rates(optimizer: Optimizer, *_: Any) -> None:
    if _watch.step is not None and optimizer.param_groups is _watch.step[0].param_groups:
        _watch.step[1][:] = learning_rates(optimizer)

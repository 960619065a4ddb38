"""A sweep that runs on all ranks of a process group: one curve, one decision, one end."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.distributed_c10d import PrefixStore, _get_default_store

from lrfinder._distributed.collectives import (
    Wait,
    begin_sum,
    close_connections,
    is_lost_connection,
    timeout_of,
)
from lrfinder._distributed.coordinator import Coordinator
from lrfinder._distributed.lookahead import STEPS_AHEAD, Lookahead
from lrfinder._distributed.packing import Status, pack, unpack
from lrfinder._distributed.sharding import (
    compute_device,
    copies_of_a_batch,
    group_of,
    groups_in_use,
)
from lrfinder._errors import InvalidInputError, OutOfDataError, SweepError, warn

_SAME_METRICS = "return a metric on every rank or on none"
# Metrics that the vectors have no columns for yet: by name, the scalar and the batch size.
_NewMetrics = dict[str, tuple[Tensor | float, int | None]]
_P = ParamSpec("_P")
_T = TypeVar("_T")

_RAN_OUT = (
    "rank {} of {} ran out of data, which ends the range test on every rank; give every rank as "
    "many batches, or a loader that can be iterated again"
)
_NON_FINITE = (
    "the loss became infinite or NaN on rank {} of {} and stayed finite on the others, which ends "
    "the range test on every rank; if training does not diverge there, check the data of that rank"
)
_CLOSED = (
    "; other ranks may have waited for this one in a collective, so the connections of the process "
    "group were closed: create a new process group before you continue"
)
# How often each process group has been used: the same number on all of its ranks.
_uses: Counter[str] = Counter()


class ProcessGroupCommunicator:
    """The ranks of a process group, as the `Communicator` of a sweep and as its `Reader`.

    After each step the ranks add up their scalars and their status, and each rank reads the sums
    of the step before. That is a fixed number of steps late, so all ranks decide the same after
    the same step, and the exchange hides behind a step.

    An error outside a step, in a loader or a callback, is sent with the next sum, and all ranks
    end together. An error within a step leaves the others inside a collective that will never be
    completed, and only closing the connections gets them out.

    Args:
        model: wrapped in `DistributedDataParallel`, sharded, or neither.
        batches_per_step: micro-batches of one optimizer step, >= 1.
    """

    def __init__(self, model: nn.Module, batches_per_step: int) -> None:
        self._model = model
        self._group = group_of(model)
        self._groups = dict.fromkeys((self._group, *groups_in_use(model)))
        self._ranks = dist.get_process_group_ranks(self._group)
        self._batches_per_step = batches_per_step
        self._copies = copies_of_a_batch(model, len(self._ranks))
        name = self._group.group_name
        _uses[name] += 1
        self._coordinator = Coordinator(
            PrefixStore(f"lrfinder/{name}/{_uses[name]}", _get_default_store()),
            dist.get_rank(),
            self._ranks,
            timeout_of(self._group),
        )
        self._under_way: deque[tuple[Wait, _NewMetrics]] = deque()
        self._error: BaseException | None = None  # to be raised when all ranks end together
        self._asked_to_stop = self._should_stop = self._have_all_failed = False
        self.is_main_process = dist.get_rank(self._group) == 0

    def __enter__(self) -> ProcessGroupCommunicator:
        self._coordinator.start()
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        try:
            if error is not None and is_lost_connection(error):
                raise self._coordinator.lost_connection() from error
            if error is not None and not isinstance(error, SweepError):
                self._coordinator.report_failure(error)
        finally:
            self._coordinator.stop()

    def begin_sweep(self, batches: Iterator[Any], description: str) -> Iterator[Any]:
        """Begin a sweep as soon as every rank has come here and drawn its first batches."""
        self._batches = Lookahead(batches, self._batches_per_step)
        self._steps_read = 0
        self._asked_to_stop = self._should_stop = self._was_non_finite = False
        answers = self._coordinator.gather([description, self._batches.fill()])
        descriptions, steps = zip(*answers, strict=True)
        self._check_same("range test", descriptions)
        if min(steps) < STEPS_AHEAD:
            self._batches.end_after(min(steps))
        return self._batches

    def total_batch_size(self, size: int | None) -> int | None:
        """Return the number of different samples in a step of all ranks."""
        sizes = self._coordinator.gather(size)
        return None if None in sizes else sum(sizes) // self._copies

    def has_callback(self, on_step: Callable[[float, float, int], Any] | None) -> bool:
        """Return whether any rank has a callback."""
        return any(self._coordinator.gather(on_step is not None))

    def wrap_callback(
        self, on_step: Callable[[float, float, int], Any] | None
    ) -> Callable[[float, float, int], bool]:
        """Return a callback that asks to stop where the callback of any rank does."""

        def wrapped(lr: float, loss: float, step: int) -> bool:
            if on_step is not None:
                self._asked_to_stop |= bool(self._defer(lambda: on_step(lr, loss, step), False))
            return self._should_stop

        return wrapped

    def report_failures(self, function: Callable[_P, _T]) -> Callable[_P, _T]:
        """Return a function in which other ranks may wait for this one, and learn if it fails."""
        return self._reported_failures()(function)

    def reader(self, device: torch.device, names: list[str]) -> ProcessGroupCommunicator:
        """Return what reads the mean over all ranks, weighted by their batch sizes."""
        # A loss that the step returned as a number is on the host, which NCCL does not serve.
        served = {each.type for each in self._group._device_types}
        self._device = device if device.type in served else compute_device(self._model)
        self._columns = len(names)
        self._new_names: list[str] = []
        self._check_same(
            "set of metrics", self._coordinator.gather(", ".join(names)), _SAME_METRICS
        )
        return self

    def push(
        self,
        scalars: Sequence[Tensor | float],
        sizes: Sequence[int | None],
        new_names: Sequence[str] = (),
    ) -> list[list[float]]:
        """Send the scalars of one step; return the means of the step before.

        The vectors of all ranks must have the same length, so a vector only says that there are new
        metrics. They are exchanged when every rank has read it.
        """
        self._new_names += new_names
        known = max(len(scalars) - len(self._new_names), 0)
        values = zip(scalars[known:], sizes[known:], strict=True)
        new = dict(zip(self._new_names, values, strict=False))  # a skipped step has none
        out_of_data = self._defer(self._batches.fill, STEPS_AHEAD) < STEPS_AHEAD
        status = Status(out_of_data, self._error is not None, self._asked_to_stop, bool(new))
        with self._reported_failures():
            vector = pack(scalars[:known], sizes[:known], status, self._columns, self._device)
            wait = begin_sum(vector, self._group, self._coordinator.raise_failure)
            self._under_way.append((wait, new))
        return self._read(leave=1)

    def skip(self) -> list[list[float]]:
        """Send that a step was skipped; return the means of the step before."""
        return self.push((), ())

    def drain(self) -> list[list[float]]:
        """Wait for the rest and return it."""
        return self._read(leave=0)

    def salvage(self) -> list[list[float]]:
        """Wait for the steps before the failed one, if it has failed on every rank."""
        if not self._have_all_failed:
            return []
        # The sweep may have ended before that step, and then the step was never taken.
        self._have_all_failed = False
        self._coordinator.clear_failure()
        return self._read(leave=0)

    def end_sweep(self) -> None:
        """End a sweep as soon as every rank has ended it without an error."""
        self._forget_rest()
        if self._error is not None:
            raise self._error
        answers = self._coordinator.gather([self._batches.ran_out, self._was_non_finite])
        for warning, flags in zip((_RAN_OUT, _NON_FINITE), zip(*answers, strict=True), strict=True):
            ranks = [str(rank) for rank, flag in zip(self._ranks, flags, strict=True) if flag]
            if self.is_main_process and 0 < len(ranks) < len(flags):
                warn(warning.format(", ".join(ranks), len(flags)))

    @contextmanager
    def _reported_failures(self) -> Iterator[None]:
        try:
            yield
        except OutOfDataError:
            raise
        except BaseException as error:
            if isinstance(error, SweepError) or is_lost_connection(error):
                # First, so that the ranks that wait for this one learn at once that one is lost.
                close_connections(self._groups)
                raise SweepError(f"{self._coordinator.lost_connection()}{_CLOSED}") from error
            self._coordinator.report_failure(error)
            self._have_all_failed = self._coordinator.have_all_failed()
            if not self._have_all_failed:
                close_connections(self._groups)
            raise

    def _check_same(
        self, name: str, values: Sequence[str], fix: str = "pass the same arguments everywhere"
    ) -> None:
        for rank, value in zip(self._ranks, values, strict=True):
            if value != values[0]:
                raise InvalidInputError(
                    f"every rank must use the same {name}, but rank {self._ranks[0]} has "
                    f"{values[0]} and rank {rank} has {value}; {fix}"
                )

    def _defer(self, function: Callable[[], _T], otherwise: _T) -> _T:
        """Return what a function returns; keep its error until all ranks end together.

        After an error, return `otherwise` without calling.
        """
        if self._error is None:
            try:
                return function()
            except BaseException as error:
                self._error = error
                self._coordinator.report_failure(error)
        return otherwise

    def _read(self, leave: int) -> list[list[float]]:
        arrived = []
        while len(self._under_way) > leave:
            wait, new = self._under_way.popleft()
            with self._reported_failures():
                sums, is_non_finite = wait()
            means, status = unpack(sums)
            self._was_non_finite |= bool(is_non_finite)
            self._act_on(status)
            if status.new_metrics:
                if self._error is not None:  # reported already: no rank waits for these values
                    raise self._error
                means += self._exchange(new)
            if means:
                arrived.append(means)
        return arrived

    def _act_on(self, status: Status) -> None:
        """End the sweep, limit its data, or ask to stop, as the status of all ranks says."""
        # A rank whose loss is not finite does not count its step as skipped.
        scalers_disagree = 0 < status.skipped < len(self._ranks) - status.non_finite
        if status.failed or scalers_disagree:
            self._forget_rest()
        if status.failed:
            raise self._error or self._coordinator.lost_connection()
        if scalers_disagree:
            raise SweepError(
                f"the optimizer skipped a step on {status.skipped:.0f} of {len(self._ranks)} "
                "ranks, but must skip it on all of them or on none; let update_step step in the "
                "same calls everywhere, and average the gradients over the ranks, as "
                "DistributedDataParallel does, so that gradient scalers agree"
            )
        if status.out_of_data:
            self._batches.end_after(self._steps_read + STEPS_AHEAD)
        self._should_stop = bool(status.asked_to_stop)
        self._steps_read += 1

    def _exchange(self, new: _NewMetrics) -> list[float]:
        """Return the means of the new metrics of a step, which have columns from now on."""
        own = [
            (name, float(scalar), 1 if size is None else size)
            for name, (scalar, size) in new.items()
        ]
        with self._reported_failures():
            answers = self._coordinator.gather(own)
        names = [", ".join(name for name, _, _ in answer) or "none" for answer in answers]
        if len(set(names)) > 1:
            self._forget_rest()
        self._check_same("new metrics in a step", names, _SAME_METRICS)
        agreed = [name for name in self._new_names if name in new]
        self._columns += len(agreed)
        del self._new_names[: len(agreed)]
        return [
            sum(value * weight for _, value, weight in ranks) / sum(w for *_, w in ranks)
            for ranks in zip(*answers, strict=True)
        ]

    def _forget_rest(self) -> None:
        """Wait for the sums that every rank has begun, and forget them."""
        with self._reported_failures():
            while self._under_way:
                self._under_way.popleft()[0]()

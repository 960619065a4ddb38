"""A sweep in step with the other processes of a group: one curve, one decision, one end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from typing import Any, ParamSpec, TypeVar

import torch
import torch.distributed as dist
from torch import nn
from torch.distributed.distributed_c10d import PrefixStore, _get_default_store

from lrfinder._distributed.coordinator import Board
from lrfinder._distributed.exchange import begin_exchange
from lrfinder._distributed.lookahead import AHEAD, Lookahead
from lrfinder._distributed.mean_reader import JointReader, Word
from lrfinder._distributed.sharding import copies_of_a_batch, group_of, groups_in_use
from lrfinder._errors import SweepError, warn
from lrfinder._sweep.batches import OutOfDataError
from lrfinder._sweep.communicator import OnStep
from lrfinder._sweep.readback import Reader
from lrfinder._sweep.stopping import StopReason

_P = ParamSpec("_P")
_T = TypeVar("_T")

_HOW_RANKS_END: dict[StopReason, str] = {
    StopReason.OUT_OF_DATA: (
        "rank {} of {} ran out of data, which ended the range test on every rank; give each rank "
        "as many batches, or a loader that can be started again"
    ),
    StopReason.NON_FINITE: (
        "the loss became infinite or NaN on rank {} of {} while it was finite elsewhere, which "
        "ended the range test on every rank; if that is not where it diverges, look at the data "
        "of that rank"
    ),
}

_CLOSED = (
    "; it was in the middle of a collective, so the connections of the process group had to be "
    "closed: make a new group before you go on"
)
# How often each process group has been used: the same number on all of its processes.
_uses: Counter[str] = Counter()
# A tag on which nobody sends.
_UNUSED_TAG = 0x1F1D


def joint(model: nn.Module, per_update: int) -> Joint | None:
    """Return the processes that train a model together; None where there is one only.

    Args:
        model: wrapped in `DistributedDataParallel`, sharded, or neither.
        per_update: batches of one update, >= 1.
    """
    group = group_of(model)
    if dist.get_world_size(group) == 1:
        return None
    copies = copies_of_a_batch(model, dist.get_world_size(group))
    in_use = dict.fromkeys((group, *groups_in_use(model)))
    return Joint(group, per_update, copies, list(in_use))


class Joint:
    """The processes of a group; see `Peers`.

    Every decision is taken from numbers that all have read after the same update. What goes wrong
    beside an update, in a loader or a callback, is told with the next numbers, and all end
    together. What goes wrong within one leaves the others inside a collective that will never be
    completed, and closing the connections is the only way to get them out.

    Args:
        group: the processes.
        per_update: batches of one update, >= 1.
        copies: how many processes see the same batch, as under tensor parallelism, >= 1.
        in_use: the groups in whose collectives others may wait for this process.
    """

    def __init__(
        self,
        group: dist.ProcessGroup,
        per_update: int,
        copies: int,
        in_use: list[dist.ProcessGroup],
    ) -> None:
        self.leads = dist.get_rank(group) == 0
        self._group = group
        self._size = dist.get_world_size(group)
        self._per_update = per_update
        self._copies = copies
        self._in_use = in_use
        self._board = _new_board(group)
        self._reader: JointReader | None = None
        self._error: BaseException | None = None  # to be raised when all end together
        self._wants_end = self._is_over = self._have_all_failed = False

    def __enter__(self) -> Joint:
        return self

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> None:
        if error is not None and _is_lost_connection(error):
            raise self._board.loss_of_contact() from error
        if error is not None and not isinstance(error, SweepError):
            self._board.tell(error)

    def begin(self, batches: Iterator[Any], terms: str) -> Iterator[Any]:
        """Begin a sweep; returns when every process has come here and drawn its first batches."""
        self._batches = Lookahead(batches, self._per_update)
        self._wants_end = self._is_over = False
        self._board.agree("range test", terms)
        held = self._batches.fill()
        short = [self._board.add_up(f"at most {n}", int(held <= n)) for n in range(AHEAD)]
        self._board.meet()
        for updates, ranks in enumerate(short):
            if ranks():
                self._batches.end_after(updates)
        return self._batches

    def reader(self, device: torch.device, columns: list[str]) -> Reader:
        """Return what reads the mean over all processes, weighted by their batch sizes."""
        self._board.agree("set of metrics", ", ".join(columns))
        self._board.meet()
        self._reader = JointReader(
            lambda vector: begin_exchange(vector, self._group, self._board.check),
            device,
            len(columns),
            say=self._say,
            hear=self._hear,
            waited_for=self.waited_for,
            is_shared_failure=self._is_shared_failure,
        )
        return self._reader

    def total(self, size: int | None) -> int | None:
        """Return the number of different samples in an update of all processes."""
        unknown = self._board.add_up("of unknown size", int(size is None))
        samples = self._board.add_up("samples", size or 0)
        self._board.meet()
        return None if unknown() else samples() // self._copies

    def heed(self, on_step: OnStep | None) -> OnStep:
        """Return a callback that asks for the end where the callback of any process has."""

        def heeding(lr: float, loss: float, step: int) -> bool:
            if on_step is not None and self._error is None:
                try:
                    self._wants_end |= bool(on_step(lr, loss, step))
                except BaseException as error:
                    self._put_off(error)
            return self._is_over

        return heeding

    def guard(self, work: Callable[_P, _T]) -> Callable[_P, _T]:
        """Return work in which the others may wait for this process, who learn if it fails."""
        return self.waited_for()(work)

    @contextmanager
    def waited_for(self) -> Iterator[None]:
        """Let the others go if something fails in the block, in which they wait for this one."""
        try:
            yield
        except OutOfDataError:
            raise
        except BaseException as error:
            if isinstance(error, SweepError) or _is_lost_connection(error):
                _hang_up(self._in_use)  # others wait for this one as it has waited
                raise SweepError(f"{self._board.loss_of_contact()}{_CLOSED}") from error
            self._board.tell(error)
            self._have_all_failed = self._board.have_all_failed()
            if not self._have_all_failed:
                _hang_up(self._in_use)
            raise

    def part(self, reason: StopReason) -> None:
        """End a sweep; returns when every process has ended it without an error."""
        if self._reader is not None:
            self._reader.close()
            self._reader = None
        if reason is StopReason.OUT_OF_DATA and self._batches.has_run_out:
            self._board.sign(reason.name)
        concerned = self._board.signed(reason.name)
        self._board.meet()
        if self._error is not None:
            raise self._error
        if self.leads and reason in _HOW_RANKS_END:
            ranks = concerned()
            if 0 < len(ranks) < self._size:
                warn(_HOW_RANKS_END[reason].format(", ".join(map(str, ranks)), self._size))

    def _is_shared_failure(self) -> bool:
        if not self._have_all_failed:
            return False
        # It may have come past the end of the sweep, and then it never happened.
        self._have_all_failed = False
        self._board.forgive()
        return True

    def _put_off(self, error: BaseException) -> None:
        self._error = error
        self._board.tell(error)

    def _say(self) -> Word:
        held = AHEAD
        if self._error is None:
            try:
                held = self._batches.fill()
            except BaseException as error:
                self._put_off(error)
        return Word(out_of_data=held < AHEAD, failed=self._error is not None, asked=self._wants_end)

    def _hear(self, word: Word, update: int, is_non_finite: bool) -> None:
        if word.failed:
            raise self._error or self._board.loss_of_contact()
        # A rank whose loss is not finite does not count its step as skipped.
        if 0 < word.skipped < self._size - word.non_finite:
            raise SweepError(
                "expected the gradient scaler to skip a step on every rank or on none, got "
                f"{word.skipped:.0f} of {self._size}; average the gradients over the ranks, as "
                "DistributedDataParallel does"
            )
        if word.out_of_data:
            self._batches.end_after(update + AHEAD)
        if is_non_finite and word.non_finite < self._size:
            self._board.sign(StopReason.NON_FINITE.name)
        self._is_over = bool(word.asked)


def _new_board(group: dist.ProcessGroup) -> Board:
    _uses[group.group_name] += 1
    prefix = f"lrfinder/{group.group_name}/{_uses[group.group_name]}"
    store = PrefixStore(prefix, _get_default_store())
    return Board(store, dist.get_rank(), dist.get_process_group_ranks(group), _patience(group))


def _patience(group: dist.ProcessGroup) -> float:
    """Return the time-out of a process group in seconds."""
    backend: Any = group._get_backend(group._device_types[0])
    if hasattr(backend, "options"):
        return float(backend.options._timeout.total_seconds())
    return float(dist.default_pg_timeout.total_seconds())


def _is_lost_connection(error: BaseException) -> bool:
    """Tell whether an error comes from a collective that another process has left."""
    # Gloo raises plain errors, which are told by the place in its source that they name.
    return isinstance(error, dist.DistError) or (
        type(error) is RuntimeError
        and any(sign in str(error) for sign in ("gloo/", "pair closure"))
    )


def _hang_up(groups: list[dist.ProcessGroup]) -> None:
    """Close the connections of groups, so that nobody waits in them for this process."""
    for group in groups:
        with suppress(RuntimeError):
            group.abort()
        # Gloo has no abort, but it closes all connections when a receive runs out of time.
        me = dist.get_rank(group)
        other = dist.get_global_rank(group, (me + 1) % dist.get_world_size(group))
        with suppress(RuntimeError):
            work: Any = dist.irecv(torch.empty(1), other, group, tag=_UNUSED_TAG)
            work.wait(timedelta(milliseconds=1))

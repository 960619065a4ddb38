"""What ranks tell one another outside the collectives of the training.

Each rank reads and writes the key-value store of the process group on its own. So no rank has to
wait there for one that has failed, and no collective is called out of order.
"""

from __future__ import annotations

import json
import logging
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import torch.distributed as dist
from torch.distributed.distributed_c10d import Store

from lrfinder._errors import SweepError

_log = logging.getLogger("lrfinder")

# Seconds between two heartbeats.
_HEARTBEAT = 0.5
# Seconds without a heartbeat until a rank counts as gone: after a lost connection, and otherwise.
# The second is long, because a call that holds Python's lock also stops the heartbeat.
_SILENCE, _LONG_SILENCE = 2.0, 20.0
# Seconds after which a waiting rank looks for ranks that are gone, and after which it logs.
_CHECK_AFTER, _LOG_AFTER = 1.0, 30.0
# Seconds that a failed rank waits to see whether all the others have failed too.
_GRACE = 2.0
# Seconds between two looks at the store: at first, and at most.
_FIRST_PAUSE, _LAST_PAUSE = 1e-4, 0.05

_ENDED = "the range test has ended on every rank and the state was restored; see the output of"


class Coordinator:
    """Messages and heartbeats of the ranks of one range test.

    A thread of each rank counts its heartbeats, so a rank that computes for long still has them,
    and one that was killed has none.

    Args:
        store: shared by the ranks, and used for nothing else.
        rank: of this process.
        ranks: of all processes.
        timeout: seconds to wait for a rank that does not join, > 0.
    """

    def __init__(self, store: Store, rank: int, ranks: Sequence[int], timeout: float) -> None:
        self._store = store
        self._rank = rank
        self._ranks = list(ranks)
        self._timeout = timeout
        self._gathered = self._cleared = 0
        self._has_failed = False
        self._has_left = threading.Event()
        self._heartbeat = threading.Thread(target=self._beat, name="lrfinder", daemon=True)

    def start(self) -> None:
        """Start the heartbeat."""
        self._heartbeat.start()

    def stop(self) -> None:
        """Stop the heartbeat."""
        self._has_left.set()
        self._heartbeat.join(_HEARTBEAT)

    def gather(self, value: Any) -> list[Any]:
        """Return the values of all ranks, in their order, as soon as every rank has come here.

        A value is anything that JSON can hold. Raises `SweepError` if a rank has failed, is gone,
        or does not join before the timeout.
        """
        self._store.set(self._key(self._rank), json.dumps(value))
        if self._store.add(self._key("ranks here"), 1) == len(self._ranks):
            self.raise_failure()
            values = self._store.multi_get([self._key(rank) for rank in self._ranks])
            self._store.set(self._key("all"), json.dumps([json.loads(value) for value in values]))
        self._wait_for_all()
        everything = self._store.get(self._key("all"))
        if not everything:  # a rank has failed before all had come
            self.raise_failure()
        gathered: list[Any] = json.loads(everything)
        self._gathered += 1
        return gathered

    def report_failure(self, error: BaseException) -> None:
        """Tell the others that this rank has failed."""
        if self._has_failed:
            return
        self._has_failed = True
        with suppress(dist.DistError):  # the store may be gone, and the error must not be hidden
            what = f"failed with {type(error).__name__}: {error}"
            self._report([self._rank], what)
            self._store.add(f"{self._failure}/ranks", 1)

    def raise_failure(self) -> None:
        """Raise `SweepError` if another rank has failed."""
        if not self._has_failed and self._is_failure_reported():
            raise SweepError(self._store.get(self._failure).decode())

    def have_all_failed(self) -> bool:
        """Return whether every rank reports a failure of its own; wait a moment for them."""
        with suppress(dist.DistError):
            key = f"{self._failure}/ranks"
            return _wait_until(lambda: self._store.add(key, 0) == len(self._ranks), _GRACE)
        return False

    def clear_failure(self) -> None:
        """Forget a failure that every rank has reported."""
        self._has_failed = False
        self._cleared += 1

    def lost_connection(self) -> SweepError:
        """Return the reason why the connection to another rank was lost."""
        try:
            if self._store.add("ranks that lost a connection", 1) > 1:  # the first looks for all
                _wait_until(self._is_failure_reported, 2 * _SILENCE)
            self._report_silent_ranks(_SILENCE, self._is_failure_reported)
            self.raise_failure()
        except SweepError as error:
            return error
        except dist.DistError:
            return SweepError(
                "the store of the process group is gone, and so is the rank that keeps it (most "
                f"often rank 0); {_ENDED} that rank"
            )
        return SweepError(f"the connection to another rank was lost; {_ENDED} the other ranks")

    def _wait_for_all(self) -> None:
        def are_all_here() -> bool:
            return self._store.check([self._key("all")])

        begun, has_logged = time.monotonic(), False
        while not _wait_until(are_all_here, min(_CHECK_AFTER, self._timeout)):
            waited = time.monotonic() - begun
            if waited > self._timeout and (late := self._late()):
                what = "did not join the range test, which every rank must call, within"
                self._report(late, f"{what} {self._timeout:.0f} s")
            elif self._rank == next(filter(self._is_here, self._ranks)):  # one looks for all
                if waited > _LOG_AFTER and not has_logged:
                    has_logged = True
                    _log.warning("waiting for rank %s to join the range test", _names(self._late()))
                left = max(_SILENCE, self._timeout - waited)
                self._report_silent_ranks(min(_LONG_SILENCE, left), are_all_here)

    def _late(self) -> list[int]:
        return [rank for rank in self._ranks if not self._is_here(rank)]

    def _is_here(self, rank: int) -> bool:
        return self._store.check([self._key(rank)])

    def _beat(self) -> None:
        with suppress(dist.DistError):  # the store may be gone
            self._count_heartbeats(self._rank, more=1)
            while not self._has_left.wait(_HEARTBEAT):
                self._count_heartbeats(self._rank, more=1)

    def _count_heartbeats(self, rank: int, more: int = 0) -> int:
        return int(self._store.add(f"heartbeats/{rank}", more))

    def _report_silent_ranks(self, silence: float, is_over: Callable[[], bool]) -> None:
        """Report the ranks without a heartbeat for `silence` seconds, unless the wait is over."""
        if is_over():
            return
        before = {rank: self._count_heartbeats(rank) for rank in self._ranks}

        def silent() -> list[int]:
            return [rank for rank, n in before.items() if n and n == self._count_heartbeats(rank)]

        if not _wait_until(lambda: is_over() or not silent(), silence) and silent():
            self._report(silent(), "stopped responding")

    def _report(self, ranks: Sequence[int], what: str) -> None:
        # The first report counts, so that every rank raises the same error.
        names = _names(ranks)
        self._store.compare_set(self._failure, "", f"rank {names} {what}; {_ENDED} rank {names}")
        self._store.set(self._key("all"), "")  # nobody has to wait there any more

    def _is_failure_reported(self) -> bool:
        return self._store.check([self._failure])

    @property
    def _failure(self) -> str:
        return f"failure/{self._cleared}"

    def _key(self, name: str | int) -> str:
        return f"{name}/{self._gathered}.{self._cleared}"


def _wait_until(is_so: Callable[[], bool], seconds: float) -> bool:
    """Wait at most some seconds until a condition holds; return whether it does."""
    end, pause = time.monotonic() + seconds, _FIRST_PAUSE
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(2 * pause, _LAST_PAUSE)
    return True


def _names(ranks: Sequence[int]) -> str:
    return ", ".join(map(str, ranks))

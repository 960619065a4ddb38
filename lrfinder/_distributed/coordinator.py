"""What processes tell one another outside the collectives of the training.

The key-value store of a process group is read and written by each process on its own, so nobody
has to wait there for one that has failed, and no collective goes out of order.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

import torch.distributed as dist
from torch.distributed.distributed_c10d import Store

from lrfinder._errors import InvalidInputError, SweepError

_log = logging.getLogger("lrfinder")

# Seconds after which a process that still waits for others says so.
_LONG = 30.0
# Seconds that processes are given to tell their part of a failure before one of them acts on it.
_GRACE = 2.0
# Seconds between two looks at the store: at first, and at most.
_SOON, _LATER = 1e-4, 0.05

_GO_ON = "the state was put back; see the traceback of that rank"


class Board:
    """Messages and meetings of the processes of one range test.

    Args:
        store: shared by all of them, and by nothing else.
        rank: of this process.
        ranks: of all of them.
        patience: seconds to wait for a process that does not come, > 0.
    """

    def __init__(self, store: Store, rank: int, ranks: Sequence[int], patience: float) -> None:
        self._store = store
        self._rank = rank
        self._ranks = list(ranks)
        self._patience = patience
        self._meetings = 0
        self._has_failed = False
        self._forgiven = 0

    def agree(self, what: str, mine: str) -> None:
        """Compare a value with that of the process which came first.

        Raises:
            InvalidInputError: if they differ.
        """
        theirs = self._store.compare_set(f"{what}/{self._meetings}", "", mine).decode()
        if theirs != mine:
            raise InvalidInputError(
                f"expected the same {what} on every rank, got {mine} on rank {self._rank} and "
                f"{theirs} on another; call it with the same arguments everywhere"
            )

    def add_up(self, what: str, number: int) -> Callable[[], int]:
        """Add a number to a sum; the returned call tells the sum after the next meeting."""
        key = f"{what}/{self._meetings}"
        self._store.add(key, number)
        return lambda: self._store.add(key, 0)

    def sign(self, what: str) -> None:
        """Put this process on a list."""
        self._store.set(f"{what}/{self._meetings}/{self._rank}", "1")

    def signed(self, what: str) -> Callable[[], list[int]]:
        """Return a call that tells, also after the next meeting, which ranks are on a list."""
        key = f"{what}/{self._meetings}"
        return lambda: [rank for rank in self._ranks if self._store.check([f"{key}/{rank}"])]

    def meet(self) -> None:
        """Wait until every process has come here.

        Raises:
            SweepError: if one has failed meanwhile, or does not come within the time-out of the
                process group.
        """
        here, all_here = f"here/{self._meetings}", f"all here/{self._meetings}"
        if self._store.add(here, 1) == len(self._ranks):
            self._store.set(all_here, "1")
        self._store.set(f"met/{self._rank}", str(self._meetings))
        self._wait_patiently(lambda: self._store.check([all_here]))
        self._meetings += 1
        self.check()

    def _wait_patiently(self, are_here: Callable[[], bool]) -> None:
        patience = self._patience
        if _wait(are_here, min(_LONG, patience)):
            return
        late = self._late()
        if patience > _LONG and self._rank == min(set(self._ranks) - set(late)):
            _log.warning("rank %d waits for the range test of rank %s", self._rank, _names(late))
        if not _wait(are_here, patience - _LONG):
            raise SweepError(
                f"expected all {len(self._ranks)} processes to take part in the range test, got "
                f"nothing from rank {_names(self._late())} for {patience:.0f} s; call it on every "
                "rank of the process group"
            )

    def tell(self, error: BaseException) -> None:
        """Tell the others that this process has failed."""
        if self._has_failed:
            return
        self._has_failed = True
        news = f"rank {self._rank} failed with {type(error).__name__}: {error}"
        with suppress(dist.DistError):  # the store may be gone, and the error must not be hidden
            self._store.compare_set(self._failure, "", news)
            self._store.add(f"{self._failure}/all", 1)
            self._store.set(f"all here/{self._meetings}", "1")  # nobody waits there any more

    def check(self) -> None:
        """Raise `SweepError` if another process has failed."""
        error = self.failure()
        if error is not None:
            raise error

    def failure(self) -> SweepError | None:
        """Return the first failure that a process has told, if any."""
        if self._has_failed or not self._store.check([self._failure]):
            return None
        news = self._store.get(self._failure).decode()
        return SweepError(f"expected every process to finish the range test, but {news}; {_GO_ON}")

    def have_all_failed(self) -> bool:
        """Tell, after a moment's grace, whether each process has told a failure of its own."""
        with suppress(dist.DistError):
            failures = f"{self._failure}/all"
            return _wait(lambda: self._store.add(failures, 0) == len(self._ranks), _GRACE)
        return False

    def forgive(self) -> None:
        """Take back a failure that all processes have told."""
        self._has_failed = False
        self._forgiven += 1

    @property
    def _failure(self) -> str:
        return f"failure/{self._forgiven}"

    def loss_of_contact(self) -> SweepError:
        """Return the reason why the connection to a process was lost."""
        try:
            return self._loss_of_contact()
        except dist.DistError:
            return SweepError(
                "expected every process to finish the range test, but the store of the process "
                "group is gone with the process that kept it, rank 0 as a rule; "
                "the state was put back; see the output of that rank"
            )

    def _loss_of_contact(self) -> SweepError:
        self._store.set(f"alive/{self._rank}", "1")
        alive = [f"alive/{rank}" for rank in self._ranks]
        _wait(lambda: self._store.check([self._failure]) or self._store.check(alive), _GRACE)
        told = self.failure()
        if told is not None:
            return told
        silent = [rank for rank in self._ranks if not self._store.check([f"alive/{rank}"])]
        return SweepError(
            "expected every process to finish the range test, but rank "
            f"{_names(silent) or 'of unknown number'} does not answer any more; the state was put "
            "back; see the output of that rank"
        )

    def _late(self) -> list[int]:
        def meetings(rank: int) -> int:
            key = f"met/{rank}"
            return int(self._store.get(key)) if self._store.check([key]) else -1

        return [rank for rank in self._ranks if meetings(rank) < self._meetings]


def _wait(is_so: Callable[[], bool], seconds: float) -> bool:
    """Look again and again until something is so; tell whether it was in time."""
    end, pause = time.monotonic() + seconds, _SOON
    while not is_so():
        if time.monotonic() > end:
            return False
        time.sleep(pause)
        pause = min(2 * pause, _LATER)
    return True


def _names(ranks: Sequence[int]) -> str:
    return ", ".join(map(str, ranks))

"""The messages, barriers and heartbeats of ranks, each rank in a thread of this process."""

import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from torch.distributed import HashStore

from lrfinder import InvalidInputError, SweepError
from lrfinder._distributed.coordinator import Coordinator


def coordinators(size, timeout=10.0):
    store = HashStore()
    return [Coordinator(store, rank, range(size), timeout) for rank in range(size)]


def at_once(calls):
    """Run one call per rank, each in a thread; return what they return or raise."""

    def outcome(call):
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(outcome, calls))


def test_no_rank_leaves_a_barrier_before_all_have_come():
    three = coordinators(3)
    sums = [coordinator.add("samples", 10 + rank) for rank, coordinator in enumerate(three)]
    three[1].mark("out of data")
    marked = three[0].marked("out of data")
    assert at_once([coordinator.barrier for coordinator in three]) == [None] * 3
    assert [total() for total in sums] == [33] * 3
    assert marked() == [1]


def test_a_failure_reaches_ranks_that_wait_and_ranks_that_come_later():
    three = coordinators(3)
    three[1].report_failure(ValueError("bad label"))
    for ended in at_once([three[0].barrier, three[2].barrier]):
        assert isinstance(ended, SweepError)
        assert "rank 1 failed with ValueError: bad label" in str(ended)
    three[1].raise_failure()  # it raises its own error instead


def test_after_a_failure_of_all_ranks_is_cleared_a_barrier_holds_again():
    two = coordinators(2, timeout=0.1)
    for coordinator in two:
        coordinator.report_failure(ValueError("too large"))
    assert two[0].have_all_failed()
    for coordinator in two:
        coordinator.clear_failure()
    with pytest.raises(SweepError, match="rank 1 did not join"):
        two[0].barrier()
    two[1].barrier()


def test_ranks_that_do_not_join_a_barrier_are_named():
    three = coordinators(3, timeout=0.1)
    ended, _ = at_once([three[0].barrier, three[2].barrier])
    assert "rank 1 did not join the range test within" in str(ended)


def test_a_rank_without_a_heartbeat_is_named_and_one_that_is_late_is_not():
    three = coordinators(3)
    for coordinator in three:
        coordinator.start()
    three[1].stop()
    begun = time.monotonic()
    ended = at_once([three[0].barrier, three[0].lost_connection])
    assert time.monotonic() - begun < 8  # the timeout is 10
    for error in ended:
        assert "rank 1 stopped responding" in str(error)
    for coordinator in (three[0], three[2]):
        coordinator.stop()


def test_only_the_rank_with_another_value_raises():
    one, other = coordinators(2)
    one.assert_same("range test", "10 steps")
    with pytest.raises(
        InvalidInputError, match="rank 1 has 20 steps and another rank has 10 steps"
    ):
        other.assert_same("range test", "20 steps")
    one.assert_same("range test", "10 steps")

"""The messages and heartbeats of ranks, each rank in a thread of this process."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
import torch.distributed as dist

from lrfinder import SweepError
from lrfinder._distributed.coordinator import Coordinator


def coordinators(size, timeout=10.0):
    store = dist.HashStore()
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


def test_every_rank_gets_the_values_of_all_once_all_have_come():
    three = coordinators(3)
    gathers = [partial(coordinator.gather, [rank, "a"]) for rank, coordinator in enumerate(three)]
    assert at_once(gathers) == [[[0, "a"], [1, "a"], [2, "a"]]] * 3
    # The next values are kept apart from these.
    gathers = [partial(coordinator.gather, None) for coordinator in three]
    assert at_once(gathers) == [[None] * 3] * 3


def test_a_failure_reaches_ranks_that_wait_and_ranks_that_come_later():
    three = coordinators(3)
    three[1].report_failure(ValueError("bad label"))
    for ended in at_once([partial(three[0].gather, 1), partial(three[2].gather, 1)]):
        assert isinstance(ended, SweepError)
        assert "rank 1 failed with ValueError: bad label" in str(ended)
    three[1].raise_failure()  # it raises its own error instead


def test_a_rank_that_fails_with_the_values_at_hand_does_not_take_them_from_a_slower_one():
    two = coordinators(2)
    failed, wait = threading.Event(), two[1]._wait_for_all

    def gather_and_fail():
        values = two[0].gather(0)
        two[0].report_failure(ValueError("the values differ"))
        failed.set()
        return values

    two[1]._wait_for_all = lambda: (wait(), failed.wait(5))
    assert at_once([gather_and_fail, partial(two[1].gather, 1)]) == [[0, 1]] * 2
    with pytest.raises(SweepError, match="the values differ"):
        two[1].gather(1)


def test_after_a_failure_of_all_ranks_is_cleared_ranks_wait_for_each_other_again():
    two = coordinators(2, timeout=0.1)
    for coordinator in two:
        coordinator.report_failure(ValueError("too large"))
    assert two[0].have_all_failed()
    for coordinator in two:
        coordinator.clear_failure()
    with pytest.raises(SweepError, match="rank 1 did not join"):
        two[0].gather(1)


def test_where_the_rank_with_the_store_is_gone_the_others_say_so_and_their_errors_stay():
    store = dist.TCPStore("127.0.0.1", 0, is_master=True, wait_for_workers=False)
    other = Coordinator(dist.TCPStore("127.0.0.1", store.port, is_master=False), 1, [0, 1], 10.0)
    other.start()
    del store
    try:
        other.report_failure(ValueError("bad label"))  # raises nothing that would hide it
        assert not other.have_all_failed()
        assert "the rank that keeps it (most often rank 0)" in str(other.lost_connection())
    finally:
        other.stop()


def test_ranks_that_do_not_join_are_named():
    three = coordinators(3, timeout=0.1)
    for ended in at_once([partial(three[0].gather, 1), partial(three[2].gather, 1)]):
        assert "rank 1 did not join the range test" in str(ended)


def test_a_late_rank_that_is_silent_for_a_moment_is_not_named(monkeypatch):
    monkeypatch.setattr("lrfinder._distributed.coordinator._CHECK_AFTER", 0.1)
    monkeypatch.setattr("lrfinder._distributed.coordinator._SILENCE", 0.2)
    two = coordinators(2)
    for each in two:
        each.start()
    two[1].stop()  # as a call that holds Python's lock does
    late = threading.Timer(1.0, two[1].gather, [1])
    late.start()
    assert two[0].gather(0) == [0, 1]
    late.join()
    two[0].stop()


def test_a_rank_without_a_heartbeat_is_named_and_one_that_is_late_is_not():
    three = coordinators(3)
    for coordinator in three:
        coordinator.start()
    three[1].stop()
    begun = time.monotonic()
    ended = at_once([partial(three[0].gather, 1), three[0].lost_connection])
    assert time.monotonic() - begun < 8  # the timeout is 10
    for error in ended:
        assert "rank 1 stopped responding" in str(error)
    for coordinator in (three[0], three[2]):
        coordinator.stop()

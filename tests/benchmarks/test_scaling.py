"""What several processes have measured becomes a page, launch by launch."""

import pytest
import torch.distributed as dist

from lrfinder._distributed import process_group
from tests.benchmarks import scaling
from tests.benchmarks.scaling import Launch, counted_requests, in_turn, launch, page, row

# In one launch the range test takes 1.02 times as long as the bare loop, in the other 1.1 times.
QUICK = Launch([[1.0, 1.0, 1.02]] * 3, meetings=4, requests=20)
SLOW = Launch([[2.0, 2.2, 2.2], [2.0, 2.2, 2.2], [2.0, 9.0, 9.0]], meetings=4, requests=30)


def test_a_row_has_the_lowest_the_median_and_the_highest_launch():
    *_, exchange, sweep, beyond, _ = (cell.strip() for cell in row(2, [QUICK, SLOW]).split("|"))
    assert exchange == "1.000 / **1.050** / 1.100"
    assert sweep == "1.020 / **1.060** / 1.100"
    assert beyond == "1.000 / **1.010** / 1.020"


def test_one_process_has_no_exchange():
    assert row(1, [QUICK]).split("|")[3:] == [
        " - ",
        " 98 ",
        " - ",
        f" {scaling.spread([1.02])} ",
        " - ",
        "",
    ]


def test_a_target_within_the_range_of_the_launches_is_undecided():
    text = page({1: [QUICK, QUICK], 2: [QUICK, SLOW], 4: [SLOW, SLOW]})
    assert "is met at 1, undecided at 2, missed at 4\nprocesses" in text


def test_the_page_tells_the_command_and_what_was_counted():
    text = " ".join(page({1: [QUICK], 4: [QUICK, SLOW]}).split())
    assert "data/performance/scaling.md --rounds 3 --launches 2`" in text
    assert "about 25, in 4 meetings, and 2 per second" in text


def test_each_round_begins_with_the_next_kind_of_work(monkeypatch):
    monkeypatch.setattr(scaling, "seconds", lambda work: work())
    done = []
    kinds = [lambda kind=kind: done.append(kind) for kind in "abc"]
    for number in range(3):
        assert len(in_turn(kinds, number)) == 3
    assert "".join(done) == "abcbcacab"


def test_requests_to_the_store_are_counted_by_their_keys():
    with counted_requests() as asked:
        store = process_group.PrefixStore("test", dist.HashStore())
        store.set("0/0.0", "value")
        assert store.get("0/0.0") == b"value"
        assert store.check(["0/0.0"])
        store.add("heartbeats/0", 1)
    assert asked == ["0", "0", "0", "heartbeats"]
    assert process_group.PrefixStore is dist.PrefixStore


@pytest.mark.slow
def test_two_processes_measure():
    measured = launch(2, rounds=1)
    ((bare, exchange, sweep),) = measured.turns
    assert min(bare, exchange, sweep) > 0
    assert measured.requests > 2 * measured.meetings > 0

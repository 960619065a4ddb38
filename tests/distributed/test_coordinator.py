"""The parts of a joint sweep, each on its own and without other processes."""

import math
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext, suppress
from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.distributed import HashStore

from lrfinder import InvalidInputError, SweepError
from lrfinder._distributed.coordinator import Board
from lrfinder._distributed.lookahead import Lookahead
from lrfinder._distributed.mean_reader import JointReader, Word
from lrfinder._sweep.batches import OutOfDataError


class Ending:
    """Counts up to an end, as `Batches` do."""

    def __init__(self, length):
        self.numbers = iter(range(length))

    def __iter__(self):
        return self

    def __next__(self):
        try:
            return next(self.numbers)
        except StopIteration:
            raise OutOfDataError from None


@given(length=st.integers(0, 20), per_update=st.integers(1, 4), end=st.integers(0, 8))
def test_lookahead_gives_the_same_batches_and_ends_where_it_is_told(length, per_update, end):
    batches, given = Lookahead(Ending(length), per_update), []
    batches.end_after(end)
    with suppress(OutOfDataError):
        while True:
            batches.fill()
            given.append(next(batches))
    assert given == list(range(min(length, end * per_update)))


@given(length=st.integers(0, 20), per_update=st.integers(1, 4))
def test_lookahead_announces_the_end_two_updates_ahead(length, per_update):
    batches = Lookahead(Ending(length), per_update)
    for done in range(length // per_update + 1):
        assert batches.fill() == min(2, length // per_update - done)
        if done < length // per_update:
            [next(batches) for _ in range(per_update)]
    assert batches.has_run_out


class Ranks:
    """Exchanges the vectors of several readers in one process."""

    def __init__(self, size):
        self.size = size
        self.sent = [[] for _ in range(size)]

    def exchange(self, rank, vector):
        self.sent[rank].append(vector.clone())
        return Sum(self, len(self.sent[rank]) - 1, float(vector[-1]))


class Sum:
    def __init__(self, ranks, number, own):
        self.ranks, self.number, self.own = ranks, number, own

    def finish(self):
        total = torch.stack([sent[self.number] for sent in self.ranks.sent]).sum(0)
        return [*total.tolist(), self.own]


def readers(size, columns, hear=lambda *_: None, words=()):
    ranks, words = Ranks(size), iter(words)
    return [
        JointReader(
            partial(ranks.exchange, rank),
            torch.device("cpu"),
            columns,
            say=lambda: next(words, Word()),
            hear=hear,
            waited_for=nullcontext,
            is_shared_failure=lambda: False,
        )
        for rank in range(size)
    ]


pair = st.tuples(st.floats(-1e6, 1e6, width=32), st.integers(1, 1000))


@given(steps=st.lists(st.tuples(pair, pair), min_size=1, max_size=8))
def test_a_reader_gives_means_weighted_by_size_one_step_late_and_the_same_to_all(steps):
    both, read = readers(2, columns=1), ([], [])
    for number, step in enumerate(steps):
        for reader, seen, (loss, size) in zip(both, read, step, strict=True):
            seen.extend(reader.push([torch.tensor(loss)], [size]))
            assert len(seen) == number
    for reader, seen in zip(both, read, strict=True):
        seen.extend(reader.drain())
    assert read[0] == read[1]
    for (mean,), ((one, size), (other, other_size)) in zip(read[0], steps, strict=True):
        expected = np.average([one, other], weights=[size, other_size])
        assert mean == pytest.approx(expected, rel=1e-9, abs=1e-6)


def test_a_column_without_samples_is_left_out_and_a_skipped_update_altogether():
    both = readers(2, columns=2)
    updates = [
        lambda reader: reader.push([1.0, 5.0], [2, 2]),
        lambda reader: reader.skip(),
        lambda reader: reader.push([3.0], [2]),
        lambda reader: reader.drain(),
    ]
    seen = [[update(reader) for reader in both] for update in updates]
    assert seen == [[[], []], [[[1.0, 5.0]]] * 2, [[], []], [[[3.0]]] * 2]


@pytest.mark.parametrize("loss", [2.5, math.nan])
def test_the_vector_of_a_device_is_the_one_of_the_host(monkeypatch, loss):
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)  # needs a device
    (reader,) = readers(1, columns=3)
    word = Word(asked=1)
    host = reader._vector([torch.tensor(loss), 4.0], [8.0, 2.0], word)
    device = reader._vector_on_device([torch.tensor(loss), 4.0, 0.0], [8.0, 2.0, 0.0], word)
    torch.testing.assert_close(device, host, rtol=0, atol=0, equal_nan=True)


def test_every_reader_hears_how_many_have_said_what_about_which_update():
    heard = []
    both = readers(2, 1, hear=lambda *told: heard.append(told), words=[Word(asked=1), Word()])
    for reader, loss in zip(both, (1.0, math.nan), strict=True):
        reader.push([loss], [1])
    for reader in both:
        reader.drain()
    word = Word(asked=1, non_finite=1)
    assert heard == [(word, 0, False), (word, 0, True)]


def boards(size, patience=10.0):
    store = HashStore()
    return [Board(store, rank, range(size), patience) for rank in range(size)]


def at_once(calls):
    """Run one call per rank, each in a thread; return what they return or raise."""

    def outcome(call):
        try:
            return call()
        except Exception as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(outcome, calls))


def test_nobody_leaves_a_meeting_before_all_have_come():
    three = boards(3)
    sums = [board.add_up("samples", 10 + rank) for rank, board in enumerate(three)]
    three[1].sign("short of data")
    signed = three[0].signed("short of data")
    assert at_once([board.meet for board in three]) == [None] * 3
    assert [total() for total in sums] == [33] * 3
    assert signed() == [1]


def test_a_failure_is_told_to_those_who_wait_and_to_those_who_come_later():
    three = boards(3)
    three[1].tell(ValueError("bad label"))
    for ended in at_once([three[0].meet, three[2].meet]):
        assert isinstance(ended, SweepError)
        assert "rank 1 failed with ValueError: bad label" in str(ended)
    assert three[1].failure() is None  # it has an error of its own


def test_those_who_do_not_come_to_a_meeting_are_named():
    three = boards(3, patience=0.1)
    ended, _ = at_once([three[0].meet, three[2].meet])
    assert "nothing from rank 1 for" in str(ended)


def test_only_the_rank_that_wants_something_else_is_refused():
    one, other = boards(2)
    one.agree("range test", "10 steps")
    with pytest.raises(InvalidInputError, match="got 20 steps on rank 1 and 10 steps on another"):
        other.agree("range test", "20 steps")
    one.agree("range test", "10 steps")

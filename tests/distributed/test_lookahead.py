"""Batches drawn ahead are the same batches, and announce their end two steps before it."""

from contextlib import suppress

from hypothesis import given
from hypothesis import strategies as st

from lrfinder._distributed.lookahead import Lookahead
from lrfinder._errors import OutOfDataError


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


@given(length=st.integers(0, 20), per_step=st.integers(1, 4), end=st.integers(0, 8))
def test_the_same_batches_are_given_up_to_the_step_after_which_to_end(length, per_step, end):
    batches, given = Lookahead(Ending(length), per_step), []
    batches.end_after(end)
    assert not batches.ran_out
    with suppress(OutOfDataError):
        while True:
            batches.fill()
            given.append(next(batches))
    assert given == list(range(min(length, end * per_step)))


@given(length=st.integers(0, 20), per_step=st.integers(1, 4))
def test_the_end_is_announced_two_steps_ahead(length, per_step):
    batches = Lookahead(Ending(length), per_step)
    steps = length // per_step
    for done in range(steps + 1):
        assert batches.fill() == min(2, steps - done)
        if done < steps:
            [next(batches) for _ in range(per_step)]


def test_only_the_rank_whose_batches_are_used_up_has_run_out_of_data():
    short, long = Lookahead(Ending(3), 1), Lookahead(Ending(9), 1)
    for batches in (short, long):
        batches.end_after(3)
        for _ in range(3):
            batches.fill()
            next(batches)
    assert not short.ran_out  # it had all that was asked for
    for batches in (short, long):
        with suppress(OutOfDataError):
            next(batches)
    assert short.ran_out
    assert not long.ran_out

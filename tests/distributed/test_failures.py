"""What ends the sweep on one rank ends it on all, by name, with the state restored and no hang."""

import os
import signal
import time
import warnings

import pytest
import torch
from torch import nn

from lrfinder import InvalidInputError, LRFinder, StopReason, SweepError
from tests.distributed.helpers import (
    Raised,
    Shard,
    everything,
    in_parallel,
    network,
    rank,
    run,
    run_to_any_end,
    same,
    train,
    trained,
)

BAD = 1  # the rank on which things go wrong
MSE = nn.MSELoss()


class BrokenFile(Exception):
    pass


class Failing:
    """Calls a function, but fails on one rank, or on all, at one of the calls."""

    def __init__(self, function, failure, at, *, everywhere=False):
        self.function, self.failure, self.at = function, failure, at
        self.counts = everywhere or rank() == BAD
        self.calls = 0

    def __call__(self, *arguments):
        self.calls += 1
        if self.counts and self.calls == self.at:
            return self.failure(*arguments)
        return self.function(*arguments)


def broken(*_):
    raise BrokenFile("cannot read sample 7")


class BrokenShard(Shard):
    """Batches of which one cannot be read, on one rank."""

    def __init__(self, at):
        super().__init__(steps=30)
        self.at = at

    def __iter__(self):
        read = Failing(lambda batch: batch, broken, self.at)
        return map(read, super().__iter__())


def range_test_in(method="range_test", **options):
    """Sweep, or recommend; return how it ended, whether all is as before, and the seconds."""
    model = in_parallel(network())
    optimizer = trained(model)
    before = everything(model, optimizer)
    begun = time.monotonic()
    criterion = options.pop("criterion", MSE)
    arguments = options.pop("finder", {})
    loader = options.pop("loader", None)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            finder = LRFinder(model, optimizer, criterion, **arguments)
            if method == "range_test":
                options.setdefault("num_iter", 30)
            ended = getattr(finder, method)(
                Shard() if loader is None else loader, progress=False, **options
            )
    except BaseException as error:
        ended = Raised(error)
    took = time.monotonic() - begun
    told = [str(warning.message) for warning in warned]
    return ended, same(before, everything(model, optimizer)), took, told, (model, optimizer)


def and_train_on(outcome):
    """Train on with the same process group; return the outcome without the model."""
    *rest, (model, optimizer) = outcome
    train(model, optimizer)
    return (*rest, [parameter.detach().clone() for parameter in model.parameters()])


def reading_fails(at):
    return and_train_on(range_test_in(loader=BrokenShard(at)))


def callback_fails():
    on_step = Failing(lambda *_: False, broken, at=5)
    return and_train_on(range_test_in(on_step=on_step))


def last_callback_fails():
    on_step = Failing(lambda *_: False, broken, at=10)
    return and_train_on(range_test_in(num_iter=10, on_step=on_step))


@pytest.fixture(scope="module")
def expected():
    """What each rank has after a training with no range test in it."""
    return run(untouched, 3)


def untouched():
    model = in_parallel(network())
    train(model, trained(model))
    return [parameter.detach().clone() for parameter in model.parameters()]


@pytest.mark.parametrize(
    ("failing", "arguments"),
    [(reading_fails, (1,)), (reading_fails, (8,)), (callback_fails, ()), (last_callback_fails, ())],
)
def test_what_fails_beside_an_update_ends_all_ranks_and_training_goes_on(
    failing, arguments, expected
):
    for number, (ended, kept, took, _, after) in enumerate(run(failing, 3, *arguments)):
        assert kept
        assert took < 20
        assert ended.kind is (BrokenFile if number == BAD else SweepError)
        assert "cannot read sample 7" in ended.message
        assert number == BAD or "rank 1 failed with BrokenFile" in ended.message
        assert same(after, expected[number])


def update_fails(place):
    def in_backward(outputs, targets):
        loss = MSE(outputs, targets)
        loss.register_hook(broken)
        return loss

    failure = in_backward if place == "backward" else broken
    return range_test_in(criterion=Failing(MSE, failure, at=8))[:4]


@pytest.mark.parametrize("place", ["criterion", "backward"])
def test_an_exception_within_an_update_sets_the_others_free_and_names_the_rank(place):
    for number, (ended, kept, took, _) in enumerate(run(update_fails, 3, place)):
        assert kept
        assert took < 20  # the timeout of the group is 30
        assert ended.kind is (BrokenFile if number == BAD else SweepError)
        if number != BAD:
            assert "rank 1 failed with BrokenFile: cannot read sample 7" in ended.message
            assert "create a new process group" in ended.message


def update_fails_everywhere():
    criterion = Failing(MSE, broken, at=8, everywhere=True)
    return and_train_on(range_test_in(criterion=criterion))


def test_an_exception_on_every_rank_arrives_unchanged_and_training_goes_on(expected):
    for number, (ended, kept, _, _, after) in enumerate(run(update_fails_everywhere, 3)):
        assert ended.kind is BrokenFile
        assert kept
        assert same(after, expected[number])


def refuses_what_diverged():
    def criterion(outputs, targets):
        if not outputs.isfinite().all():
            raise ValueError("the outputs are not finite")
        return MSE(outputs, targets)

    return and_train_on(
        range_test_in(num_iter=60, end_lr=1e30, diverge_th=1e30, criterion=criterion)
    )


def test_an_exception_past_the_end_of_the_curve_never_happened():
    alone = run(refuses_what_diverged, 1)[0][0]
    assert alone.stop_reason is StopReason.NON_FINITE
    for ended, kept, *_ in run(refuses_what_diverged, 2):
        assert kept
        assert (len(ended), ended.stop_reason) == (len(alone), alone.stop_reason)


def one_loss_is_not_a_number():
    criterion = Failing(MSE, lambda *batch: MSE(*batch) * float("nan"), at=9)
    return and_train_on(range_test_in(criterion=criterion))


def test_a_loss_that_is_not_a_number_ends_all_and_the_rank_is_named(expected):
    answers = run(one_loss_is_not_a_number, 3)
    for number, (result, kept, _, told, after) in enumerate(answers):
        assert kept
        assert (result.stop_reason, len(result)) == (StopReason.NON_FINITE, 9)
        assert ["NaN on rank 1 of 3" in message for message in told] == [True] * (number == 0)
        assert same(after, expected[number])


def data_ends(steps):
    return and_train_on(range_test_in(loader=iter(Shard(steps=steps[rank()]))))


@pytest.mark.parametrize(
    ("steps", "named"), [((9, 5, 6), True), ((2, 1, 2), True), ((4, 4, 4), False)]
)
def test_the_end_of_data_on_one_rank_ends_all_after_the_same_step_and_is_named(
    steps, named, expected
):
    for number, (result, kept, _, told, after) in enumerate(run(data_ends, 3, steps)):
        assert kept
        assert (result.stop_reason, len(result)) == (StopReason.OUT_OF_DATA, min(steps))
        assert len(told) == (named and number == 0)
        assert all("rank 1 of 3 ran out of data" in message for message in told)
        assert same(after, expected[number])


def update_ends_within_its_micro_batches():
    loader = iter(Shard(steps=7 if rank() == BAD else 12))
    return range_test_in(loader=loader, accumulation_steps=3)[:4]


def test_data_that_end_within_an_update_end_before_it_on_every_rank():
    for result, kept, _, _ in run(update_ends_within_its_micro_batches, 2):
        assert kept
        assert (result.stop_reason, len(result)) == (StopReason.OUT_OF_DATA, 2)


def a_rank_is_killed(victim):
    def die(*_):
        os.kill(os.getpid(), signal.SIGKILL)

    criterion = Failing(MSE, die, at=6, everywhere=True) if rank() == victim else MSE
    return range_test_in(criterion=criterion)[:4]


def test_when_a_rank_is_killed_the_others_end_with_an_error_that_names_it():
    first, killed, third = run_to_any_end(a_rank_is_killed, 3, BAD)
    assert killed is None
    for ended, kept, took, _ in (first, third):
        assert kept
        assert ended.kind is SweepError
        assert "rank 1 stopped responding" in ended.message
        assert took < 20


def a_rank_stays_away():
    model = network()
    finder = LRFinder(model, torch.optim.SGD(model.parameters(), lr=0.1), MSE)
    begun = time.monotonic()
    if rank() == BAD:
        return None
    try:
        return finder.range_test(Shard(), progress=False)
    except SweepError as error:
        return str(error), time.monotonic() - begun


def test_a_rank_that_takes_no_part_is_named_after_the_time_out_of_the_group():
    message, took = run_to_any_end(a_rank_stays_away, 2, timeout=5)[0]
    assert "rank 1 did not join the range test" in message
    assert took < 20


def too_few_steps():
    return and_train_on(range_test_in(num_iter=1 if rank() == BAD else 10))


def unknown_groups():
    return and_train_on(range_test_in(groups=[7] if rank() == BAD else [0]))


def negative_norm():
    return and_train_on(range_test_in(finder={"clip_grad": -1.0 if rank() == BAD else 1.0}))


@pytest.mark.parametrize(
    ("refused", "argument"),
    [(too_few_steps, "num_iter"), (unknown_groups, "groups"), (negative_norm, "clip_grad")],
)
def test_an_argument_that_is_refused_on_one_rank_ends_the_wait_of_the_others(
    refused, argument, expected
):
    for number, (ended, kept, took, _, after) in enumerate(run(refused, 3)):
        assert kept
        assert took < 10  # the timeout of the group is 30
        assert ended.kind is (InvalidInputError if number == BAD else SweepError)
        assert argument in ended.message
        assert number == BAD or "rank 1 failed with InvalidInputError" in ended.message
        assert same(after, expected[number])


def different_arguments():
    return range_test_in(num_iter=10 + rank())[:4]


def different_tolerance():
    return range_test_in(diverge_th=5.0 + rank())[:4]


def different_lengths():
    """As from the number of batches of shards that differ in size."""
    return range_test_in(method="recommend", total_steps=400 + rank())[:4]


def different_metrics():
    def step(model, batch):
        inputs, targets = batch
        return {"loss": MSE(model(inputs), targets), f"of rank {rank()}": 1.0}

    return range_test_in(criterion=None, finder={"training_step": step})[:4]


@pytest.mark.parametrize(
    "differing", [different_arguments, different_tolerance, different_lengths, different_metrics]
)
def test_ranks_that_want_different_things_are_told_so_before_they_wait_for_each_other(differing):
    for ended, kept, took, _ in run(differing, 2):
        assert ended.kind is InvalidInputError
        assert "every rank must use the same" in ended.message
        assert kept
        assert took < 20


def a_new_metric_on_one_rank(at):
    step = -1

    def training_step(model, batch):
        nonlocal step
        step += 1
        output = {"loss": MSE(model(batch[0]), batch[1])}
        return output | {"new": 1.0} if step >= at and rank() == BAD else output

    finder = {"training_step": training_step}
    return and_train_on(range_test_in(criterion=None, finder=finder, num_iter=10))


@pytest.mark.parametrize("at", [1, 4, 9])
def test_a_metric_that_is_new_on_one_rank_only_ends_the_sweep_of_all(at, expected):
    for number, (ended, kept, took, _, after) in enumerate(run(a_new_metric_on_one_rank, 3, at)):
        assert ended.kind is InvalidInputError
        assert "the same new metrics in a step, but rank 0 has none and rank 1 has new" in str(
            ended.message
        )
        assert kept
        assert took < 10
        assert same(after, expected[number])


def skipped_steps(synchronised):
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    model = in_parallel(network()) if synchronised else network()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)

    def infinite_gradient(outputs, targets):
        loss = MSE(outputs, targets)
        outputs.register_hook(lambda gradient: gradient * float("inf"))
        return loss

    criterion, calls = Failing(MSE, infinite_gradient, at=4), []

    def counted(outputs, targets):
        calls.append(1)
        return criterion(outputs, targets)

    try:
        result = LRFinder(model, optimizer, counted, scaler=scaler).range_test(
            Shard(), num_iter=8, progress=False
        )
    except SweepError as error:
        return str(error), len(calls)
    return len(result), len(calls)


def test_a_step_that_the_scaler_skips_on_one_rank_is_skipped_on_all():
    # The infinite gradient of one rank is averaged into that of all: eight rates, nine updates.
    assert run(skipped_steps, 2, True) == [(8, 9), (8, 9)]


def test_ranks_whose_scalers_disagree_are_told_that_their_gradients_are_not_averaged():
    for message, _ in run(skipped_steps, 2, False):
        assert "skipped a step on 1 of 2 ranks" in message


def one_scaled_loss_is_not_a_number():
    criterion = Failing(MSE, lambda *batch: MSE(*batch) * float("nan"), at=5)
    scaler = torch.amp.GradScaler("cpu", init_scale=2.0)
    return range_test_in(criterion=criterion, finder={"scaler": scaler})[:4]


def test_a_scaler_that_skips_the_step_of_a_loss_that_is_not_a_number_does_not_hide_its_rank():
    # All skip, as the gradients of all are NaN, but only rank 1 knows that no scale would help.
    for number, (result, kept, _, told) in enumerate(run(one_scaled_loss_is_not_a_number, 2)):
        assert kept
        assert (result.stop_reason, len(result)) == (StopReason.NON_FINITE, 5)
        assert ["NaN on rank 1 of 2" in message for message in told] == [True] * (number == 0)

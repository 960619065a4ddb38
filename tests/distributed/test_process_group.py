"""A range test on several processes is the range test of one, and all of them know it."""

import math
import random
import sys
import warnings
from io import StringIO

import numpy as np
import pytest
import torch
import torch.distributed as dist
from torch import nn
from torch.utils.data import DataLoader, DistributedSampler, TensorDataset

from lrfinder import LRFinder, StopReason
from tests.distributed.helpers import (
    Shard,
    everything,
    in_parallel,
    network,
    rank,
    run,
    same,
    size,
    train,
    trained,
)

MSE = nn.MSELoss()


def finder(optimizer=torch.optim.SGD, **options):
    model = in_parallel(network())
    return LRFinder(model, optimizer(model.parameters(), lr=0.1), MSE, **options)


def sweep(loader=None, num_iter=12, **options):
    return finder().range_test(
        Shard() if loader is None else loader, num_iter=num_iter, progress=False, **options
    )


def curve_and_suggestion():
    result = sweep(num_iter=50, start_lr=1e-5, end_lr=30.0, diverge_th=3.0)
    return result, result.suggest(), result.suggest("minimum")


@pytest.fixture(scope="module")
def answers():
    return {processes: run(curve_and_suggestion, processes) for processes in (1, 2, 4)}


@pytest.mark.parametrize("processes", [2, 4])
def test_the_same_global_batches_give_the_same_curve_on_any_number_of_processes(answers, processes):
    alone, advice, _ = answers[1][0]
    joint, joint_advice, _ = answers[processes][0]
    assert alone.stop_reason is joint.stop_reason is StopReason.DIVERGED
    assert len(alone) == len(joint)
    assert alone.batch_size == joint.batch_size == 32
    sane = [step for step, loss in enumerate(alone.loss) if loss < 2 * alone.loss[0]]
    assert len(sane) > 30
    np.testing.assert_allclose(np.take(joint.loss, sane), np.take(alone.loss, sane), rtol=1e-4)
    assert joint_advice.lr == pytest.approx(advice.lr, rel=1e-3)


@pytest.mark.parametrize("processes", [2, 4])
def test_every_process_has_the_same_result_and_suggestions_to_the_last_bit(answers, processes):
    first, *others = answers[processes]
    assert others == [first] * (processes - 1)  # frozen values, compared number by number


SHARES = [5, 11, 16]


def first_loss_with_uneven_shares():
    loader = Shard(shares=SHARES)
    result = sweep(loader, num_iter=2, val_loader=loader, val_batches=2)
    return result.loss[0], result.val_loss[0], result.batch_size


def test_the_recorded_loss_is_the_mean_over_ranks_weighted_by_their_batch_sizes():
    # The first loss is computed before any update: that of the whole batch, on one process. The
    # first validation loss comes after an update at lr=1e-7, which changes nothing to speak of.
    inputs, targets = Shard(shares=[32]).whole(0)
    expected = MSE(network()(inputs), targets).item()
    both = [Shard(shares=[32]).whole(step) for step in (0, 1)]
    validation = np.mean([MSE(network()(x), y).item() for x, y in both])
    for loss, val_loss, batch_size in run(first_loss_with_uneven_shares, 3):
        assert loss == pytest.approx(expected, rel=1e-6)
        assert val_loss == pytest.approx(validation, rel=1e-4)
        assert batch_size == sum(SHARES)


def recorded_metrics():
    def step(model, batch):
        inputs, targets = batch
        loss = MSE(model(inputs), targets)
        return {"loss": loss, "rank": float(rank()), "twice": 2 * loss.detach()}

    model = in_parallel(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    return LRFinder(model, optimizer, training_step=step).range_test(
        Shard(shares=[8, 24]), num_iter=5, progress=False
    )


def test_metrics_are_means_over_ranks_too():
    for result in run(recorded_metrics, 2):
        assert result.metrics["rank"] == (24 / 32,) * 5
        np.testing.assert_allclose(result.metrics["twice"], 2 * np.array(result.loss))


def accumulated_in_two_ways():
    model = in_parallel(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    calls = 0

    def update_step(model, batch):
        nonlocal calls
        calls += 1
        loss = MSE(model(batch[0]), batch[1])
        (loss / 3).backward()
        if calls % 3 == 0:
            optimizer.step()
            optimizer.zero_grad()
        return loss

    own = LRFinder(model, optimizer, update_step=update_step)
    usual = LRFinder(model, optimizer, MSE)
    settings = {"start_lr": 1e-3, "end_lr": 0.1, "num_iter": 6, "progress": False}
    return (
        own.range_test(Shard(), **settings).loss,
        usual.range_test(Shard(), accumulation_steps=3, **settings).loss,
    )


def test_an_update_step_may_accumulate_on_several_processes():
    for own, usual in run(accumulated_in_two_ways, 2):
        assert len(own) == 6
        np.testing.assert_allclose(own, usual, rtol=1e-5)


def metrics_that_appear_later(val_every):
    step = -1

    def training_step(model, batch):
        nonlocal step
        step += model.training
        output = {"loss": MSE(model(batch[0]), batch[1])}
        if step % 3 == 2:
            output["third"] = step + rank()
        if step >= 3:
            output["from the fourth"] = torch.tensor(float(rank()))
        if step == 8:
            output["at the end"] = 1.0
        return output

    model = in_parallel(network())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    loader = Shard(shares=[8, 24])
    return LRFinder(model, optimizer, training_step=training_step).range_test(
        loader, loader, val_every=val_every, end_lr=1e-3, num_iter=9, progress=False
    )


@pytest.mark.parametrize("val_every", [1, 2])
def test_metrics_that_first_appear_in_later_steps_are_means_over_ranks_too(val_every):
    nan, share = np.nan, 24 / 32
    third = [nan, nan, 2 + share, nan, nan, 5 + share, nan, nan, 8 + share]
    results = run(metrics_that_appear_later, 2, val_every)
    for result in results:
        assert result.metrics["third"] == pytest.approx(third, nan_ok=True)
        later = [nan] * 3 + [share] * 6
        assert result.metrics["from the fourth"] == pytest.approx(later, nan_ok=True)
        assert result.metrics["at the end"] == pytest.approx([nan] * 8 + [1.0], nan_ok=True)
        assert result.val_steps == tuple(range(0, 9, val_every))
        assert (result.loss, result.val_loss) == (results[0].loss, results[0].val_loss)
        np.testing.assert_allclose(result.val_loss, result.val_loss[0], rtol=0.1)


def stopped_by_one_rank():
    def stop(lr, loss, step):
        return step == 4

    return sweep(num_iter=30, on_step=stop if rank() == 1 else None)


def test_the_callback_of_one_rank_ends_the_sweep_of_all_after_the_same_step():
    results = run(stopped_by_one_rank, 3)
    assert results[0].stop_reason is StopReason.CALLBACK
    assert 5 <= len(results[0]) <= 8  # it is heard two steps later
    assert results == [results[0]] * 3


def stopped_by_one_rank_from_an_open_start():
    return sweep(start_lr=None, on_step=(lambda _, __, step: step == 4) if rank() == 1 else None)


def test_from_an_open_start_the_callback_of_one_rank_ends_the_sweep_of_all():
    results = run(stopped_by_one_rank_from_an_open_start, 2)
    assert results[0].stop_reason is StopReason.CALLBACK
    assert 5 <= len(results[0]) <= 8
    assert results == [results[0]] * 2


def noisy_on_one_rank():
    seen = []

    def criterion(outputs, targets):
        seen.append(1)
        return MSE(outputs, targets) * (1000.0 if rank() == 1 and len(seen) > 20 else 1.0)

    model = in_parallel(network())
    test = LRFinder(model, torch.optim.SGD(model.parameters(), lr=0.1), criterion)
    result = test.range_test(Shard(), num_iter=60, end_lr=1e-3, smooth_f=0.5, progress=False)
    return result, len(seen)


def test_a_loss_that_rises_on_one_rank_ends_the_sweep_of_all_after_the_same_step():
    (first, seen), *others = run(noisy_on_one_rank, 2)
    assert first.stop_reason is StopReason.DIVERGED
    assert 20 < len(first) < 40
    assert seen == len(first) + 1  # one update more, while the last loss was under way
    assert others == [(first, seen)]


def state_around_a_test(loader=None, **options):
    model = in_parallel(network())
    optimizer = trained(model)
    torch.manual_seed(rank())
    random.seed(rank())
    before = everything(model, optimizer)
    LRFinder(model, optimizer, MSE).range_test(
        Shard() if loader is None else loader, num_iter=12, progress=False, **options
    )
    return same(before, everything(model, optimizer)), model, optimizer


def state_and_training_after():
    kept, model, optimizer = state_around_a_test(val_loader=Shard())
    train(model, optimizer)
    untouched = in_parallel(network())
    other = trained(untouched)
    train(untouched, other)
    pairs = zip(model.parameters(), untouched.parameters(), strict=True)
    return kept, all(torch.equal(one, other) for one, other in pairs)


def test_each_rank_is_as_before_and_trains_on_as_if_there_had_been_no_test():
    assert run(state_and_training_after, 2) == [(True, True)] * 2


class Dropping(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.Sequential(
            nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Dropout(0.5), nn.Linear(8, 1)
        )

    def forward(self, inputs):
        return self.layers(inputs)


def state_with_buffers_and_sampler():
    model = in_parallel(Dropping())
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    inputs = torch.randn(64, 6, generator=torch.Generator().manual_seed(1))
    data = TensorDataset(inputs, inputs.sum(1, keepdim=True))
    sampler = DistributedSampler(data, shuffle=True)
    sampler.set_epoch(3)
    loader = DataLoader(data, batch_size=8, sampler=sampler)
    torch.manual_seed(rank())
    before = everything(model, optimizer), list(sampler)
    LRFinder(model, optimizer, MSE).range_test(loader, loader, num_iter=8, progress=False)
    return same(before, (everything(model, optimizer), list(sampler)))


def test_batch_norm_dropout_and_a_distributed_sampler_are_as_before():
    assert run(state_with_buffers_and_sampler, 2) == [True, True]


def reductions_of_gradients():
    reductions = []

    def counting(state, bucket):
        reductions.append(1)
        work = dist.all_reduce(bucket.buffer().div_(size()), async_op=True)
        return work.get_future().then(lambda future: future.value()[0])

    model = in_parallel(network())
    model.register_comm_hook(None, counting)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    shard = Shard(steps=12, samples=8)
    result = LRFinder(model, optimizer, MSE).range_test(
        shard, num_iter=6, accumulation_steps=4, start_lr=1e-3, end_lr=1e-1, progress=False
    )
    return result, len(reductions)


def whole_batches():
    inputs = [torch.cat([Shard(12, 8).whole(4 * i + k)[0] for k in range(4)]) for i in range(3)]
    return sweep(
        [(x, x.sum(1, keepdim=True)) for x in inputs], num_iter=6, start_lr=1e-3, end_lr=1e-1
    )


def test_accumulation_reduces_gradients_once_per_update_and_gives_the_curve_of_whole_batches():
    (whole,) = run(whole_batches, 1)
    for result, reductions in run(reductions_of_gradients, 2):
        assert reductions == 6
        assert result.batch_size == 32
        np.testing.assert_allclose(result.loss, whole.loss, rtol=1e-5)


class Doubled(Shard):
    def __iter__(self):
        return ((inputs.double(), targets.double()) for inputs, targets in super().__iter__())


def line_search():
    # In double precision: a line search branches on comparisons, which rounding can turn.
    model = in_parallel(network().double())
    optimizer = torch.optim.LBFGS(
        model.parameters(), lr=0.1, max_iter=4, line_search_fn="strong_wolfe"
    )
    return LRFinder(model, optimizer, MSE).range_test(
        Doubled(steps=2), num_iter=6, start_lr=1e-3, end_lr=1.0, progress=False
    )


def test_a_line_search_takes_the_same_way_on_every_rank():
    (alone,) = run(line_search, 1)
    first, second = run(line_search, 2)
    assert first == second
    np.testing.assert_allclose(first.loss, alone.loss, rtol=1e-9)


def what_is_shown(folder):
    sys.stderr = StringIO()
    result = finder().range_test(iter(Shard(steps=5 if rank() else 6)), num_iter=20, progress=True)
    shown = sys.stderr.getvalue()
    result.save(folder / f"of-rank-{rank()}.json")
    result.to_csv(folder / f"of-rank-{rank()}.csv")
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        torch_optimizer = finder().optimizer
        _apply_to_other_batch_size(result, torch_optimizer)
        other = network()
        sweep(on_step=lambda *_: other.zero_grad())
    return "range test" in shown, "LRFinderWarning" in shown, [str(w.message) for w in warned]


def _apply_to_other_batch_size(result, optimizer):
    from lrfinder.suggestion import Suggestion

    advice = Suggestion(0.1, "rule", "why", 0.01, 1.0, (0.1,), batch_size=result.batch_size)
    advice.apply(optimizer, batch_size=2 * result.batch_size)


def test_rank_0_alone_shows_progress_warns_and_writes(tmp_path):
    (bar, warning, warned), *others = run(what_is_shown, 3, tmp_path)
    assert (bar, warning) == (True, True)
    of_batch_size, of_state = warned
    assert "samples" in of_batch_size
    assert "on_step uses other (Sequential), which the range test does not restore" in of_state
    assert others == [(False, False, [])] * 2
    assert {path.name for path in tmp_path.iterdir()} == {"of-rank-0.json", "of-rank-0.csv"}


def repeated_sweeps_and_trials():
    torch.manual_seed(5 + rank())
    repeated = sweep(num_iter=20, start_lr=1e-4, end_lr=3.0, repeats=2)
    settings = {"budget": 120, "start_lr": 1e-4, "end_lr": 3.0, "progress": False}
    found = finder().recommend(Shard(), **settings)
    unequal = list(Shard())[: 1 + rank()]  # not every rank has as many batches for validation
    validated = finder().recommend(Shard(), unequal, **settings)
    trials = [(trial.losses, trial.val_losses) for trial in (*found.trials, *validated.trials)]
    return repeated, found.lr, found.interval, validated.lr, trials


def test_repeated_sweeps_and_trials_are_the_same_on_every_rank():
    first, second = run(repeated_sweeps_and_trials, 2)
    assert first == second
    assert len(first[0].repeats) == 2
    assert math.isfinite(first[1])
    losses, val_losses = first[-1][-1]
    assert len(val_losses) == (len(losses) + 1) // 2

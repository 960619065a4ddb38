"""Mixed precision: autocast around the forward, and a scaler whose skipped steps do not count."""

import copy
import itertools
import math

import pytest
import torch
from torch import nn
from torch.amp import GradScaler

from lrfinder import InvalidInputError, LRFinder, NoSuggestionError, StopReason
from lrfinder._sweep.grid import learning_rate_grid


def test_a_function_that_returns_no_context_is_refused(model, optimizer, batches):
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss(), autocast=lambda: None)
    with pytest.raises(InvalidInputError, match="autocast must return a context, got a NoneType"):
        finder.range_test(batches, progress=False)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_autocast_sweeps_as_a_loop_written_by_hand(model, optimizer, batches, dtype):
    twin = copy.deepcopy(model)
    twins = torch.optim.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    expected = []
    for lr, (pixels, labels) in zip(learning_rate_grid(1e-4, 0.1, 10), batches, strict=True):
        twins.param_groups[0]["lr"] = lr
        twins.zero_grad()
        with torch.autocast("cpu", dtype):
            loss = nn.functional.cross_entropy(twin(pixels), labels)
        loss.backward()
        twins.step()
        expected.append(loss.item())

    finder = LRFinder(
        model, optimizer, nn.CrossEntropyLoss(), autocast=torch.autocast("cpu", dtype)
    )
    result = finder.range_test(batches, start_lr=1e-4, end_lr=0.1, num_iter=10, progress=False)
    assert list(result.loss) == expected
    full = LRFinder(model, optimizer, nn.CrossEntropyLoss()).range_test(
        batches, start_lr=1e-4, end_lr=0.1, num_iter=10, progress=False
    )
    assert result.loss != full.loss


def test_a_scaler_by_powers_of_two_changes_no_loss(model, optimizer, batches):
    settings = {"end_lr": 0.1, "num_iter": 30, "progress": False}
    plain = LRFinder(model, optimizer, nn.CrossEntropyLoss(), clip_grad=0.5)
    scaled = LRFinder(
        model, optimizer, nn.CrossEntropyLoss(), clip_grad=0.5, scaler=GradScaler("cpu")
    )
    assert scaled.range_test(batches, **settings).loss == plain.range_test(batches, **settings).loss


def overflow_at(model, attempts):
    """Make the gradient infinite at the given attempts, counted from 0."""
    count = itertools.count()
    model[0].weight.register_hook(lambda grad: grad * math.inf if next(count) in attempts else grad)


def test_a_skipped_step_is_neither_recorded_nor_does_it_advance_the_rate(model, optimizer, batches):
    overflow_at(model, {0, 3, 4, 9})
    used = []
    optimizer.register_step_pre_hook(lambda opt, *_: used.append(opt.param_groups[0]["lr"]))
    seen = []
    scaler = GradScaler("cpu", init_scale=256.0)
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss(), scaler=scaler)
    result = finder.range_test(
        (seen.append(batch) or batch for batch in itertools.cycle(batches)),
        end_lr=0.1,
        num_iter=12,
        progress=False,
    )
    assert result.stop_reason is StopReason.COMPLETED
    assert list(result.lr) == used == learning_rate_grid(1e-7, 0.1, 12).tolist()
    assert all(map(math.isfinite, result.loss))
    assert len(seen) == 12 + 4, "a skipped step has used its batch up"
    assert scaler.get_scale() == 256.0


def test_a_sweep_in_which_every_step_is_skipped_ends_with_a_reason(model, optimizer, batches):
    overflow_at(model, range(10**6))
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss(), scaler=GradScaler("cpu"))
    result = finder.range_test(batches, progress=False)
    assert result.stop_reason is StopReason.ALL_SKIPPED
    assert len(result) == 0
    reason = r"^the optimizer skipped 64 steps in a row at the first .*; check for inf or NaN"
    for ask in (finder.suggest, lambda: result.lrs_at(0.1), lambda: finder.recommend(batches)):
        with pytest.raises(NoSuggestionError, match=reason):
            ask()


def test_a_sweep_that_skips_from_some_step_on_keeps_what_it_has(model, optimizer, batches):
    overflow_at(model, range(7, 10**6))
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss(), scaler=GradScaler("cpu"))
    result = finder.range_test(batches, end_lr=0.1, progress=False)
    assert result.stop_reason is StopReason.ALL_SKIPPED
    assert len(result) == 7


def test_a_loss_that_is_nan_is_no_skipped_step(model, optimizer, batches):
    """The scaler skips it as well, but no scale would ever make it finite."""
    calls = itertools.count()

    def criterion(outputs, labels):
        loss = nn.functional.cross_entropy(outputs, labels)
        return loss * math.nan if next(calls) == 5 else loss

    result = LRFinder(model, optimizer, criterion, scaler=GradScaler("cpu")).range_test(
        batches, end_lr=0.1, progress=False
    )
    assert result.stop_reason is StopReason.NON_FINITE
    assert len(result) == 6


def test_half_precision_with_its_scaler_names_about_the_rate_of_full_precision(
    model, optimizer, batches
):
    full = LRFinder(model, optimizer, nn.CrossEntropyLoss())
    full.range_test(batches, progress=False)
    half = LRFinder(
        model,
        optimizer,
        nn.CrossEntropyLoss(),
        autocast=torch.autocast("cpu", torch.float16),
        scaler=GradScaler("cpu"),
    )
    half.range_test(batches, progress=False)
    assert half.suggest().lr == pytest.approx(full.suggest().lr, rel=0.5)


def test_a_scaler_that_is_turned_off_changes_nothing(model, optimizer, batches):
    settings = {"end_lr": 0.1, "num_iter": 20, "progress": False}
    plain = LRFinder(model, optimizer, nn.CrossEntropyLoss())
    off = LRFinder(model, optimizer, nn.CrossEntropyLoss(), scaler=GradScaler("cpu", enabled=False))
    assert off.range_test(batches, **settings).loss == plain.range_test(batches, **settings).loss

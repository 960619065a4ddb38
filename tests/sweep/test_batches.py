"""Any iterable of batches: started again when it ends, or a reason to stop."""

import multiprocessing

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, IterableDataset, get_worker_info

from lrfinder import LRFinder, StopReason


@pytest.fixture
def finder(model, optimizer):
    return LRFinder(model, optimizer, nn.CrossEntropyLoss())


@pytest.fixture
def workers():
    others = multiprocessing.active_children()  # torch 2.3 keeps those that once compiled
    return lambda: [each for each in multiprocessing.active_children() if each not in others]


def quiet(finder, *loaders, end_lr=1.0, **settings):
    return finder.range_test(*loaders, end_lr=end_lr, progress=False, **settings)


def test_a_list_is_started_again_when_it_ends(finder, batches):
    result = quiet(finder, batches[:3], num_iter=20)
    assert result.stop_reason is StopReason.COMPLETED
    assert len(result) == 20


def test_a_generator_that_ends_is_a_reason_to_stop(finder, batches):
    result = quiet(finder, (batch for batch in batches), num_iter=100)
    assert result.stop_reason is StopReason.OUT_OF_DATA
    assert len(result) == len(batches)
    assert result.stop_reason.sentence == "The loader ended and cannot be started again."


def test_a_generator_that_ends_within_an_accumulation_records_whole_updates(finder, batches):
    result = quiet(finder, iter(batches), num_iter=100, accumulation_steps=4)
    assert result.stop_reason is StopReason.OUT_OF_DATA
    assert len(result) == 2, "ten batches are two updates of four"


def test_a_generator_is_not_read_further_than_needed(finder, batches):
    loader = iter(batches)
    quiet(finder, loader, num_iter=3)
    assert len(list(loader)) == len(batches) - 3


class Stream(IterableDataset):
    """Each worker reads its own part of the digits."""

    def __init__(self, digits):
        self.digits = digits

    def __iter__(self):
        info = get_worker_info()
        for index in range(info.id, len(self.digits), info.num_workers):
            yield self.digits[index]


@pytest.mark.parametrize("persistent_workers", [False, True])
def test_an_iterable_dataset_with_two_workers(finder, digits, workers, persistent_workers):
    loader = DataLoader(
        Stream(digits), batch_size=256, num_workers=2, persistent_workers=persistent_workers
    )
    result = quiet(finder, loader, num_iter=12)  # an epoch has eight batches
    assert len(result) == 12
    assert workers() == []


@pytest.mark.parametrize("persistent_workers", [False, True])
def test_a_failing_callback_leaves_no_worker_behind(finder, digits, workers, persistent_workers):
    loader = DataLoader(digits, batch_size=64, num_workers=2, persistent_workers=persistent_workers)
    with pytest.raises(ZeroDivisionError):
        quiet(finder, loader, on_step=lambda lr, loss, step: 1 / 0)
    assert workers() == []


def test_a_cached_batch_is_repeated(finder, batches):
    result = quiet(finder, iter(batches), num_iter=100, cached_batches=2)
    alone = quiet(finder, batches[:2], num_iter=100)
    assert result.loss == alone.loss, "two batches of a generator last for ever"


def test_a_sweep_over_one_cached_batch_has_no_noise(finder, digits):
    """Gradient descent on one batch at a small rate falls at every step; on many it does not."""
    loader = DataLoader(digits, batch_size=16, shuffle=True)
    settings = {"start_lr": 1e-4, "end_lr": 1e-2, "num_iter": 30}
    noisy = torch.tensor(quiet(finder, loader, **settings).loss).diff()
    noiseless = torch.tensor(quiet(finder, loader, cached_batches=1, **settings).loss).diff()
    assert (noisy > 0).any()
    assert (noiseless < 0).all()

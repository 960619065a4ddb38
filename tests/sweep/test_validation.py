"""Validation: a fixed subset, in eval mode, without a trace on the training."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Subset

from lrfinder import LRFinder

SETTINGS = {"start_lr": 1e-4, "end_lr": 1.0, "num_iter": 40, "progress": False}


@pytest.fixture
def model():
    return nn.Sequential(
        nn.Linear(64, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.2), nn.Linear(32, 10)
    )


@pytest.fixture
def train_loader(digits):
    return DataLoader(Subset(digits, range(1497)), batch_size=64, shuffle=True)


@pytest.fixture
def val_loader(digits):
    return DataLoader(Subset(digits, range(1497, 1797)), batch_size=50, shuffle=True)


@pytest.fixture
def finder(model, optimizer):
    return LRFinder(model, optimizer, nn.CrossEntropyLoss())


def test_the_training_curve_is_the_same_with_and_without_validation(
    finder, model, train_loader, val_loader
):
    alone = finder.range_test(train_loader, **SETTINGS)
    for settings in ({}, {"val_batches": 3}, {"val_every": 4}):
        beside = finder.range_test(train_loader, val_loader, **SETTINGS, **settings)
        assert beside.loss == alone.loss
    assert all(module.training for module in model.modules())


def test_a_generator_that_both_loaders_share_gives_the_same_batches_as_without_validation(
    finder, digits
):
    shared = torch.Generator().manual_seed(3)
    train, val = (DataLoader(digits, 64, shuffle=True, generator=shared) for _ in range(2))
    alone = finder.range_test(train, **SETTINGS)
    assert finder.range_test(train, val, **SETTINGS).loss == alone.loss


def test_it_runs_in_eval_mode_without_gradients(finder, model, train_loader, val_loader):
    modes = []
    model.register_forward_pre_hook(
        lambda *_: modes.append((model.training, torch.is_grad_enabled()))
    )
    finder.range_test(train_loader, val_loader, **SETTINGS)
    assert modes == [(True, True), (False, False)] * 40


def test_parts_that_are_in_eval_mode_on_purpose_stay_so(finder, model, train_loader, val_loader):
    model.train()
    model[1].eval()
    modes = []

    def on_step(*_):
        modes.append([module.training for module in model])

    finder.range_test(train_loader, val_loader, on_step=on_step, **SETTINGS)
    assert all(mode == [True, False, True, True, True] for mode in modes)


class Merging(nn.Linear):
    """Folds a factor into its weight for evaluation, and takes it out again in `train()`."""

    merged = False

    def train(self, mode=True):
        if mode == self.merged:
            self.weight.data.mul_(0.5 if mode else 2.0)
            self.merged = not mode
        return super().train(mode)


def test_modules_that_change_their_weights_for_evaluation_are_called_back(
    optimizer, train_loader, val_loader
):
    model = nn.Sequential(Merging(64, 10))
    finder = LRFinder(model, torch.optim.SGD(model.parameters(), lr=0.1), nn.CrossEntropyLoss())
    alone = finder.range_test(train_loader, **SETTINGS)
    assert finder.range_test(train_loader, val_loader, **SETTINGS).loss == alone.loss


def test_the_loss_is_the_mean_over_the_samples_of_the_chosen_batches(digits):
    model = nn.Linear(64, 10)
    pixels, labels = digits.tensors
    parts = zip(pixels[:100].split([10, 30, 60]), labels[:100].split([10, 30, 60]), strict=True)
    finder = LRFinder(model, torch.optim.SGD(model.parameters(), lr=1.0), nn.CrossEntropyLoss())
    result = finder.range_test(
        [(pixels, labels)], parts, val_batches=2, start_lr=1e-30, num_iter=2, progress=False
    )
    expected = nn.functional.cross_entropy(model(pixels[:40]), labels[:40]).item()
    assert result.val_loss[0] == pytest.approx(expected, rel=1e-6)


def test_by_default_the_subset_is_as_large_as_a_training_batch(digits, optimizer, model):
    sizes = []

    def criterion(outputs, labels):
        sizes.append(len(labels))
        return nn.functional.cross_entropy(outputs, labels)

    finder = LRFinder(model, optimizer, criterion)
    train, val = DataLoader(digits, batch_size=48), DataLoader(digits, batch_size=1000)
    finder.range_test(train, val, num_iter=2, progress=False)
    assert sizes == [48, 48, 48, 48]
    sizes.clear()
    finder.range_test(train, val, num_iter=2, val_batches=1, progress=False)
    assert sizes == [48, 1000, 48, 1000]


def test_the_subset_is_fixed_and_read_once(finder, train_loader, digits):
    reads = []
    loader = (reads.append(start) or digits[start : start + 64] for start in range(0, 1797, 64))
    finder.range_test(train_loader, loader, val_batches=3, **SETTINGS)
    assert len(reads) == 3


def test_the_rule_runs_on_the_curve_that_the_user_chose(finder, train_loader, val_loader):
    result = finder.range_test(
        train_loader, val_loader, val_batches=6, start_lr=1e-5, end_lr=10, progress=False
    )
    assert result.curve().loss.tolist() == list(result.val_loss)
    assert result.curve("loss").loss.tolist() == list(result.loss)
    of_training, of_validation = (finder.suggest(on=name).lr for name in ("loss", "val_loss"))
    assert finder.suggest().lr == of_validation != of_training
    assert all(1e-4 < lr < 10 for lr in (of_training, of_validation))


def test_val_every_is_how_often_the_validation_runs(finder, train_loader, val_loader):
    result = finder.range_test(train_loader, val_loader, val_every=7, **SETTINGS)
    assert result.val_steps == (0, 7, 14, 21, 28, 35)
    assert len(result.val_loss) == 6
    assert len(result.loss) == 40


def test_validation_uses_autocast_as_training_does(model, optimizer, train_loader, val_loader):
    dtypes = set()

    def criterion(outputs, labels):
        dtypes.add(outputs.dtype)
        return nn.functional.cross_entropy(outputs, labels)

    LRFinder(
        model, optimizer, criterion, autocast=torch.autocast("cpu", torch.bfloat16)
    ).range_test(train_loader, val_loader, **SETTINGS)
    assert dtypes == {torch.bfloat16}


def test_a_validation_generator_is_taken_too(finder, train_loader, digits):
    result = finder.range_test(train_loader, (digits[:50] for _ in range(3)), **SETTINGS)
    assert len(result.val_loss) == 40
    assert np.isfinite(result.val_loss).all()


@pytest.mark.parametrize("kind", ["AdamWScheduleFree", "SGDScheduleFree", "RAdamScheduleFree"])
def test_schedule_free_optimizers_are_in_eval_mode_without_a_trace(digits, kind):
    """They are evaluated at the mean of their iterates: p + (1 - 1 / beta) (z - p)."""
    schedulefree = pytest.importorskip("schedulefree")
    model = nn.Linear(64, 10)
    optimizer = getattr(schedulefree, kind)(model.parameters(), lr=0.1)
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss())
    loader = DataLoader(digits, batch_size=64)
    pixels, labels = digits[:64]
    alone = finder.range_test(loader, **SETTINGS)

    losses, beta = [], 0.9

    def on_step(*_):
        assert optimizer.param_groups[0]["train_mode"]
        averages = [
            p.lerp(optimizer.state[p]["z"], 1 - 1 / beta) if optimizer.state[p] else p
            for p in model.parameters()
        ]
        with torch.no_grad():
            outputs = nn.functional.linear(pixels, *averages)
        losses.append(nn.functional.cross_entropy(outputs, labels).item())

    result = finder.range_test(loader, [(pixels, labels)], on_step=on_step, **SETTINGS)
    assert result.loss == alone.loss
    np.testing.assert_allclose(result.val_loss, losses, rtol=1e-5)
    assert not optimizer.param_groups[0]["train_mode"]

"""The range test with skorch's own NeuralNet."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("skorch")

from skorch import NeuralNetRegressor
from skorch.callbacks import GradientNormClipping

from lrfinder import LRFinder
from lrfinder.integrations.skorch import range_test

SWEEP = {"num_iter": 60, "progress": False}
SMOOTH = {"num_iter": 100, "progress": False, "cached_batches": 1}  # a curve that names a rate
X = np.random.default_rng(0).normal(size=(128, 4)).astype("float32")
Y = X.sum(1, keepdims=True)


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Dropout(0.1), nn.Linear(8, 1))

    def forward(self, inputs):
        return self.layers(inputs)


def net(**options):
    options = {"lr": 0.01, "max_epochs": 2, "batch_size": 32, "verbose": 0, **options}
    return NeuralNetRegressor(
        Net,
        optimizer=torch.optim.SGD,
        optimizer__momentum=0.9,
        iterator_train__shuffle=True,
        **options,
    )


def weights(fitted):
    return [value.clone() for value in fitted.module_.state_dict().values()]


def assert_same(one, other):
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


@pytest.mark.parametrize("fitted_before", [False, True])
def test_training_afterwards_equals_training_without(fitted_before):
    plain, probed = net(), net()
    for one in (plain, probed):
        torch.manual_seed(3)
        if fitted_before:
            one.fit(X, Y)
        if one is probed:
            range_test(one, X, Y, **SWEEP)
        one.partial_fit(X, Y)
    assert_same(weights(plain), weights(probed))
    assert plain.history[:, "train_loss"] == probed.history[:, "train_loss"]


def test_a_net_that_is_not_initialized_stays_so():
    untouched = net()
    range_test(untouched, X, Y, **SWEEP)
    assert not untouched.initialized_


def test_the_curve_is_that_of_a_plain_loop_with_the_nets_clipping():
    ours = net(train_split=None, callbacks=[GradientNormClipping(0.5)]).initialize()
    torch.manual_seed(5)
    result = range_test(ours, X, Y, **SWEEP)
    torch.manual_seed(5)
    loader = torch.utils.data.DataLoader(
        torch.utils.data.TensorDataset(torch.tensor(X), torch.tensor(Y)), 32, shuffle=True
    )
    finder = LRFinder(ours.module_, ours.optimizer_, nn.MSELoss(), clip_grad=0.5)
    assert finder.range_test(loader, **SWEEP).loss == pytest.approx(result.loss, rel=1e-5)


def test_the_validation_loss_is_that_of_the_net():
    plain, probed = net().initialize(), net().initialize()
    probed.module_.load_state_dict(plain.module_.state_dict())
    _, held = probed.get_split_datasets(X, Y)
    batches = probed.get_iterator(held, training=False)
    result = range_test(probed, X, Y, val_loader=batches, start_lr=1e-9, **SWEEP)
    inputs, targets = next(iter(batches))
    assert probed.criterion_.training
    expected = nn.functional.mse_loss(probed.module_.eval()(inputs), targets).item()
    assert result.val_loss[0] == pytest.approx(expected, rel=1e-5)
    for one in (plain, probed):
        torch.manual_seed(3)
        one.partial_fit(X, Y)
    assert_same(weights(plain), weights(probed))


@pytest.mark.parametrize("initialized", [False, True])
def test_set_lr_is_what_the_net_trains_with(initialized):
    target = net()
    if initialized:
        target.initialize()
    result = range_test(target, X, Y, set_lr=True, **SMOOTH)
    lr = result.suggest().lr
    assert target.lr == pytest.approx(lr)
    target.partial_fit(X, Y)
    assert target.optimizer_.param_groups[0]["lr"] == pytest.approx(lr)


def test_the_ratio_of_the_groups_survives_set_lr():
    target = net(optimizer__param_groups=[("layers.0.*", {"lr": 0.1})]).initialize()
    result = range_test(target, X, Y, set_lr=True, **SMOOTH)
    assert target.lr == pytest.approx(result.suggest().lr / 10)

"""The range test with skorch's own NeuralNet."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn

pytest.importorskip("skorch")

from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from skorch import NeuralNetRegressor
from skorch.callbacks import GradientNormClipping, LRScheduler
from torch.optim.lr_scheduler import LambdaLR, StepLR

from lrfinder import InvalidInputError, LRFinder, LRFinderWarning
from lrfinder.integrations.skorch import range_test, recommend
from tests.integrations.helpers import assert_same

SWEEP = {"num_iter": 60, "progress": False}
SMOOTH = {"num_iter": 100, "progress": False, "cached_batches": 1}  # a curve that names a rate
# The whole fall is in a few steps.
COARSE = {"start_lr": 3e-3, "end_lr": 0.1, **SMOOTH, "num_iter": 10}
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


class WithCritic(NeuralNetRegressor):
    """A second network with an optimizer of its own, and attributes that each step changes."""

    def initialize_module(self):
        super().initialize_module()
        self.critic_ = nn.Linear(1, 1)
        self.steps_ = []
        return self

    def initialize_optimizer(self, *arguments, **keywords):
        super().initialize_optimizer(*arguments, **keywords)
        self.critic_optimizer_ = torch.optim.Adam(self.critic_.parameters(), lr=0.01)
        return self

    def train_step_single(self, batch, **fit_params):
        step = super().train_step_single(batch, **fit_params)
        self.critic_optimizer_.zero_grad()
        loss = nn.functional.mse_loss(self.critic_(step["y_pred"].detach()), batch[1])
        loss.backward()
        self.critic_optimizer_.step()
        self.steps_.append(len(batch))
        self.meter_.add()
        return step


class Meter:
    total = 0

    def add(self):
        self.total += 1


@pytest.mark.parametrize("function", [range_test, recommend])
def test_every_module_optimizer_and_attribute_of_the_net_is_restored(function):
    options = SMOOTH if function is range_test else {"budget": 120, "progress": False}
    nets = [WithCritic(Net, lr=0.01, max_epochs=2, verbose=0) for _ in range(2)]
    for one in nets:
        torch.manual_seed(3)
        one.initialize()
        one.meter_ = Meter()
        if one is nets[1]:
            function(one, X, Y, preserve=[one.meter_], **options)
            assert (one.steps_, one.meter_.total) == ([], 0)
            assert not one.critic_optimizer_.state
        one.partial_fit(X, Y)
    assert_same(weights(nets[0]), weights(nets[1]))
    assert_same(list(nets[0].critic_.parameters()), list(nets[1].critic_.parameters()))


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


GROUPS = [("layers.0.*", {"lr": 0.1})]
HIDDEN = {"optimizer__param_groups": GROUPS}


@pytest.mark.parametrize("train", ["fit", "partial_fit"])
@pytest.mark.parametrize("initialized", [False, True])
@pytest.mark.parametrize("options", [{}, HIDDEN, {"optimizer__lr": 0.05, **HIDDEN}])
def test_set_lr_sets_every_group(train, initialized, options):
    target = net(**options)
    if initialized:
        target.initialize()
    result = range_test(target, X, Y, set_lr=True, **SMOOTH)
    getattr(target, train)(X, Y)
    lrs = [group["lr"] for group in target.optimizer_.param_groups]
    assert lrs == pytest.approx(result.suggest().lrs)
    assert GROUPS == [("layers.0.*", {"lr": 0.1})]


@pytest.mark.parametrize("initialized", [False, True])
@pytest.mark.parametrize(
    "options",
    [{"groups": [1], "start_lr": 1e-10}, {"start_lr": [1e-6, 1e-5], "end_lr": [1.0, 10.0]}],
)
def test_set_lr_refuses_rates_that_one_factor_cannot_express(initialized, options):
    target = net(**HIDDEN)
    if initialized:
        target.initialize()
    with pytest.raises(InvalidInputError, match=r"set_lr.*optimizer__param_groups"):
        range_test(target, X, Y, set_lr=True, **options, **SMOOTH)
    assert (target.lr, target.optimizer__param_groups) == (0.01, GROUPS)
    lrs = [0.03, 0.02]
    target.lr, target.optimizer__param_groups = lrs[1], [("layers.0.*", {"lr": lrs[0]})]
    target.fit(X, Y)  # as the message says
    assert [group["lr"] for group in target.optimizer_.param_groups] == lrs


def test_set_lr_without_a_suggestion_says_so_and_keeps_the_rate():
    target = net()
    with pytest.warns(LRFinderWarning, match="learning rate was not changed"):
        result = range_test(target, X, Y, set_lr=True, start_lr=1e-9, end_lr=1e-8, **SWEEP)
    assert len(result) == SWEEP["num_iter"]
    assert target.lr == 0.01


def test_set_lr_takes_bounds_for_each_group_that_keep_the_ratio():
    target = net(**HIDDEN)
    bounds = {"start_lr": [1e-5, 1e-6], "end_lr": [10.0, 1.0]}
    lrs = range_test(target, X, Y, set_lr=True, **bounds, **SMOOTH).suggest().lrs
    target.fit(X, Y)
    assert [group["lr"] for group in target.optimizer_.param_groups] == pytest.approx(lrs)


def quartered(epoch):
    return 0.25**epoch


@pytest.mark.parametrize(
    "schedule",
    [LRScheduler(StepLR, step_size=1, gamma=0.1), LRScheduler(LambdaLR, lr_lambda=quartered)],
)
def test_set_lr_after_a_schedule_that_has_lowered_the_rate(schedule):
    target = net(callbacks=[schedule]).fit(X, Y)
    assert target.optimizer_.param_groups[0]["lr"] < target.lr
    result = range_test(target, X, Y, set_lr=True, **SMOOTH)
    assert target.lr == pytest.approx(result.suggest().lr)
    target.partial_fit(X, Y)
    assert target.optimizer_.param_groups[0]["initial_lr"] == pytest.approx(target.lr)


def test_set_lr_warns_of_a_low_confidence():
    with pytest.warns(LRFinderWarning, match="low confidence"):
        range_test(net(), X, Y, set_lr=True, **COARSE)


@pytest.mark.parametrize("function", [range_test, recommend])
def test_an_accumulation_of_its_own_is_refused(function):
    with pytest.raises(InvalidInputError, match=r"that of the net's train_step"):
        function(net(), X, Y, accumulation_steps=2)


@pytest.mark.parametrize(
    "wrapped", [GridSearchCV(net(), {"lr": [0.1]}), make_pipeline(net()), X], ids=lambda each: ""
)
@pytest.mark.parametrize("function", [range_test, recommend])
def test_what_only_holds_a_net_is_refused(function, wrapped):
    with pytest.raises(InvalidInputError, match=r"NeuralNet of skorch, got .*best_estimator_"):
        function(wrapped, X, Y)

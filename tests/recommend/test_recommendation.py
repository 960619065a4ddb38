"""The recommended way on real data."""

import copy
import math

import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrfinder import InvalidInputError, LRFinder, NoSuggestionError


def digits(optimizer_class=torch.optim.SGD, seed=0):
    images, labels = load_digits(return_X_y=True)
    data = TensorDataset(torch.tensor(images / 16, dtype=torch.float32), torch.tensor(labels))
    torch.manual_seed(seed)
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    loader = DataLoader(data, 64, shuffle=True)
    return model, optimizer_class(model.parameters(), lr=1e-3), nn.CrossEntropyLoss(), loader


def train(model, optimizer, criterion, loader, lr, steps):
    for group in optimizer.param_groups:
        group["lr"] = lr
    losses = []
    while len(losses) < steps:
        for inputs, targets in loader:
            loss = criterion(model(inputs), targets)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            losses.append(loss.item())
    return sum(losses[-20:]) / 20


@pytest.mark.parametrize(
    "optimizer_class", [torch.optim.SGD, torch.optim.Adam, torch.optim.RMSprop]
)
def test_the_recommended_rate_trains_better_than_ten_times_and_a_tenth_of_it(optimizer_class):
    finder = LRFinder(*digits(optimizer_class)[:3])
    lr = finder.recommend(digits(optimizer_class)[3], progress=False).lr
    at, above, below = (train(*digits(optimizer_class), lr * f, 200) for f in (1, 10, 0.1))
    assert at < above
    assert at < below


def test_a_recommendation_leaves_no_trace_and_the_next_training_is_the_same_bit_for_bit():
    without = digits()
    train(*without, 0.1, 50)
    model, optimizer, criterion, loader = digits()
    before = copy.deepcopy((model.state_dict(), optimizer.state_dict()))
    LRFinder(model, optimizer, criterion).recommend(loader, budget=120, progress=False)
    after = (model.state_dict(), optimizer.state_dict())
    assert all(torch.equal(before[0][key], after[0][key]) for key in before[0])
    assert before[1] == after[1]
    train(model, optimizer, criterion, loader, 0.1, 50)
    assert all(map(torch.equal, model.parameters(), without[0].parameters()))


def test_every_trial_begins_with_the_same_loss_on_the_same_batch():
    model, optimizer, criterion, loader = digits()
    trials = LRFinder(model, optimizer, criterion).recommend(loader, progress=False).trials
    assert len(trials) >= 3
    assert len({trial.losses[0] for trial in trials}) == 1
    assert len({trial.losses[5] for trial in trials}) == len(trials)


@pytest.mark.parametrize("budget", [120, 200, 300])
def test_the_budget_is_kept_and_every_number_behind_the_rate_is_there(budget):
    model, optimizer, criterion, loader = digits()
    found = LRFinder(model, optimizer, criterion).recommend(loader, budget=budget, progress=False)
    assert found.steps <= budget
    low, high = found.interval
    assert low <= found.lr <= high
    assert found.min_lr < found.max_lr
    assert found.lrs == (pytest.approx(found.lr),)


def test_a_longer_training_is_given_a_lower_rate():
    def lr(total_steps):
        model, optimizer, criterion, loader = digits()
        finder = LRFinder(model, optimizer, criterion)
        return finder.recommend(loader, total_steps=total_steps, progress=False).lr

    assert lr(4000) == pytest.approx(lr(1000) / 4**0.4)


def test_adagrad_which_anneals_itself_is_given_the_same_rate_for_any_length():
    def lr(total_steps):
        model, optimizer, criterion, loader = digits(torch.optim.Adagrad)
        finder = LRFinder(model, optimizer, criterion)
        return finder.recommend(loader, total_steps=total_steps, progress=False)

    assert lr(4000).lr == lr(1000).lr == lr(1000).best_trial_lr


def test_parameter_groups_keep_their_ratio_in_the_trials():
    model, _, criterion, loader = digits()
    optimizer = torch.optim.SGD(
        [{"params": model[0].parameters(), "lr": 0.1}, {"params": model[2].parameters(), "lr": 0.5}]
    )
    seen = set()
    optimizer.register_step_pre_hook(
        lambda opt, *_: seen.add(round(opt.param_groups[1]["lr"] / opt.param_groups[0]["lr"], 6))
    )
    found = LRFinder(model, optimizer, criterion).recommend(loader, budget=120, progress=False)
    assert seen == {5.0}
    assert found.lrs == (pytest.approx(found.lr / 5), pytest.approx(found.lr))


def test_a_model_that_cannot_learn_is_refused():
    torch.manual_seed(0)
    noise = TensorDataset(torch.randn(256, 4), torch.randn(256, 1))
    model = nn.Linear(4, 1)
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    finder = LRFinder(model, torch.optim.SGD(model.parameters(), lr=0.1), nn.MSELoss())
    loader = DataLoader(noise, 256)

    def best_is_the_start(x, y):
        return nn.functional.mse_loss(x, torch.zeros_like(y))

    finder.criterion = best_is_the_start
    with pytest.raises(NoSuggestionError):
        finder.recommend(loader, budget=120, progress=False)


@pytest.mark.parametrize(
    "wrong", [{"budget": 119}, {"budget": 1.5}, {"total_steps": 0}, {"start_lr": 0}]
)
def test_what_cannot_work_is_refused_before_the_model_is_called(wrong):
    model, optimizer, criterion, loader = digits()
    model.register_forward_hook(lambda *_: pytest.fail("the model was called"))
    with pytest.raises(InvalidInputError, match="expected"):
        LRFinder(model, optimizer, criterion).recommend(loader, progress=False, **wrong)


def test_the_sweep_is_kept_for_plot_and_suggest():
    model, optimizer, criterion, loader = digits()
    finder = LRFinder(model, optimizer, criterion)
    found = finder.recommend(loader, progress=False)
    assert finder.result is found.result
    assert math.isfinite(finder.suggest().lr)

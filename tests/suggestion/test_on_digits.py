"""What the suggested rate trains to, beside ten times and a tenth of it, on real images."""

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from lrfinder import LRFinder
from tests.recommend.helpers import handwritten_digits

SUGGESTED = [
    torch.optim.SGD,
    torch.optim.Adam,
    torch.optim.AdamW,
    torch.optim.RMSprop,
    torch.optim.Adagrad,
]
# The others are in tests/recommend/test_recommendation.py.
RECOMMENDED = [torch.optim.AdamW, torch.optim.Adagrad]


def task(optimizer_class):
    inputs, targets = handwritten_digits()
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = optimizer_class(model.parameters(), lr=1e-3)
    loader = DataLoader(TensorDataset(inputs[:1400], targets[:1400]), 64, shuffle=True)
    return model, optimizer, loader, (inputs[1400:], targets[1400:])


def validation_loss_after_training(optimizer_class, lr, epochs=4):
    model, optimizer, loader, (inputs, targets) = task(optimizer_class)
    for group in optimizer.param_groups:
        group["lr"] = lr
    for _ in range(epochs):
        for batch, labels in loader:
            loss = nn.functional.cross_entropy(model(batch), labels)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
    with torch.no_grad():
        return nn.functional.cross_entropy(model(inputs), targets).item()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("way", "optimizer_class"),
    [("suggest", each) for each in SUGGESTED] + [("recommend", each) for each in RECOMMENDED],
)
def test_the_rate_trains_better_than_ten_times_and_a_tenth_of_it(way, optimizer_class):
    model, optimizer, loader, _ = task(optimizer_class)
    finder = LRFinder(model, optimizer, nn.CrossEntropyLoss())
    if way == "suggest":
        finder.range_test(loader, progress=False)
        lr = finder.suggest().lr
    else:
        lr = finder.recommend(loader, progress=False).lr
    tenth, at, ten_times = (
        validation_loss_after_training(optimizer_class, lr * factor) for factor in (0.1, 1, 10)
    )
    row = f"{optimizer_class.__name__}: lr={lr:.2e}: {tenth:.3f}, {at:.3f}, {ten_times:.3f}"
    assert at < tenth, row
    assert not ten_times <= at, row

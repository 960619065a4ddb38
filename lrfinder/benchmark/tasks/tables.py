"""Small tables of measurements."""

from __future__ import annotations

from functools import lru_cache

import torch
from sklearn import datasets  # type: ignore[import-untyped]
from torch import Tensor, nn

from lrfinder.benchmark._task import Problem, Task
from lrfinder.benchmark.tasks import _data as data
from lrfinder.benchmark.tasks._models import mlp


def _standardised(values: Tensor) -> Tensor:
    return (values - values.mean(dim=0)) / values.std(dim=0)


@lru_cache
def _diabetes() -> data.Split:
    inputs, targets = (torch.tensor(v).float() for v in datasets.load_diabetes(return_X_y=True))
    return data.shuffled_split(_standardised(inputs), _standardised(targets).unsqueeze(1), 142)


def diabetes(seed: int) -> Problem:
    """Predict the progression of the illness after a year."""
    train, val = data.loaders(_diabetes(), 16, seed)
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    return Problem(model, optimizer, nn.MSELoss(), train, val)


@lru_cache
def _cancer() -> data.Split:
    inputs, targets = datasets.load_breast_cancer(return_X_y=True)
    return data.shuffled_split(
        _standardised(torch.tensor(inputs).float()), torch.tensor(targets).long(), 250
    )


def cancer(seed: int) -> Problem:
    """Tell benign from malignant tumours, some of the training labels being wrong."""
    split = data.with_random_labels(_cancer(), 0.2, classes=2)
    train, val = data.loaders(split, 32, seed)
    model = mlp(30, 64, 32, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    return Problem(model, optimizer, nn.CrossEntropyLoss(), train, val)


TASKS = [
    Task(
        "diabetes-mlp-momentum", diabetes,
        200, "regression, noisy", "MLP", "SGD, momentum 0.9", 16, -5.0, 0.25, long=True,
    ),
    Task(
        "cancer-mlp-adamw", cancer,
        150, "classification, 20 % random labels", "MLP", "AdamW", 32, -5.0, 0.0, long=True,
    ),
]  # fmt: skip

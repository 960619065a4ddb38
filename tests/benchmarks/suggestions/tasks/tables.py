"""Small tables of measurements."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
from sklearn import datasets  # type: ignore[import-untyped]
from torch import nn

from tests.benchmarks.suggestions.task import Problem, Task
from tests.benchmarks.suggestions.tasks import data
from tests.benchmarks.suggestions.tasks.models import mlp


@lru_cache
def _diabetes() -> data.Split:
    inputs, targets = (torch.tensor(v).float() for v in datasets.load_diabetes(return_X_y=True))
    return data.shuffled_split(
        data.standardized(inputs), data.standardized(targets).unsqueeze(1), 142
    )


def diabetes(seed: int) -> Problem:
    """Predict the progression of the illness after a year."""
    train, val = data.loaders(_diabetes(), 16, seed)
    model = nn.Sequential(nn.Linear(10, 32), nn.Tanh(), nn.Linear(32, 1))
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    return Problem(model, optimizer, nn.MSELoss(), train, val)


@lru_cache
def _labelled(load: Callable[..., Any], validation: int) -> data.Split:
    """Return a data set of scikit-learn with classes, its inputs standardized, as a split."""
    inputs, targets = load(return_X_y=True)
    return data.shuffled_split(
        data.standardized(torch.tensor(inputs).float()), torch.tensor(targets).long(), validation
    )


def cancer(seed: int) -> Problem:
    """Tell benign from malignant tumours, some of the training labels being wrong."""
    split = data.with_random_labels(_labelled(datasets.load_breast_cancer, 250), 0.2, classes=2)
    train, val = data.loaders(split, 32, seed)
    model = mlp(30, 64, 32, 2)
    optimizer = torch.optim.AdamW(model.parameters())
    return Problem(model, optimizer, nn.CrossEntropyLoss(), train, val)


def regularized_diabetes(seed: int) -> Problem:
    """The same progression by a network that is far too large, with dropout."""
    train, val = data.loaders(_diabetes(), 32, seed)
    model = nn.Sequential(
        nn.Linear(10, 128), nn.ReLU(), nn.Dropout(0.3),
        nn.Linear(128, 64), nn.ReLU(), nn.Dropout(0.3), nn.Linear(64, 1),
    )  # fmt: skip
    optimizer = torch.optim.AdamW(model.parameters())
    return Problem(model, optimizer, nn.MSELoss(), train, val)


def wine(seed: int) -> Problem:
    """Tell from its chemistry from which of three growers a wine comes, by 100 samples."""
    train, val = data.loaders(_labelled(datasets.load_wine, 78), 10, seed)
    model = mlp(13, 32, 3)
    optimizer = torch.optim.Adam(model.parameters())
    return Problem(model, optimizer, nn.CrossEntropyLoss(), train, val)


TASKS = [
    Task(
        "wine-mlp-adam", wine,
        100, "classification, 100 samples", "MLP", "Adam", 10, -5.0, 0.0, held_out=True,
    ),
    Task(
        "diabetes-dropout-adamw", regularized_diabetes,
        1000, "regression, noisy", "MLP with dropout", "AdamW", 32, -5.5, -0.5, long=True,
    ),
    Task(
        "diabetes-mlp-momentum", diabetes,
        200, "regression, noisy", "MLP", "SGD, momentum 0.9", 16, -5.0, 0.25, long=True,
    ),
    Task(
        "cancer-mlp-adamw", cancer,
        150, "classification, 20 % random labels", "MLP", "AdamW", 32, -5.0, 0.0, long=True,
    ),
]  # fmt: skip

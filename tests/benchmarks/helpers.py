"""A task that takes milliseconds."""

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.benchmarks.suggestions.task import Problem, Task

X = torch.linspace(-1, 1, 64).unsqueeze(1)
DATA = TensorDataset(X, 3 * X)


def line(seed):
    """Fit a line whose slope is 3."""
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.5)
    loader = DataLoader(DATA, 8, shuffle=True)
    return Problem(model, optimizer, nn.MSELoss(), loader, DataLoader(DATA, 64))


LINE = Task("line", line, steps=4, optimizer="SGD", low=-1.0, high=-0.5, long=True)

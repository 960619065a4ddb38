"""What is trained while the clock runs, the bare loop beside it, and what a comparison says."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from tests.benchmarks.suggestions.baselines import START_LR
from tests.benchmarks.suggestions.task import endless

# So low that nothing diverges: every step of every finder is taken.
END_LR = 1e-4


@dataclass
class Workload:
    """One training, and how many steps of it are measured."""

    model: nn.Module
    criterion: nn.Module
    optimizer: torch.optim.Optimizer
    loader: DataLoader[Any]
    steps: int

    def bare(self) -> None:
        """Train as anybody would."""
        batches = endless(self.loader)
        for _ in range(self.steps):
            inputs, targets = next(batches)
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(inputs), targets)
            loss.backward()
            self.optimizer.step()


def tiny(kind: type[torch.optim.Optimizer] = torch.optim.Adam, steps: int = 300) -> Workload:
    model = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))
    return _classification(model, (64,), kind, steps)


def lenet(steps: int = 100) -> Workload:
    return _classification(lenet5(padding=2), (1, 28, 28), torch.optim.Adam, steps)


def lenet5(padding: int) -> nn.Sequential:
    """LeNet-5 with rectified units for images of shape `(1, 28, 28)`, padded by 0 or 2."""
    side = 4 + padding // 2
    return nn.Sequential(
        nn.Conv2d(1, 6, 5, padding=padding),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(6, 16, 5),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Linear(16 * side**2, 120),
        nn.ReLU(),
        nn.Linear(120, 84),
        nn.ReLU(),
        nn.Linear(84, 10),
    )


def large(steps: int = 4) -> Workload:
    """64 million parameters; a plain step needs their gradients beside them, and little else."""
    model = nn.Sequential(*(nn.Linear(4000, 4000, bias=False) for _ in range(4)))
    optimizer = torch.optim.SGD(model.parameters(), lr=START_LR)
    data = TensorDataset(torch.randn(16, 4000), torch.randn(16, 4000))
    return Workload(model, nn.MSELoss(), optimizer, DataLoader(data, 2), steps)


def _classification(
    model: nn.Module, shape: tuple[int, ...], kind: type[torch.optim.Optimizer], steps: int
) -> Workload:
    optimizer = kind(model.parameters(), lr=START_LR)  # type: ignore[call-arg]
    targets = torch.randint(0, 10, (64 * 50,))
    inputs = torch.randn(10, *shape)[targets] + torch.randn(len(targets), *shape)
    data = TensorDataset(inputs, targets)
    loader = DataLoader(data, batch_size=64, shuffle=True)
    return Workload(model, nn.CrossEntropyLoss(), optimizer, loader, steps)


TIMED: dict[str, Callable[[], Workload]] = {
    "64-32-10 MLP, Adam, 300 steps": tiny,
    "the same, plain SGD": lambda: tiny(torch.optim.SGD),
    "LeNet on 28x28, Adam, 100 steps": lenet,
}


def verdict(values: Sequence[float], target: float) -> str:
    """Say whether measurements meet a target, which they should not exceed.

    It is undecided where their range covers the target: the range of five covers the median that
    they are drawn around with a probability of 94 %.
    """
    if max(values) <= target:
        return "met"
    return "missed" if min(values) > target else "undecided"

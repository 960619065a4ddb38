"""What is measured: a training problem that can be built afresh, and training it at one rate."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR
from torch.utils.data import DataLoader

from lrfinder._sweep.param_groups import group_ratios, learning_rates

Pair = tuple[Any, Any]
Schedule = Literal["constant", "onecycle"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)


@dataclass(frozen=True, eq=False)
class Problem:
    """One training run that has not begun.

    Args:
        model: freshly initialised (or pretrained), called with the inputs alone.
        optimizer: over the model's parameters; of its rates only the ratios between groups count.
        criterion: `(outputs, targets) -> loss`, a scalar tensor.
        train_loader: yields `(inputs, targets)`, shuffled in an order fixed by the seed.
        val_loader: the validation set as `(inputs, targets)` batches; can be walked again.
    """

    model: nn.Module
    optimizer: Optimizer
    criterion: Callable[[Any, Any], Tensor]
    train_loader: DataLoader[Any]
    val_loader: Iterable[Pair]


@dataclass(frozen=True)
class Task:
    """A problem for every seed, and how long it is trained.

    Args:
        name: also the name of the task's files.
        build: returns a fresh problem for a seed. PyTorch's global generator has been given that
            seed already, so neither the initial weights nor a shuffling loader need more.
        steps: optimizer updates of one training run, > 0.
        kind, model, optimizer, batch_size: said in the report, used for nothing else.
        low, high: log10 of the lowest and highest rate of the grid. Wide enough that both ends
            train badly: a suggestion outside them counts as no training.
        long: whether runs of four times the steps are measured as well.

    Example:
        A file `mytask.py`, measured by `lrfinder benchmark mytask.py:task`:

        >>> import torch
        >>> from torch import nn
        >>> from torch.utils.data import DataLoader, TensorDataset
        >>> from lrfinder.benchmark import Problem, Task, final_loss, initial_loss
        >>> x = torch.randn(1000, 5, generator=torch.Generator().manual_seed(0))
        >>> data = TensorDataset(x, x.sin().sum(dim=1, keepdim=True))
        >>> train, val = torch.utils.data.random_split(data, [800, 200])
        >>> def build(seed):
        ...     model = nn.Sequential(nn.Linear(5, 32), nn.Tanh(), nn.Linear(32, 1))
        ...     optimizer = torch.optim.Adam(model.parameters())
        ...     loader = DataLoader(train, batch_size=32, shuffle=True)
        ...     return Problem(model, optimizer, nn.MSELoss(), loader, DataLoader(val, 200))
        >>> task = Task("sines", build, steps=100)
        >>> final_loss(task, 1e-2, "constant", 100, seed=0) < initial_loss(task, seed=0)
        True
    """

    name: str
    build: Callable[[int], Problem]
    steps: int
    kind: str = ""
    model: str = ""
    optimizer: str = ""
    batch_size: int | None = None
    low: float = -6.0
    high: float = 1.0
    long: bool = False

    def problem(self, seed: int) -> Problem:
        """Seed PyTorch's global generator and return the problem built with that seed."""
        torch.manual_seed(seed)
        return self.build(seed)

    @property
    def lengths(self) -> tuple[int, ...]:
        """The multiples of `steps` that are measured."""
        return (1, 4) if self.long else (1,)


def train(problem: Problem, lr: float, schedule: Schedule, steps: int) -> bool:
    """Train in place; stop and return False as soon as the loss is not finite.

    Args:
        problem: its model and optimizer are changed.
        lr: learning rate of the fastest parameter group, > 0; `max_lr` under "onecycle".
        schedule: "constant", or "onecycle" for `OneCycleLR` with PyTorch's defaults, which cycles
            the momentum of optimizers that have one.
        steps: optimizer updates, > 0.
    """
    scheduler = _scheduler(problem.optimizer, lr, schedule, steps)
    batches = _endless(problem.train_loader)
    problem.model.train()
    for _ in range(steps):
        inputs, targets = next(batches)
        loss = problem.criterion(problem.model(inputs), targets)
        if not math.isfinite(loss.item()):
            return False
        problem.optimizer.zero_grad()
        loss.backward()
        problem.optimizer.step()
        scheduler.step()
    return True


@torch.no_grad()
def validation_loss(problem: Problem) -> float:
    """Return the mean loss over the validation set in evaluation mode; inf if not finite."""
    problem.model.eval()
    total, count = 0.0, 0
    for inputs, targets in problem.val_loader:
        loss = problem.criterion(problem.model(inputs), targets).item()
        total, count = total + loss * len(targets), count + len(targets)
    mean = total / count
    return mean if math.isfinite(mean) else math.inf


def initial_loss(task: Task, seed: int) -> float:
    """Return the validation loss before any training: what a refusal is worth."""
    return validation_loss(task.problem(seed))


def final_loss(task: Task, lr: float, schedule: Schedule, steps: int, seed: int) -> float:
    """Return the validation loss after training from scratch; inf where training diverged."""
    problem = task.problem(seed)
    return validation_loss(problem) if train(problem, lr, schedule, steps) else math.inf


def _endless(loader: DataLoader[Any]) -> Iterator[Pair]:
    while True:
        yield from loader


def _scheduler(optimizer: Optimizer, lr: float, schedule: Schedule, steps: int) -> LRScheduler:
    ratios = group_ratios(learning_rates(optimizer))
    if schedule == "constant":
        for group, ratio in zip(optimizer.param_groups, ratios, strict=True):
            group["lr"] = lr * ratio
        return LambdaLR(optimizer, lambda _: 1.0)
    # By default PyTorch would switch momentum on in SGD without any: that is another optimizer.
    has_momentum = bool(optimizer.defaults.get("momentum") or optimizer.defaults.get("betas"))
    return OneCycleLR(
        optimizer,
        max_lr=[lr * ratio for ratio in ratios],
        total_steps=steps,
        cycle_momentum=has_momentum,
    )

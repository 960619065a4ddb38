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

Pair = tuple[Any, Any]
Schedule = Literal["constant", "onecycle"]
SCHEDULES: tuple[Schedule, ...] = get_args(Schedule)
TITLES: dict[Schedule, str] = {"constant": "constant", "onecycle": "OneCycleLR"}
POINTS = 10


@dataclass(frozen=True, eq=False)
class Problem:
    """One training run that has not begun.

    Args:
        model: freshly initialized or pretrained, called with the inputs alone.
        optimizer: over the model's parameters; of its rates only the ratios between groups count.
        criterion: `(outputs, targets) -> loss`, a scalar tensor.
        train_loader: yields `(inputs, targets)`, shuffled in an order fixed by the seed.
        val_loader: the validation set as `(inputs, targets)` batches; can be iterated again.
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
        kind, model, batch_size: shown in the report, used for nothing else.
        optimizer: shown in the report, and told to a search that the simulator plays.
        low, high: log10 of the lowest and highest rate of the grid, multiples of 1/4. A
            suggestion outside them counts as no training.
        long: whether runs of four times the steps are measured as well.
        held_out: whether nothing may be chosen by looking at this task.

    Example:
        >>> from torch.utils.data import TensorDataset
        >>> x = torch.linspace(-1, 1, 64).unsqueeze(1)
        >>> def build(seed):
        ...     model, data = nn.Linear(1, 1), TensorDataset(x, 3 * x)
        ...     optimizer = torch.optim.SGD(model.parameters())
        ...     loader = DataLoader(data, 8, shuffle=True)
        ...     return Problem(model, optimizer, nn.MSELoss(), loader, DataLoader(data, 64))
        >>> task = Task("line", build, steps=50)
        >>> course(task, 0.1, "constant", 50, seed=0)[-1] < initial_loss(task, seed=0)
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
    held_out: bool = False

    def problem(self, seed: int) -> Problem:
        """Seed PyTorch's global generator and return the problem built with that seed."""
        torch.manual_seed(seed)
        return self.build(seed)

    @property
    def lengths(self) -> tuple[int, ...]:
        """The multiples of `steps` that are measured."""
        return (1, 4) if self.long else (1,)


def train(
    problem: Problem,
    lr: float,
    schedule: Schedule,
    steps: int,
    on_step: Callable[[int], object] = lambda step: None,
) -> bool:
    """Train in place; stop and return False as soon as the loss is not finite.

    Args:
        problem: its model and optimizer are changed.
        lr: learning rate of the parameter group with the largest one, > 0; `max_lr` under
            "onecycle".
        schedule: "constant", or "onecycle" for `OneCycleLR` with PyTorch's defaults, which cycles
            the momentum of optimizers that have one.
        steps: optimizer updates, > 0.
        on_step: called with the number of updates after each of them.
    """
    scheduler = _scheduler(problem.optimizer, lr, schedule, steps)
    batches = endless(problem.train_loader)
    problem.model.train()
    for step in range(1, steps + 1):
        if not math.isfinite(update(problem, next(batches))):
            return False
        scheduler.step()
        on_step(step)
    return True


def update(problem: Problem, batch: Pair) -> float:
    """Take one optimizer step unless the loss is not finite; return the loss."""
    inputs, targets = batch
    loss = problem.criterion(problem.model(inputs), targets)
    value = loss.item()
    if math.isfinite(value):
        problem.optimizer.zero_grad()
        loss.backward()
        problem.optimizer.step()
    return value


@torch.no_grad()
def validation_loss(problem: Problem) -> float:
    """Return the mean loss over the validation set in evaluation mode; inf if not finite."""
    was_training = problem.model.training
    problem.model.eval()
    total, count = 0.0, 0
    for inputs, targets in problem.val_loader:
        loss = problem.criterion(problem.model(inputs), targets).item()
        total, count = total + loss * len(targets), count + len(targets)
    problem.model.train(was_training)
    mean = total / count
    return mean if math.isfinite(mean) else math.inf


def initial_loss(task: Task, seed: int) -> float:
    """Return the validation loss before any training: what a refusal is worth."""
    return validation_loss(task.problem(seed))


def course(task: Task, lr: float, schedule: Schedule, steps: int, seed: int) -> list[float]:
    """Return the validation loss at ten points of a training from scratch, the end among them.

    It is inf from where the training diverged.
    """
    return course_of(
        task.problem(seed), steps, lambda p, on_step: train(p, lr, schedule, steps, on_step)
    )


def course_of(
    problem: Problem,
    steps: int,
    run: Callable[[Problem, Callable[[int], object]], object],
    before: Callable[[Problem], object] = lambda problem: None,
) -> list[float]:
    """Return the validation loss at ten points of any training.

    Args:
        problem: not yet trained.
        steps: optimizer updates that `run` makes unless it diverges.
        run: trains the problem and calls its second argument after each update.
        before: called before each validation.
    """
    points = [math.ceil(steps * k / POINTS) for k in range(1, POINTS + 1)]
    losses: dict[int, float] = {}

    def look(step: int) -> None:
        if step in points:
            before(problem)
            losses[step] = validation_loss(problem)

    run(problem, look)
    return [losses.get(point, math.inf) for point in points]


def endless(loader: Iterable[Any]) -> Iterator[Any]:
    """Yield the batches of a loader again and again."""
    while True:
        yield from loader


def set_lr(optimizer: Optimizer, lr: float) -> None:
    """Give the largest group a rate and the others theirs in proportion."""
    largest = max(group["lr"] for group in optimizer.param_groups)
    for group in optimizer.param_groups:
        group["lr"] = lr * (group["lr"] / largest)


def _scheduler(optimizer: Optimizer, lr: float, schedule: Schedule, steps: int) -> LRScheduler:
    set_lr(optimizer, lr)
    if schedule == "constant":
        return LambdaLR(optimizer, lambda _: 1.0)
    # By default PyTorch would switch momentum on in SGD without any: that is another optimizer.
    has_momentum = bool(optimizer.defaults.get("momentum") or optimizer.defaults.get("betas"))
    return OneCycleLR(
        optimizer,
        max_lr=[group["lr"] for group in optimizer.param_groups],
        total_steps=steps,
        cycle_momentum=has_momentum,
    )

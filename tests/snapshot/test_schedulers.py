"""A scheduler that is attached neither stops a range test nor is changed by it."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.optim.lr_scheduler import LRScheduler

from lrfinder import LRFinder
from tests.snapshot.helpers import bits


class Falling:
    """Counts its calls."""

    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, _: int) -> float:
        self.calls += 1
        return 0.9**self.calls


SCHEDULERS: dict[str, Callable[[Any], Any]] = {
    "step": lambda o: lr_scheduler.StepLR(o, 3),
    "lambda": lambda o: lr_scheduler.LambdaLR(o, lambda step: 0.9**step),
    "lambda with state": lambda o: lr_scheduler.LambdaLR(o, [Falling()]),
    "cosine": lambda o: lr_scheduler.CosineAnnealingLR(o, 10),
    "one cycle": lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=100),
    "cyclic": lambda o: lr_scheduler.CyclicLR(o, 1e-3, 0.1, step_size_up=4),
    "plateau": lambda o: lr_scheduler.ReduceLROnPlateau(o, patience=1),
    "sequential": lambda o: lr_scheduler.SequentialLR(
        o, [lr_scheduler.LinearLR(o, 0.1), lr_scheduler.ExponentialLR(o, 0.9)], [4]
    ),
    "chained": lambda o: lr_scheduler.ChainedScheduler(
        [lr_scheduler.ConstantLR(o), lr_scheduler.ExponentialLR(o, 0.9)]
    ),
    "warm restarts": lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 5),
    "averaged": lambda o: torch.optim.swa_utils.SWALR(o, swa_lr=0.05),
}


class Training:
    def __init__(self, scheduler: str | None) -> None:
        torch.manual_seed(0)
        self.model = nn.Linear(3, 1)
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.scheduler = SCHEDULERS[scheduler](self.optimizer) if scheduler else None
        self.batches = [(torch.randn(4, 3), torch.randn(4, 1)) for _ in range(3)]

    def train(self, steps: int) -> list[tuple[float, float]]:
        """Return the loss and the rate of each step."""
        record = []
        for step in range(steps):
            x, y = self.batches[step % 3]
            self.optimizer.zero_grad()
            loss = nn.functional.mse_loss(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            record.append((loss.item(), float(self.optimizer.param_groups[0]["lr"])))
            if isinstance(self.scheduler, lr_scheduler.ReduceLROnPlateau):
                self.scheduler.step(loss.item())
            else:
                self.scheduler.step()
        return record

    def range_test(self, **options: Any) -> Any:
        finder = LRFinder(self.model, self.optimizer, nn.MSELoss(), **options)
        return finder.range_test(self.batches, num_iter=10, end_lr=0.5, progress=False)

    def witness(self) -> Any:
        plain = (int, float, str, list, dict, bool)
        seen = [self.scheduler, *getattr(self.scheduler, "_schedulers", [])]
        return [
            bits({k: v for k, v in vars(s).items() if isinstance(v, plain) and k != "_schedulers"})
            for s in seen
        ]


@pytest.mark.parametrize("started", [0, 5])
@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_schedule_goes_on_as_if_nothing_had_been(scheduler: str, started: int) -> None:
    """State, the rates of the next 20 steps and their losses are those without a range test."""
    with_test, without = Training(scheduler), Training(scheduler)
    with_test.train(started), without.train(started)
    before = with_test.witness()
    with_test.range_test()
    assert with_test.witness() == before
    assert with_test.train(20) == without.train(20)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_sweep_has_the_same_rates_and_losses_as_without_a_scheduler(scheduler: str) -> None:
    attached_training, plain_training = Training(scheduler), Training(None)
    for name in set(plain_training.optimizer.param_groups[0]) - {"lr", "params"}:  # some cycle more
        plain_training.optimizer.param_groups[0][name] = attached_training.optimizer.param_groups[
            0
        ][name]
    attached, plain = attached_training.range_test(), plain_training.range_test()
    assert (attached.lr, attached.loss) == (plain.lr, plain.loss)


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_a_named_scheduler_that_the_step_moves_is_put_back(scheduler: str) -> None:
    with_test, without = Training(scheduler), Training(scheduler)
    with_test.train(5), without.train(5)

    def update_step(_: Any, __: Any) -> torch.Tensor:
        return torch.tensor(with_test.train(1)[0][0])

    finder = LRFinder(
        with_test.model,
        with_test.optimizer,
        update_step=update_step,
        preserve=[with_test.scheduler],
    )
    finder.range_test(with_test.batches, num_iter=10, end_lr=0.5, progress=False)
    assert with_test.train(20) == without.train(20)


def test_no_scheduler_is_built_and_the_optimizer_is_not_patched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """No `LRScheduler` is constructed, no `initial_lr` planted, `optimizer.step` not wrapped."""
    training = Training(None)
    seen: list[Any] = []

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a scheduler was built")

    def on_step(*_: Any) -> None:
        seen.append(
            (sorted(vars(training.optimizer)), *map(sorted, training.optimizer.param_groups))
        )

    before = (sorted(vars(training.optimizer)), *map(sorted, training.optimizer.param_groups))
    monkeypatch.setattr(LRScheduler, "__init__", refuse)
    finder = LRFinder(training.model, training.optimizer, nn.MSELoss())
    finder.range_test(training.batches, num_iter=5, progress=False, on_step=on_step)
    assert seen == [before] * 5
    assert "step" not in vars(training.optimizer)


def test_the_warning_about_the_order_of_steps_comes_as_it_would_have() -> None:
    """torch warns if a schedule moves before the first step of the optimizer; still so."""
    training = Training("step")
    training.range_test()
    with pytest.warns(UserWarning, match="before `optimizer.step"):
        training.scheduler.step()

"""Random small models, optimizers, group layouts and moments of failure: never a trace."""

from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lrfinder import LRFinder
from tests.snapshot.helpers import bits

WIDTH = 4


class Boom(Exception):
    """Raised on purpose."""


class Tied(nn.Module):
    """Two layers that share a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.there, self.back = nn.Linear(WIDTH, WIDTH), nn.Linear(WIDTH, WIDTH)
        self.back.weight = self.there.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.back(self.there(x).tanh())


class Remembering(nn.Module):
    """Keeps what it has seen, in place and as new objects."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("last", torch.zeros(WIDTH), persistent=False)
        self.register_buffer("first", None)
        self.seen: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.last.copy_(x.detach().mean(0))
        self.first = x.detach()[0] if self.first is None else self.first
        self.seen.append(x)
        return x + 0.1 * self.last


LAYERS: list[Callable[[], nn.Module]] = [
    lambda: nn.Linear(WIDTH, WIDTH),
    lambda: nn.Linear(WIDTH, WIDTH, bias=False),
    lambda: nn.BatchNorm1d(WIDTH),
    lambda: nn.LayerNorm(WIDTH),
    lambda: nn.Dropout(0.4),
    nn.PReLU,
    lambda: nn.utils.parametrizations.weight_norm(nn.Linear(WIDTH, WIDTH)),
    Tied,
    Remembering,
]
FUSED_ON_CPU = torch.__version__ >= (2, 4)
OPTIMIZERS: list[Callable[[Any], torch.optim.Optimizer]] = [
    lambda groups: torch.optim.SGD(groups, lr=0.1, momentum=0.9),
    lambda groups: torch.optim.SGD(groups, lr=torch.tensor(0.1)),
    lambda groups: torch.optim.AdamW(groups, lr=0.01, amsgrad=True),
    lambda groups: torch.optim.Adam(groups, lr=torch.tensor(0.01), fused=FUSED_ON_CPU),
    lambda groups: torch.optim.RMSprop(groups, lr=0.01, momentum=0.5, centered=True),
    lambda groups: torch.optim.Adagrad(groups, lr=0.01),
    lambda groups: torch.optim.Rprop(groups, lr=0.01),
    lambda groups: torch.optim.ASGD(groups, lr=0.01),
]
ENDS = ["success", "model", "loader", "callback", "interrupt", "nan", "stop"]


@st.composite
def trainings(draw: st.DrawFn) -> Callable[[], "Training"]:
    layers = draw(st.lists(st.sampled_from(LAYERS), min_size=1, max_size=4))
    optimizer = draw(st.sampled_from(OPTIMIZERS))
    modes = draw(st.lists(st.booleans(), min_size=len(layers), max_size=len(layers)))
    frozen = draw(st.sets(st.integers(0, 12), max_size=4))
    layout = draw(st.lists(st.integers(0, 2), min_size=16, max_size=16))
    started = draw(st.integers(0, 3))
    gradients = draw(st.booleans())
    return lambda: Training(layers, optimizer, modes, frozen, layout, started, gradients)


class Training:
    def __init__(
        self,
        layers: list[Callable[[], nn.Module]],
        optimizer: Callable[[Any], torch.optim.Optimizer],
        modes: list[bool],
        frozen: set[int],
        layout: list[int],
        started: int,
        gradients: bool,
    ) -> None:
        torch.manual_seed(0)
        self.model = nn.Sequential(*(layer() for layer in layers), nn.Linear(WIDTH, 1))
        for layer, mode in zip(self.model, modes, strict=False):
            layer.train(mode)
        parameters = list(self.model.parameters())
        for i in frozen & set(range(len(parameters) - 2)):
            parameters[i].requires_grad_(False)
        groups: dict[int, list[Tensor]] = {}
        for parameter, group in zip(parameters, layout, strict=False):
            groups.setdefault(group, []).append(parameter)
        self.optimizer = optimizer(
            [{"params": ps, "weight_decay": 0.01 * g} for g, ps in groups.items()]
        )
        self.batches = [(torch.randn(5, WIDTH), torch.randn(5, 1)) for _ in range(3)]
        self.train(started)
        if not gradients:
            self.optimizer.zero_grad()

    def train(self, steps: int) -> list[float]:
        losses = []
        for step in range(steps):
            x, y = self.batches[step % 3]
            self.optimizer.zero_grad(set_to_none=step % 2 == 0)
            loss = nn.functional.mse_loss(self.model(x), y)
            loss.backward()
            self.optimizer.step()
            losses.append(loss.item())
        return losses

    def witness(self) -> Any:
        parameters = list(self.model.parameters())
        return [
            bits([parameters, list(self.model.buffers()), [p.grad for p in parameters]]),
            [(id(p), p.data_ptr(), p.requires_grad, id(p.grad)) for p in parameters],
            bits(dict(self.optimizer.state)),
            bits([{k: v for k, v in g.items() if k != "params"} for g in self._groups()]),
            [module.training for module in self.model.modules()],
            [bits(m.seen) for m in self.model.modules() if isinstance(m, Remembering)],
            bits(torch.get_rng_state()),
        ]

    def _groups(self) -> list[dict[str, Any]]:
        return self.optimizer.param_groups

    def range_test(self, end: str, at: int, where: str) -> None:
        """Sweep until something happens at one of the steps."""
        step = 0

        def happens(what: str) -> bool:
            return what == end and step == at

        def loader() -> Any:
            for batch in self.batches * 4:
                if happens("loader"):
                    raise Boom
                yield batch

        def training_step(model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
            nonlocal step
            if happens("model"):
                raise Boom
            if happens("interrupt"):
                raise KeyboardInterrupt
            loss = nn.functional.mse_loss(model(batch[0]), batch[1])
            if happens("nan"):
                loss = loss * torch.nan
            step += 1
            return loss

        def on_step(*_: Any) -> bool:
            if happens("callback"):
                raise Boom
            return happens("stop")

        finder = LRFinder(self.model, self.optimizer, training_step=training_step, snapshot=where)
        finder.range_test(
            loader(), num_iter=8, end_lr=1.0, progress=False, on_step=on_step, diverge_th=1e9
        )


@pytest.mark.slow
@settings(max_examples=80, deadline=None)
@given(
    make=trainings(),
    end=st.sampled_from(ENDS),
    at=st.integers(0, 7),
    where=st.sampled_from(["memory", "disk"]),
)
def test_training_goes_on_as_if_nothing_had_been(
    make: Callable[[], Training], end: str, at: int, where: str
) -> None:
    training = make()
    before = training.witness()
    with suppress(Boom, KeyboardInterrupt):
        training.range_test(end, at, where)
    assert training.witness() == before
    assert bits(training.train(20)) == bits(make().train(20))


@settings(max_examples=40, deadline=None)
@given(make=trainings(), at=st.integers(1, 7))
def test_a_second_range_test_records_what_the_first_did(
    make: Callable[[], Training], at: int
) -> None:
    training = make()
    finder = LRFinder(training.model, training.optimizer, nn.MSELoss())
    first, second = (
        finder.range_test(training.batches, num_iter=at + 1, end_lr=1.0, progress=False)
        for _ in range(2)
    )
    assert bits([first.lr, first.loss]) == bits([second.lr, second.loss])

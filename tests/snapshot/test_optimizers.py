"""Every optimizer class of `torch.optim`, in every variant that runs here."""

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from lrfinder import LRFinder, preserve_state
from tests.snapshot.helpers import bits

CLASSES = sorted(
    (
        kind
        for kind in vars(torch.optim).values()
        if isinstance(kind, type) and issubclass(kind, Optimizer) and kind is not Optimizer
    ),
    key=lambda kind: kind.__name__,
)
FLAGS = ("foreach", "fused", "capturable", "amsgrad", "centered")
VALUES = {"momentum": 0.9, "weight_decay": 0.01, "lr": torch.tensor(1e-3)}
FEW_EVALUATIONS = {"LBFGS": {"max_iter": 4}}  # instead of 20 per step
SPECIAL = {
    "LBFGS": [{"line_search_fn": "strong_wolfe"}, {"history_size": 3}],
    "SGD": [{"momentum": 0.9, "nesterov": True}, {"momentum": 0.9, "fused": True}],
    "Adam": [{"fused": True, "lr": torch.tensor(1e-3)}, {"foreach": True, "amsgrad": True}],
}


def variants(kind: type[Optimizer]) -> list[dict[str, Any]]:
    known = inspect.signature(kind).parameters
    flags: list[dict[str, Any]] = [{flag: True} for flag in FLAGS if flag in known]
    values = [{name: value} for name, value in VALUES.items() if name in known]
    return [{}, *flags, *values, *SPECIAL.get(kind.__name__, [])]


CASES = [
    pytest.param(kind, options, id=f"{kind.__name__}-{'-'.join(options) or 'plain'}")
    for kind in CLASSES
    for options in variants(kind)
]


class Sparse(nn.Module):
    """All its gradients are sparse."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(20, 4, sparse=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.embedding((x * 5).long().abs() % 20).mean(dim=(1, 2)).unsqueeze(1)


class Training:
    """A model that suits the optimizer, and a loop of plain steps."""

    def __init__(self, kind: type[Optimizer], options: dict[str, Any], device: str) -> None:
        torch.manual_seed(0)
        self.device = device
        model = {
            "SparseAdam": Sparse,
            "Muon": lambda: nn.Sequential(  # matrices alone
                nn.Linear(5, 8, bias=False), nn.Tanh(), nn.Linear(8, 1, bias=False)
            ),
        }.get(kind.__name__, lambda: nn.Sequential(nn.Linear(5, 8), nn.Tanh(), nn.Linear(8, 1)))
        self.model = model().to(device)
        options = {
            name: value.to(device, copy=True) if isinstance(value, Tensor) else value
            for name, value in options.items()
        }
        options |= FEW_EVALUATIONS.get(kind.__name__, {})
        self.optimizer = kind(self.model.parameters(), **options)
        self.batches = [
            (torch.randn(6, 5, device=device), torch.randn(6, 1, device=device)) for _ in range(4)
        ]

    def train(self, steps: int) -> list[float]:
        return [self.step(*self.batches[step % 4]) for step in range(steps)]

    def step(self, x: Tensor, y: Tensor) -> float:
        def closure() -> Tensor:
            self.optimizer.zero_grad()
            loss = nn.functional.mse_loss(self.model(x), y)
            loss.backward()
            return loss

        return float(self.optimizer.step(closure).detach())

    def witness(self) -> Any:
        groups = [
            {k: v for k, v in group.items() if k != "params"}
            for group in self.optimizer.param_groups
        ]
        parameters = list(self.model.parameters())
        return [
            bits([parameters, [p.grad for p in parameters], groups]),
            bits(dict(self.optimizer.state)),
            [(id(p), p.data_ptr()) for p in parameters],
        ]


def make_or_skip(kind: type[Optimizer], options: dict[str, Any], device: str) -> Callable[[], Any]:
    """Skip where torch itself cannot make or step this variant on this device."""
    if device == "cuda" and not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    try:
        Training(kind, options, device).train(2)
    except (RuntimeError, ValueError, AssertionError, NotImplementedError) as error:
        pytest.skip(f"torch refuses: {error}")
    return lambda: Training(kind, options, device)


@pytest.mark.parametrize("started", [0, 3], ids=["at the start", "with momenta"])
@pytest.mark.parametrize("device", ["cpu", "cuda"])
@pytest.mark.parametrize(("kind", "options"), CASES)
def test_training_goes_on_bit_for_bit(
    kind: type[Optimizer], options: dict[str, Any], device: str, started: int
) -> None:
    """State, its types and the next 8 losses are those of a training without a range test."""
    make = make_or_skip(kind, options, device)
    with_test, without = make(), make()
    with_test.train(started), without.train(started)
    before = with_test.witness()
    finder = LRFinder(with_test.model, with_test.optimizer, nn.MSELoss())
    result = finder.range_test(with_test.batches, num_iter=12, end_lr=1.0, progress=False)
    assert len(set(result.loss)) > 1  # it did train meanwhile
    assert with_test.witness() == before
    assert bits(with_test.train(8)) == bits(without.train(8))


def test_every_class_runs_in_some_variant_on_the_cpu() -> None:
    """No class is covered by skips alone."""
    for kind in CLASSES:
        assert Training(kind, {}, "cpu").train(2)


@pytest.mark.parametrize("kind", CLASSES, ids=lambda kind: kind.__name__)
def test_state_keeps_its_type_whatever_happens_to_it(kind: type[Optimizer]) -> None:
    """Moments in double precision, which `load_state_dict` would cast to that of the parameter."""
    training = Training(kind, {}, "cpu")
    training.train(3)
    states = training.optimizer.state.values()
    for state in states:
        for name, value in state.items():
            if isinstance(value, Tensor) and value.dim():
                state[name] = value.double()
    before = training.witness()

    with preserve_state(training.model, training.optimizer):
        for state in states:
            for value in state.values():
                if isinstance(value, Tensor):
                    value.zero_()
        training.optimizer.state.pop(next(training.model.parameters()), None)
        training.optimizer.load_state_dict(training.optimizer.state_dict())
    assert training.witness() == before


class Projected(torch.optim.SGD):
    """Steps through an object that it keeps for each parameter, as GaLore does."""

    def step(self, closure: Any = None) -> Any:
        loss = super().step(closure)
        for group in self.param_groups:
            for parameter in group["params"]:
                state = self.state[parameter]
                state.setdefault("projector", Projector()).update(parameter)
        return loss


class Projector:
    def __init__(self) -> None:
        self.updates = 0
        self.mean = torch.zeros(())

    @torch.no_grad()
    def update(self, parameter: Tensor) -> None:
        self.updates += 1
        self.mean.lerp_(parameter.mean(), 0.5)
        parameter.sub_(self.mean / self.updates)


class Averager:
    """Counts the steps, as the averagers of torch do, and refers to what it needs."""

    def __init__(self) -> None:
        self.step = 0
        self.options = SimpleNamespace(periods=[4])
        self.data = torch.utils.data.TensorDataset(torch.zeros(3))


class Averaging(torch.optim.SGD):
    """Steps through an object in an attribute, as `PostLocalSGDOptimizer` does."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.averagers = {"all": Averager()}

    def step(self, closure: Any = None) -> Any:
        averager = self.averagers["all"]
        averager.step += 1
        averager.options.periods.append(averager.step)
        if averager.step % averager.options.periods[0] == 0:
            self.param_groups[0]["weight_decay"] += 0.01
        return super().step(closure)


@pytest.mark.parametrize("kind", [Projected, Averaging], ids=["in the state", "in attributes"])
def test_objects_of_any_class_go_on_as_if_nothing_had_been(kind: type[Optimizer]) -> None:
    with_test, without = (Training(kind, {"lr": 0.1}, "cpu") for _ in range(2))
    with_test.train(3), without.train(3)
    finder = LRFinder(with_test.model, with_test.optimizer, nn.MSELoss())
    finder.range_test(with_test.batches, num_iter=13, end_lr=1.0, progress=False)
    assert bits(with_test.train(8)) == bits(without.train(8))


def test_a_trainer_that_an_optimizer_refers_to_keeps_what_was_written() -> None:
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    optimizer.trainer = SimpleNamespace(model=model, log=[])
    owner = SimpleNamespace(log=[])
    optimizer.register_step_post_hook(Hook(owner))
    with preserve_state(optimizer):
        optimizer.trainer.log.append(1)
        owner.log.append(1)
    assert optimizer.trainer.log == owner.log == [1]


class Hook:
    def __init__(self, owner: Any) -> None:
        self.owner = owner

    def __call__(self, *_: Any) -> None:
        return None


def test_an_optimizer_may_refer_to_half_the_program() -> None:
    """Its nearest objects are restored, and nothing is refused."""
    optimizer = Averaging(nn.Linear(1, 1).parameters(), lr=0.1)
    web: list[Any] = [SimpleNamespace() for _ in range(3000)]
    for node in web:
        node.others = web
    optimizer.trainer = SimpleNamespace(web=web)
    with preserve_state(optimizer):
        optimizer.averagers["all"].step += 1
    assert optimizer.averagers["all"].step == 0


@pytest.mark.skipif(torch.__version__ < (2, 4), reason="torch has no bfloat16 MSE on the CPU")
def test_full_precision_moments_of_half_precision_parameters_go_on_bit_for_bit() -> None:
    def make() -> Training:
        training = Training(torch.optim.SGD, {"momentum": 0.9, "lr": 0.1}, "cpu")
        training.model.bfloat16()
        training.batches = [(x.bfloat16(), y.bfloat16()) for x, y in training.batches]
        training.train(1)
        for state in training.optimizer.state.values():
            state["momentum_buffer"] = state["momentum_buffer"].float()
        training.train(2)
        return training

    with_test, without = make(), make()
    finder = LRFinder(with_test.model, with_test.optimizer, nn.MSELoss())
    assert len(set(finder.range_test(with_test.batches, num_iter=12, progress=False).loss)) > 1
    assert bits(with_test.train(20)) == bits(without.train(20))
    moments = [state["momentum_buffer"] for state in with_test.optimizer.state.values()]
    assert {moment.dtype for moment in moments} == {torch.float32}

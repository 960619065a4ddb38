"""State that a step of the user changes and that nobody captured is found by name."""

import copy
import functools
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from lrfinder import LRFinderWarning
from lrfinder._snapshot.snapshot import Snapshot
from lrfinder._snapshot.uncaptured import find_uncaptured
from tests.snapshot.helpers import Metric

MODEL = nn.Linear(3, 1)
GLOBAL_METRIC = Metric()
CRITERION = nn.CrossEntropyLoss(weight=torch.ones(2))


class Shadow:
    """An average of weights as people write it."""

    def __init__(self, model: nn.Module) -> None:
        self.weights = {name: p.detach().clone() for name, p in model.named_parameters()}

    def follow(self, model: nn.Module) -> None:
        for name, p in model.named_parameters():
            self.weights[name].lerp_(p.detach(), 0.1)


class Trainer:
    """A step that is a method, beside attributes that it does not use."""

    def __init__(self) -> None:
        self.model = nn.Linear(3, 1)
        self.ema = AveragedModel(self.model)
        self.other_metric = Metric()
        self.class_weights = torch.ones(2)

    def step(self, model: nn.Module, batch: Any) -> Tensor:
        self._after(model)
        return model(batch).mean() * self.class_weights.sum()

    def _after(self, model: nn.Module) -> None:
        self.ema.update_parameters(model)

    def __call__(self, model: nn.Module, batch: Any) -> Tensor:
        return self.step(model, batch)


def loss_of(model: nn.Module, batch: Any) -> Tensor:
    return model(batch).mean()


class DecoratedTrainer:
    """The same, with decorators of torch, and an average of the weights as people write it."""

    def __init__(self) -> None:
        self.shadow = DecoratedShadow(MODEL)

    @torch.enable_grad()
    def step(self, model: nn.Module, batch: Any) -> Tensor:
        self.shadow.follow(model)
        return loss_of(model, batch)


class DecoratedShadow(Shadow):
    @torch.no_grad()
    def follow(self, model: nn.Module) -> None:
        super().follow(model)


class Steps:
    def by_method(self, ema: Any, model: nn.Module, batch: Any) -> Tensor:
        ema.update_parameters(model)
        return loss_of(model, batch)


def in_a_closure() -> Any:
    ema = AveragedModel(MODEL)

    def step(model: nn.Module, batch: Any) -> Tensor:
        ema.update_parameters(model)
        return loss_of(model, batch)

    return step


def in_a_helper() -> Any:
    ema, noise = Shadow(MODEL), np.random.default_rng(0)

    def after(model: nn.Module) -> None:
        ema.follow(model)

    def step(model: nn.Module, batch: Any) -> Tensor:
        after(model)
        return loss_of(model, batch + noise.normal())

    return step


def in_a_default() -> Any:
    scheduler = torch.optim.lr_scheduler.StepLR(torch.optim.SGD(MODEL.parameters()), 3)

    def step(model: nn.Module, batch: Any, schedule: Any = scheduler) -> Tensor:
        schedule.step()
        return loss_of(model, batch)

    return step


def with_global(model: nn.Module, batch: Any) -> Tensor:
    GLOBAL_METRIC.update(1.0)
    return loss_of(model, batch)


def by_argument(ema: Any, model: nn.Module, batch: Any, *, scaler: Any = None) -> Tensor:
    ema.update_parameters(model)
    return scaler.scale(loss_of(model, batch))


def in_a_container() -> Any:
    state = {"critics": [nn.Linear(1, 1)], "rate": 0.1}
    return lambda model, batch: loss_of(model, batch) + state["critics"][0](batch[:1, :1]).mean()


def under_parameters() -> Any:
    optimizers = {p: torch.optim.SGD([p], lr=0.1) for p in MODEL.parameters()}

    def step(model: nn.Module, batch: Any) -> Tensor:
        for optimizer in optimizers.values():
            optimizer.step()
        return loss_of(model, batch)

    return step


def in_a_namespace() -> Any:
    state = SimpleNamespace(
        optimizer=torch.optim.SGD(nn.Linear(1, 1).parameters()), unused=Metric()
    )

    @torch.no_grad()
    def step(model: nn.Module, batch: Any) -> Tensor:
        state.optimizer.step()
        return loss_of(model, batch)

    return step


def frozen_but_written_to() -> Any:
    average = copy.deepcopy(MODEL).eval().requires_grad_(False)

    def step(model: nn.Module, batch: Any) -> Tensor:
        for mine, new in zip(average.parameters(), model.parameters(), strict=True):
            mine.lerp_(new, 0.1)
        return loss_of(model, batch)

    return step


STATEFUL: dict[str, tuple[Callable[[], Any], list[str]]] = {
    "closure": (in_a_closure, ["ema (AveragedModel)"]),
    "helper": (in_a_helper, ["ema (Shadow)", "noise (Generator)"]),
    "default": (in_a_default, ["schedule (StepLR)"]),
    "global": (lambda: with_global, ["GLOBAL_METRIC (Metric)"]),
    "bound method": (lambda: Trainer().step, ["self.ema (AveragedModel)"]),
    "callable object": (Trainer, ["self.ema (AveragedModel)"]),
    "partial": (
        lambda: functools.partial(
            by_argument, AveragedModel(MODEL), scaler=torch.amp.GradScaler("cpu")
        ),
        ["ema (AveragedModel)", "scaler (GradScaler)"],
    ),
    "decorated": (lambda: DecoratedTrainer().step, ["self.shadow (DecoratedShadow)"]),
    "partial of a method": (
        lambda: functools.partial(Steps().by_method, AveragedModel(MODEL)),
        ["ema (AveragedModel)"],
    ),
    "container": (in_a_container, ["state['critics'][0] (Linear)"]),
    "under parameters": (
        under_parameters,
        ["optimizers[Parameter] (SGD)" for _ in MODEL.parameters()],
    ),
    "namespace": (in_a_namespace, ["state.optimizer (SGD)"]),
    "frozen but written to": (frozen_but_written_to, ["average (Linear)"]),
}


@pytest.mark.parametrize("kind", STATEFUL)
def test_it_is_found_by_name(kind: str) -> None:
    make, names = STATEFUL[kind]
    assert sorted(find_uncaptured(make(), lambda _: False)) == sorted(names)


def with_loss_module(model: nn.Module, batch: Any) -> Tensor:
    return CRITERION(model(batch), batch[:, 0])


def with_teacher() -> Any:
    teacher = nn.Sequential(nn.Linear(3, 1), nn.BatchNorm1d(1)).eval().requires_grad_(False)
    return lambda model, batch: (model(batch) - teacher(batch)).square().mean()


def with_captured() -> Any:
    return lambda model, batch: loss_of(MODEL, batch)


def with_wrapper() -> Any:
    wrapped = nn.Sequential(MODEL)
    return lambda model, batch: wrapped(batch).mean()


def with_global_generators(model: nn.Module, batch: Any) -> Tensor:
    noise = np.random.rand() + shuffled.random()  # noqa: NPY002
    return model(batch + noise).mean()


import random as shuffled  # noqa: E402 - by a name that is not its own


@pytest.mark.parametrize(
    "step",
    [
        with_loss_module,
        with_teacher(),
        with_captured(),
        with_wrapper(),
        with_global_generators,
        loss_of,
        nn.MSELoss(),
        print,
        None,
    ],
)
def test_what_does_not_change_or_is_captured_is_not_warned_of(step: Any) -> None:
    """A warning is an error here."""
    with Snapshot(MODEL) as snapshot:
        snapshot.warn_of_uncaptured(training_step=step)


def test_the_warning_names_the_argument_the_object_and_the_way_out() -> None:
    expected = r"training_step uses ema \(AveragedModel\), .* not restore; .*preserve="
    with Snapshot(MODEL) as snapshot, pytest.warns(LRFinderWarning, match=expected):
        snapshot.warn_of_uncaptured(training_step=in_a_closure())


def test_what_is_named_is_not_warned_of() -> None:
    trainer = Trainer()
    for named in (trainer.ema, trainer):
        with Snapshot(MODEL, named) as snapshot:
            snapshot.warn_of_uncaptured(training_step=trainer.step)


def test_a_module_attribute_of_another_class_is_not_captured_with_the_module() -> None:
    class Tracking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.metric = Metric()

        def step(self, model: nn.Module, batch: Any) -> Tensor:
            self.metric.update(1.0)
            return batch.mean()

    module = Tracking()
    with Snapshot(module) as snapshot, pytest.warns(LRFinderWarning, match=r"self.metric \(Metric"):
        snapshot.warn_of_uncaptured(training_step=module.step)


def test_an_accountant_behind_a_hook_of_the_optimizer_is_warned_of() -> None:
    """As opacus attaches it."""
    accountant = Metric()

    def hook(*_: Any) -> None:
        accountant.update(1.0)

    optimizer = torch.optim.SGD(MODEL.parameters())
    optimizer.register_step_post_hook(hook)
    with Snapshot(optimizer) as snapshot, pytest.warns(LRFinderWarning, match="a hook uses accou"):
        snapshot.warn_of_uncaptured()
    with Snapshot(optimizer, accountant) as snapshot:
        snapshot.warn_of_uncaptured()


@pytest.mark.parametrize("register", ["register_hook", "register_post_accumulate_grad_hook"])
def test_what_a_hook_of_a_parameter_uses_is_warned_of(register: str) -> None:
    """As when each parameter is updated during the backward pass."""
    model = nn.Linear(3, 1)
    optimizers = {model.weight: torch.optim.SGD([model.weight])}

    def hook(_: Tensor) -> None:
        optimizers[model.weight].step()

    getattr(model.weight, register)(hook)
    with Snapshot(model) as snapshot, pytest.warns(LRFinderWarning, match="a hook uses optimizers"):
        snapshot.warn_of_uncaptured()
    with Snapshot(model, *optimizers.values()) as snapshot:
        snapshot.warn_of_uncaptured()


@pytest.mark.filterwarnings("ignore:Secure RNG", "ignore:Using a non-full backward")
@pytest.mark.filterwarnings("ignore:Full backward hook")
def test_the_accountant_of_opacus_is_warned_of_and_restored_if_named() -> None:
    opacus = pytest.importorskip("opacus")
    model = nn.Linear(3, 1)
    data = torch.utils.data.TensorDataset(torch.randn(32, 3), torch.zeros(32, 1))
    engine = opacus.PrivacyEngine()
    model, optimizer, loader = engine.make_private(
        module=model,
        optimizer=torch.optim.SGD(model.parameters(), lr=0.1),
        data_loader=torch.utils.data.DataLoader(data, 8),
        noise_multiplier=1.0,
        max_grad_norm=1.0,
    )
    with Snapshot(model, optimizer) as snapshot, pytest.warns(LRFinderWarning, match="Accountant"):
        snapshot.warn_of_uncaptured()
    before = copy.deepcopy(engine.accountant.state_dict())
    with Snapshot(model, optimizer, engine.accountant, loaders=[loader]) as snapshot:
        snapshot.warn_of_uncaptured()
        for x, y in loader:
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()
        assert engine.accountant.state_dict() != before
    assert engine.accountant.state_dict() == before

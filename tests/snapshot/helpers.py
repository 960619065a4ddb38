"""A training with every kind of state in it, and witnesses that read each kind, bit by bit."""

import random
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset, WeightedRandomSampler

from lrfinder import LRFinder


class Net(nn.Module):
    """Draws from every random generator, and keeps state in every place a module can."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.norm = nn.BatchNorm1d(8)
        self.frozen_norm = nn.BatchNorm1d(8)
        self.drop = nn.Dropout(0.3)
        self.last = nn.Linear(8, 3)
        self.register_buffer("seen", torch.zeros((), dtype=torch.int64))
        self.register_buffer("scratch", torch.zeros(8, dtype=torch.bfloat16), persistent=False)
        self.register_buffer("rebound", torch.ones(3))
        self.calls = 0
        self.trail: list[float] = []

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        self.trail.append(random.random())
        x = x + 0.1 * random.random() + 0.1 * float(np.random.rand())  # noqa: NPY002
        hidden = self.drop(self.frozen_norm(self.norm(self.first(x))).relu())
        self.seen += 1
        self.scratch.copy_(hidden.detach()[0])
        self.rebound = self.rebound * 0.5 + hidden.detach().mean()
        return self.last(hidden)


class Loss(nn.Module):
    """A criterion with a parameter, a buffer and a mode."""

    def __init__(self) -> None:
        super().__init__()
        self.temperature = nn.Parameter(torch.ones(()))
        self.register_buffer("total", torch.zeros(()))
        self.noise = nn.Dropout(0.1)

    def forward(self, outputs: Tensor, targets: Tensor) -> Tensor:
        loss = nn.functional.cross_entropy(self.noise(outputs) / self.temperature, targets)
        self.total += loss.detach()
        return loss


class Metric:
    """An object of nobody's class, with `state_dict` and `load_state_dict`."""

    def __init__(self) -> None:
        self.sum = torch.zeros(())
        self.values: list[float] = []

    def update(self, value: float) -> None:
        self.sum += value
        self.values.append(value)

    def state_dict(self) -> dict[str, Any]:
        return {"sum": self.sum, "values": self.values}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.sum, self.values = state["sum"], state["values"]


class Noisy(Dataset):
    """A data set with a random generator of its own."""

    def __init__(self, generator: torch.Generator) -> None:
        self.x = torch.randn(48, 6, generator=generator)
        self.y = (self.x.sum(1) > 0).long() + (self.x[:, 0] > 1).long()
        self.rng = np.random.default_rng(5)
        self.before_item: Callable[[], None] = lambda: None

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor]:
        self.before_item()
        return self.x[index] + 0.01 * float(self.rng.normal()), self.y[index]


class World:
    """Everything of one training; two that are built alike go on alike."""

    def __init__(self) -> None:
        seed_everything()
        self.model = Net()
        self.model.frozen_norm.eval()
        self.model.last.bias.requires_grad_(False)
        self.criterion = Loss().eval()
        self.optimizer = torch.optim.Adam(
            [
                {"params": self.model.first.parameters(), "lr": 1e-2, "weight_decay": 1e-3},
                {"params": [*self.model.norm.parameters(), self.criterion.temperature]},
                {"params": self.model.last.parameters(), "lr": torch.tensor(3e-3), "eps": 1e-7},
            ],
            lr=2e-3,
            amsgrad=True,
        )
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimizer, 3, gamma=0.9)
        self.scaler = torch.amp.GradScaler("cpu", init_scale=2.0**10, growth_interval=4)
        self.ema = AveragedModel(self.model)
        self.metric = Metric()
        self.dataset = Noisy(torch.Generator().manual_seed(1))
        self.sampler = WeightedRandomSampler(
            torch.arange(1.0, 49.0), 48, generator=torch.Generator().manual_seed(2)
        )
        self.loader = DataLoader(
            self.dataset,
            batch_size=12,
            sampler=self.sampler,
            generator=torch.Generator().manual_seed(3),
        )

    def objects(self) -> dict[str, Any]:
        """Return objects whose identity others rely on, by name."""
        named = {f"parameter {name}": p for name, p in self.model.named_parameters()}
        named |= {f"buffer {name}": b for name, b in self.model.named_buffers()}
        named |= {f"module {name}": m for name, m in self.model.named_modules()}
        named |= {f"group {i}": group for i, group in enumerate(self.optimizer.param_groups)}
        return named | {"lr": self.optimizer.param_groups[2]["lr"], "state": self.optimizer.state}

    def train(self, steps: int) -> list[float]:
        """Train as anybody would; return the losses."""
        losses: list[float] = []
        while len(losses) < steps:
            for x, y in self.loader:
                self.optimizer.zero_grad()
                loss = self.criterion(self.model(x), y)
                self.scaler.scale(loss).backward()
                self.scaler.step(self.optimizer)
                self.scaler.update()
                self.scheduler.step()
                self.ema.update_parameters(self.model)
                self.metric.update(loss.item())
                losses.append(loss.item())
                if len(losses) == steps:
                    break
        return losses

    def finder(self, **options: Any) -> LRFinder:
        return LRFinder(
            self.model,
            self.optimizer,
            self.criterion,
            scaler=self.scaler,
            preserve=[self.ema, self.metric, self.scheduler],
            **options,
        )

    def vandalize(self) -> None:
        """Change everything that a callback could lay its hands on."""
        group = self.optimizer.param_groups[len(self.metric.values) % 3]
        group["weight_decay"] += 0.01
        group["betas"] = (0.5, 0.5)
        group["new option"] = 1
        self.model.last.bias.requires_grad_(True)
        self.model.first.bias.requires_grad_(False)
        self.model.frozen_norm.train()
        self.model.drop.eval()
        self.criterion.train()
        self.model.register_forward_hook(lambda *_: None)
        self.model.first.weight.register_hook(lambda grad: grad * 0.5)
        self.optimizer.register_step_post_hook(lambda *_: None)
        self.optimizer.step = lambda *_, step=self.optimizer.step, **__: step()  # type: ignore[method-assign]
        self.model.norm.weight.data = self.model.norm.weight.data.clone()
        self.ema.update_parameters(self.model)
        self.metric.update(1.0)
        self.scheduler.step()
        random.random(), np.random.rand(), torch.rand(1)  # noqa: NPY002
        self.sampler.num_samples = 24


def seed_everything() -> None:
    random.seed(7)
    np.random.seed(7)  # noqa: NPY002
    torch.manual_seed(7)


def bits(thing: Any) -> Any:
    """Return plain values that are equal exactly if two states are equal bit for bit."""
    if isinstance(thing, Tensor):
        flat = thing.detach().to_dense().reshape(-1).clone()
        return (str(thing.dtype), tuple(thing.shape), flat.view(torch.uint8).numpy().tobytes())
    if isinstance(thing, np.ndarray):
        return (str(thing.dtype), thing.shape, thing.tobytes())
    if isinstance(thing, dict):
        names = (None if isinstance(key, Tensor) else key for key in thing)
        return list(zip(names, map(bits, thing.values()), strict=True))
    if isinstance(thing, (list, tuple)):
        return [bits(part) for part in thing]
    if isinstance(thing, float):
        return thing.hex()
    return thing


WITNESSES: dict[str, Callable[[World], Any]] = {
    "parameters": lambda w: bits(list(w.model.named_parameters())),
    "buffers": lambda w: bits(w.model.state_dict()),
    "non-persistent buffers": lambda w: bits([w.model.scratch]),
    "attributes": lambda w: bits([w.model.calls, w.model.trail, w.criterion.total]),
    "optimizer state": lambda w: bits(dict(w.optimizer.state)),
    "group options": lambda w: bits(
        [{k: v for k, v in g.items() if k != "params"} for g in w.optimizer.param_groups]
    ),
    "gradients": lambda w: bits([p.grad for p in parameters(w)]),
    "modes": lambda w: [m.training for net in (w.model, w.criterion) for m in net.modules()],
    "requires_grad": lambda w: [p.requires_grad for p in parameters(w)],
    "torch rng": lambda w: bits(torch.get_rng_state()),
    "numpy rng": lambda w: bits(np.random.get_state()),  # noqa: NPY002
    "python rng": lambda w: random.getstate(),
    "loader and sampler": lambda w: bits(
        [
            w.loader.generator.get_state(),
            w.sampler.generator.get_state(),
            w.sampler.num_samples,
            str(w.dataset.rng.bit_generator.state),
        ]
    ),
    "scaler": lambda w: bits(
        [w.scaler.state_dict(), list(w.scaler._per_optimizer_states.values())]
    ),
    "ema": lambda w: bits(w.ema.state_dict()),
    "metric": lambda w: bits(w.metric.state_dict()),
    "scheduler": lambda w: bits(
        {k: v for k, v in vars(w.scheduler).items() if k not in ("optimizer", "_opt")}
    ),
    "hooks": lambda w: [
        *(len(m._forward_hooks) for m in w.model.modules()),
        len(w.model.first.weight._backward_hooks or ()),
        len(w.optimizer._optimizer_step_post_hooks),
    ],
    "patched methods": lambda w: [
        vars(w.optimizer).get("step"),
        *("forward" in vars(m) for m in w.model.modules()),
    ],
    "identity": lambda w: [
        {name: id(thing) for name, thing in w.objects().items()},
        [p.data_ptr() for p in parameters(w)],
    ],
}


def parameters(world: World) -> list[Tensor]:
    return [*world.model.parameters(), *world.criterion.parameters()]


def witness(world: World) -> dict[str, Any]:
    """Read every kind of state."""
    return {kind: read(world) for kind, read in WITNESSES.items()}

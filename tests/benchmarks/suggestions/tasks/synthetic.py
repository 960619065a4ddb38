"""Functions with known answers, drawn with noise."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from sklearn import datasets  # type: ignore[import-untyped]
from torch import nn

from tests.benchmarks.suggestions.task import Task
from tests.benchmarks.suggestions.tasks import data
from tests.benchmarks.suggestions.tasks.models import mlp


def regression(inputs: object, targets: object, validation: int) -> data.Split:
    """Return standardized inputs (n, k) and targets (n, m) as a split."""
    x, y = (data.standardized(torch.tensor(np.asarray(v)).float()) for v in (inputs, targets))
    return data.shuffled_split(x, y if y.ndim > 1 else y.unsqueeze(1), validation)


@lru_cache
def friedman1() -> data.Split:
    """Ten inputs of which five matter; the noise has a fifth of the variance."""
    return regression(*datasets.make_friedman1(1600, noise=2.2, random_state=0), 600)


@lru_cache
def _friedman2() -> data.Split:
    return regression(*datasets.make_friedman2(2100, noise=100.0, random_state=1), 600)


@lru_cache
def _friedman3() -> data.Split:
    return regression(*datasets.make_friedman3(1600, noise=0.1, random_state=4), 600)


@lru_cache
def _swiss_roll() -> data.Split:
    """From a point on a rolled sheet to the sine and cosine of its position along the sheet."""
    points, along = datasets.make_swiss_roll(2600, noise=0.3, random_state=2)
    turn = torch.tensor(along).float().unsqueeze(1)
    return regression(points, torch.cat([turn.sin(), turn.cos(), turn / 10], dim=1), 600)


@lru_cache
def _spirals() -> data.Split:
    """Three arms in the plane that wind around each other once; the arm's index."""
    random = np.random.default_rng(3)
    arm, along = random.integers(3, size=2400), random.random(2400)
    angle = 2 * np.pi * (arm / 3 + along) + 0.15 * random.normal(size=2400)
    points = np.stack([np.cos(angle), np.sin(angle)], axis=1) * (0.2 + along)[:, None]
    return data.shuffled_split(torch.tensor(points).float(), torch.tensor(arm), 600)


def _faint(count: int, inputs: int, seed: int) -> tuple[torch.Tensor, torch.Tensor]:
    """Return independent inputs (count, inputs) and a sum of some of them, of unit variance."""
    x = torch.randn(count, inputs, generator=torch.Generator().manual_seed(seed))
    return x, x[:, :4].sum(dim=1, keepdim=True) / 2


@lru_cache
def _clicks() -> data.Split:
    """Twenty inputs; whether something rare happens, which they say little about."""
    x, signal = _faint(7000, 20, 15)
    chance = torch.sigmoid(0.7 * signal - 2)
    happens = torch.rand(chance.shape, generator=torch.Generator().manual_seed(16)) < chance
    return data.shuffled_split(x, happens.long().squeeze(1), 3000)


@lru_cache
def _returns() -> data.Split:
    """Thirty inputs; a number of which they explain a twentieth."""
    x, signal = _faint(7000, 30, 17)
    noise = torch.randn(signal.shape, generator=torch.Generator().manual_seed(18))
    return data.shuffled_split(x, 0.05**0.5 * signal + 0.95**0.5 * noise, 3000)


@lru_cache
def _answers() -> data.Split:
    """Fifteen inputs; which of five answers is given, which they say little about."""
    x, signal = _faint(6000, 15, 19)
    heard = signal + 2 * torch.randn(signal.shape, generator=torch.Generator().manual_seed(20))
    return data.shuffled_split(x, (heard.squeeze(1) + 2.5).long().clamp(0, 4), 3000)


@lru_cache
def _hastie() -> data.Split:
    """Ten inputs; whether the sum of their squares is above its median."""
    x, y = datasets.make_hastie_10_2(2800, random_state=21)
    return data.shuffled_split(torch.tensor(x).float(), torch.tensor(y > 0).long(), 2000)


@lru_cache
def _moons() -> data.Split:
    """Two arcs in the plane that overlap, 200 points to learn from."""
    points, arc = datasets.make_moons(1700, noise=0.35, random_state=22)
    return data.shuffled_split(torch.tensor(points).float(), torch.tensor(arc), 1500)


def tanh_mlp(*sizes: int) -> nn.Sequential:
    """Fully connected layers with tanh between them."""
    return nn.Sequential(*(nn.Tanh() if isinstance(m, nn.ReLU) else m for m in mlp(*sizes)))


TASKS = [
    Task(
        "friedman1-mlp-momentum",
        data.builder(
            friedman1,
            lambda: mlp(10, 64, 64, 1),
            lambda m: torch.optim.SGD(m.parameters(), momentum=0.9),
            32, nn.functional.mse_loss,
        ),
        2000, "regression, noisy", "MLP", "SGD, momentum 0.9", 32, -5.0, 0.5, long=True,
    ),
    Task(
        "swissroll-mlp-adafactor",
        data.builder(
            _swiss_roll,
            lambda: tanh_mlp(3, 64, 64, 3),
            lambda m: torch.optim.Adafactor(m.parameters()),
            64, nn.functional.mse_loss,
        ),
        1000, "regression", "tanh MLP", "Adafactor", 64, -4.5, 0.5, long=True,
    ),
    Task(
        "friedman2-mlp-adam",
        data.builder(
            _friedman2,
            lambda: tanh_mlp(4, 64, 64, 1),
            lambda m: torch.optim.Adam(m.parameters()),
            16, nn.functional.mse_loss,
        ),
        2000, "regression, noisy", "tanh MLP", "Adam", 16, -5.0, 0.0, long=True, held_out=True,
    ),
    Task(
        "friedman3-mlp-adagrad",
        data.builder(
            _friedman3,
            lambda: mlp(4, 64, 64, 1),
            lambda m: torch.optim.Adagrad(m.parameters()),
            32, nn.functional.mse_loss,
        ),
        800, "regression, noisy", "MLP", "Adagrad", 32, -4.0, 0.75, held_out=True,
    ),
    Task(
        "spirals-mlp-momentum",
        data.builder(
            _spirals,
            lambda: tanh_mlp(2, 64, 64, 3),
            lambda m: torch.optim.SGD(m.parameters(), momentum=0.9),
            32, nn.functional.cross_entropy,
        ),
        3000, "classification of points", "tanh MLP", "SGD, momentum 0.9", 32, -4.5, 1.0,
        long=True,
    ),
    Task(
        "answers-mlp-adamw",
        data.builder(
            _answers, lambda: mlp(15, 32, 5), lambda m: torch.optim.AdamW(m.parameters()), 32,
            nn.functional.cross_entropy,
        ),
        500, "classification, mostly noise", "MLP", "AdamW", 32, -5.5, 0.0, held_out=True,
    ),
    Task(
        "hastie-mlp-adam",
        data.builder(
            _hastie, lambda: mlp(10, 64, 64, 2), lambda m: torch.optim.Adam(m.parameters()), 32,
            nn.functional.cross_entropy,
        ),
        600, "classification, 800 samples", "MLP", "Adam", 32, -5.5, 0.0, held_out=True,
    ),
    Task(
        "moons-mlp-rmsprop",
        data.builder(
            _moons, lambda: tanh_mlp(2, 32, 32, 2), lambda m: torch.optim.RMSprop(m.parameters()),
            20, nn.functional.cross_entropy,
        ),
        600, "classification, 200 points", "tanh MLP", "RMSprop", 20, -5.5, 0.0, held_out=True,
    ),
    Task(
        "clicks-mlp-adam",
        data.builder(
            _clicks, lambda: mlp(20, 32, 2), lambda m: torch.optim.Adam(m.parameters()), 64,
            nn.functional.cross_entropy,
        ),
        500, "rare events, hardly to be told", "MLP", "Adam", 64, -5.5, 0.0,
    ),
    Task(
        "returns-mlp-momentum",
        data.builder(
            _returns,
            lambda: mlp(30, 32, 1),
            lambda m: torch.optim.SGD(m.parameters(), momentum=0.9),
            64, nn.functional.mse_loss,
        ),
        500, "regression, mostly noise", "MLP", "SGD, momentum 0.9", 64, -5.0, 0.5,
    ),
]  # fmt: skip

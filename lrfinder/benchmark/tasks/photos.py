"""Reconstruction: the photographs that ship with scikit-learn."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from lrfinder.benchmark._task import Problem, Task
from lrfinder.benchmark.tasks import _data as data
from lrfinder.benchmark.tasks._models import CoordinateNetwork, mlp


def autoencoder(seed: int) -> Problem:
    """Squeeze 8 x 8 colour patches through 16 numbers."""
    patches = tuple((x, x.flatten(1)) for x in data.photo_patches(8))
    train, val = data.loaders(patches, 128, seed)  # type: ignore[arg-type]
    model = mlp(192, 96, 16, 96, 192)
    optimizer = torch.optim.RMSprop(model.parameters())
    return Problem(model, optimizer, nn.MSELoss(), train, val)


def denoising(seed: int) -> Problem:
    """Remove noise of half a standard deviation from 12 x 12 colour patches."""
    train, val = data.loaders(_noisy(), 16, seed)
    model = nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(24, 24, 3, padding=1),
        nn.ReLU(),
        nn.Conv2d(24, 3, 3, padding=1),
    )
    optimizer = torch.optim.Adam(model.parameters())
    return Problem(model, optimizer, nn.MSELoss(), train, val)


def _noisy() -> data.Split:
    generator = torch.Generator().manual_seed(5)
    train, val = (
        (x + 0.5 * torch.randn(x.shape, generator=generator), x) for x in data.photo_patches(12)
    )
    return train, val


def coordinates(seed: int) -> Problem:
    """Learn the colour of a photograph as a function of the position."""
    train, val = data.loaders(_pixels(), 256, seed)
    model = CoordinateNetwork(frequencies=48, width=64)
    optimizer = torch.optim.Adam(model.parameters())
    return Problem(model, optimizer, nn.MSELoss(), train, val)


def _pixels() -> data.Split:
    image = data.photo("flower.jpg")[:, ::3, ::3]
    _, height, width = image.shape
    rows, columns = torch.meshgrid(
        torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij"
    )
    positions: Tensor = torch.stack([rows, columns], dim=-1).flatten(0, 1)
    return data.shuffled_split(positions, (image.flatten(1).T - 0.45) / 0.27, 4000)


TASKS = [
    Task(
        "photos-autoencoder-rmsprop", autoencoder,
        300, "reconstruction", "MLP autoencoder", "RMSprop", 128, -5.5, -0.75, long=True,
    ),
    Task(
        "photos-denoising-adam", denoising,
        200, "reconstruction, noisy inputs", "CNN", "Adam", 16, -5.0, -0.5, long=True,
    ),
    Task(
        "photos-coordinates-adam", coordinates,
        300, "regression on positions", "coordinate network", "Adam", 256, -5.0, -0.25, long=True,
    ),
]  # fmt: skip

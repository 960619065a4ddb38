"""Reconstruction: the photographs that ship with scikit-learn."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from tests.benchmarks.suggestions.task import Problem, Task
from tests.benchmarks.suggestions.tasks import data
from tests.benchmarks.suggestions.tasks.models import CoordinateNetwork, mlp


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


def places(seed: int) -> Problem:
    """Tell from which photograph and which third of its width a patch of 12 x 12 comes."""
    train, val = data.loaders(_places(), 32, seed)
    model = nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.4),
        nn.Linear(288, 6),
    )
    return Problem(model, torch.optim.NAdam(model.parameters()), nn.CrossEntropyLoss(), train, val)


@lru_cache
def _places() -> data.Split:
    """Patches from a checkerboard of cells, so that no pixel is in both sets."""
    parts: list[list[Tensor]] = [[], [], [], []]
    for index, name in enumerate(("china.jpg", "flower.jpg")):
        image = (data.photo(name)[:, :420, :600] - 0.45) / 0.27
        tiles = image.unfold(1, 12, 12).unfold(2, 12, 12).permute(1, 2, 0, 3, 4)
        columns = torch.arange(50).expand(35, 50)
        held = (torch.arange(35)[:, None] // 5 + columns // 5) % 4 == 0
        for part, chosen in ((0, ~held), (2, held)):
            parts[part].append(tiles[chosen])
            parts[part + 1].append(3 * index + columns[chosen] * 3 // 50)
    x, y, u, v = (torch.cat(part) for part in parts)
    return (x, y), (u, v)


def upscaling(seed: int) -> Problem:
    """Draw a patch of 12 x 12 from one of 6 x 6."""
    train, val = data.loaders(_halved(), 32, seed)
    model = nn.Sequential(
        nn.Conv2d(3, 24, 3, padding=1), nn.ReLU(), nn.Conv2d(24, 12, 3, padding=1),
        nn.PixelShuffle(2),
    )  # fmt: skip
    return Problem(model, torch.optim.Adafactor(model.parameters()), nn.MSELoss(), train, val)


@lru_cache
def _halved() -> data.Split:
    train, held = data.photo_patches(12)
    return (nn.functional.avg_pool2d(train, 2), train), (
        nn.functional.avg_pool2d(held[::4], 2), held[::4],
    )  # fmt: skip


def inpainting(seed: int) -> Problem:
    """Draw the middle 4 x 4 pixels of a patch of 12 x 12 from those around them."""
    train, val = data.loaders(_masked(), 64, seed)
    model = mlp(432, 128, 128, 48, bias=False)
    return Problem(model, torch.optim.Muon(model.parameters()), nn.MSELoss(), train, val)


@lru_cache
def _masked() -> data.Split:
    def masked(patches: Tensor) -> tuple[Tensor, Tensor]:
        seen = patches.clone()
        seen[:, :, 4:8, 4:8] = 0
        return seen.flatten(1), patches[:, :, 4:8, 4:8].flatten(1)

    train, held = data.photo_patches(12)
    return masked(train), masked(held[::2])


def colours(seed: int) -> Problem:
    """Give a grey patch of 12 x 12 its colours."""
    train, val = data.loaders(_grey(), 32, seed)
    model = nn.Sequential(
        nn.Conv2d(1, 24, 5, padding=2), nn.GELU(), nn.Conv2d(24, 24, 3, padding=1), nn.GELU(),
        nn.Conv2d(24, 3, 1),
    )  # fmt: skip
    return Problem(model, torch.optim.AdamW(model.parameters()), nn.L1Loss(), train, val)


@lru_cache
def _grey() -> data.Split:
    train, held = data.photo_patches(12)
    return (train.mean(dim=1, keepdim=True), train), (
        held[::4].mean(dim=1, keepdim=True), held[::4],
    )  # fmt: skip


TASKS = [
    Task(
        "photos-colours-adamw", colours,
        500, "reconstruction, absolute error", "CNN", "AdamW", 32, -5.0, -0.5, held_out=True,
    ),
    Task(
        "photos-places-nadam", places,
        600, "classification", "CNN with dropout", "NAdam", 32, -5.0, 0.0,
    ),
    Task(
        "photos-upscaling-adafactor", upscaling,
        600, "reconstruction", "CNN", "Adafactor", 32, -4.5, 0.5, held_out=True,
    ),
    Task(
        "photos-inpainting-muon", inpainting,
        500, "reconstruction", "MLP without biases", "Muon", 64, -4.5, 0.5, held_out=True,
    ),
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

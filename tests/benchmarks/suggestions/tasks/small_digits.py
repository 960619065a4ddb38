"""The digits as they are, 8 x 8 pixels: augmentation, and a model that draws them."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tests.benchmarks.suggestions.task import Problem, Task
from tests.benchmarks.suggestions.tasks import data
from tests.benchmarks.suggestions.tasks.models import Shift, convolution


def _augmented(
    optimizer: Callable[[nn.Module], Optimizer], batch_size: int, cut: int
) -> Callable[[int], Problem]:
    def build(seed: int) -> Problem:
        model = nn.Sequential(
            Shift(1, cut),
            convolution(1, 16),
            convolution(16, 32, stride=2),
            nn.Flatten(),
            nn.Linear(512, 10),
        )
        train, val = data.loaders(data.small_digits(), batch_size, seed)
        return Problem(model, optimizer(model), nn.CrossEntropyLoss(), train, val)

    return build


def _few(seed: int) -> Problem:
    """Ten classes by 200 images."""
    (images, labels), held = data.small_digits()
    model = nn.Sequential(
        convolution(1, 16), convolution(16, 32, stride=2), nn.Flatten(), nn.Dropout(0.3),
        nn.Linear(512, 10),
    )  # fmt: skip
    train, val = data.loaders(((images[:200], labels[:200]), held), 20, seed)
    return Problem(model, torch.optim.AdamW(model.parameters()), nn.CrossEntropyLoss(), train, val)


class _Variational(nn.Module):
    """Draws 64 pixels from 8 normal numbers, whose means and variances are read off an image."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(64, 96), nn.ReLU(), nn.Linear(96, 16))
        self.decoder = nn.Sequential(nn.Linear(8, 96), nn.ReLU(), nn.Linear(96, 64))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Map (n, 64) to the drawing (n, 64), the means and the log variances (n, 8)."""
        mean, log_variance = self.encoder(images).chunk(2, dim=1)
        noise = torch.randn_like(mean) if self.training else torch.zeros_like(mean)
        return self.decoder(mean + noise * (log_variance / 2).exp()), mean, log_variance


def _negative_bound(outputs: tuple[Tensor, Tensor, Tensor], images: Tensor) -> Tensor:
    drawing, mean, log_variance = outputs
    error = (drawing - images).square().sum(dim=1)
    divergence = (mean.square() + log_variance.exp() - log_variance - 1).sum(dim=1) / 2
    return (error + divergence).mean()


@lru_cache
def _flat() -> data.Split:
    (train, _), (held, _) = data.small_digits()
    return (train.flatten(1), train.flatten(1)), (held.flatten(1), held.flatten(1))


def _variational(seed: int) -> Problem:
    model = _Variational()
    train, val = data.loaders(_flat(), 64, seed)
    return Problem(model, torch.optim.Adam(model.parameters()), _negative_bound, train, val)


TASKS = [
    Task(
        "digits8-augmented-cnn-adam",
        _augmented(lambda m: torch.optim.Adam(m.parameters()), 32, cut=0),
        2000, "classification, shifted", "CNN with batch norm", "Adam", 32, -5.0, 0.0, long=True,
    ),
    Task(
        "digits8-cutout-cnn-nesterov",
        _augmented(
            lambda m: torch.optim.SGD(
                m.parameters(), momentum=0.9, nesterov=True, weight_decay=5e-4
            ),
            64, cut=3,
        ),
        2000, "classification, shifted and cut", "CNN with batch norm",
        "SGD, Nesterov momentum 0.9", 64, -4.5, 1.0, long=True, held_out=True,
    ),
    Task(
        "digits8-few-cnn-adamw", _few,
        500, "classification, 200 images", "CNN with batch norm and dropout", "AdamW", 20,
        -5.5, 0.0, held_out=True,
    ),
    Task(
        "digits8-variational-adam", _variational,
        1500, "variational autoencoder", "MLP", "Adam", 64, -5.0, 0.0, long=True, held_out=True,
    ),
]  # fmt: skip

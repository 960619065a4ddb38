"""Classification of distorted handwritten digits."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tests.benchmarks.suggestions.task import Problem, Task
from tests.benchmarks.suggestions.tasks import data
from tests.benchmarks.suggestions.tasks.models import Residual, VisionTransformer, convolution, mlp

Build = Callable[[int], Problem]


def digits(
    model: Callable[[], nn.Module],
    optimizer: Callable[[nn.Module], Optimizer],
    batch_size: int,
    random_labels: float = 0.0,
) -> Build:
    """Return the builder that trains a model on the digit images."""
    return data.builder(
        lambda: data.with_random_labels(data.digit_images(), random_labels, classes=10),
        model,
        optimizer,
        batch_size,
        nn.CrossEntropyLoss(),
    )


def cnn(classes: int = 10) -> nn.Module:
    """Three convolutions with batch norm."""
    return nn.Sequential(
        convolution(1, 16),
        convolution(16, 32, stride=2),
        convolution(32, 32, stride=2),
        nn.Flatten(),
        nn.Linear(512, classes),
    )


def _plain_cnn() -> nn.Module:
    return nn.Sequential(
        nn.Conv2d(1, 16, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.25),
        nn.Linear(512, 10),
    )


def _deep_mlp() -> nn.Module:
    """Five hidden layers with batch norm."""
    sizes = (256, 96, 96, 96, 96, 96)
    hidden = [
        layer
        for i, o in pairwise(sizes)
        for layer in (nn.Linear(i, o), nn.BatchNorm1d(o), nn.ReLU())
    ]
    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(96, 10))


def _resnet() -> nn.Module:
    return nn.Sequential(
        convolution(1, 8),
        Residual(8, 16, 2),
        Residual(16, 32, 2),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(32, 10),
    )


class _GroupNormResidual(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.GroupNorm(4, channels), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1),
            nn.GroupNorm(4, channels), nn.ReLU(), nn.Conv2d(channels, channels, 3, padding=1),
        )  # fmt: skip

    def forward(self, images: Tensor) -> Tensor:
        changed: Tensor = self.body(images)
        return images + changed


def _group_norm_resnet(seed: int) -> Problem:
    model = nn.Sequential(
        nn.Conv2d(1, 16, 3, stride=2, padding=1), _GroupNormResidual(16), nn.MaxPool2d(2),
        _GroupNormResidual(16), nn.Flatten(), nn.Linear(256, 10),
    )  # fmt: skip
    images, (held, labels) = data.digit_images()
    train, val = data.loaders((images, (held[:600], labels[:600])), 32, seed)
    optimizer = torch.optim.SGD(model.parameters(), weight_decay=1e-4)
    return Problem(model, optimizer, nn.CrossEntropyLoss(label_smoothing=0.1), train, val)


TASKS = [
    Task(
        "digits-smoothed-resnet-sgd", _group_norm_resnet,
        600, "classification, smoothed labels", "ResNet with group norm", "SGD", 32, -4.0, 1.0,
        held_out=True,
    ),
    Task(
        "digits-deep-mlp-nadam",
        digits(_deep_mlp, lambda m: torch.optim.NAdam(m.parameters()), 64),
        400, "classification", "deep MLP with batch norm", "NAdam", 64, -5.0, 0.0, held_out=True,
    ),
    Task(
        "digits-logistic-sgd",
        digits(lambda: mlp(256, 10), lambda m: torch.optim.SGD(m.parameters()), 64),
        300, "classification", "logistic regression", "SGD", 64, -4.0, 1.0, long=True,
    ),
    Task(
        "digits-mlp-sgd",
        digits(lambda: mlp(256, 128, 64, 10), lambda m: torch.optim.SGD(m.parameters()), 32),
        400, "classification", "MLP", "SGD", 32, -3.5, 1.0, long=True,
    ),
    Task(
        "digits-mlp-adagrad",
        digits(lambda: mlp(256, 128, 10), lambda m: torch.optim.Adagrad(m.parameters()), 128),
        300, "classification", "MLP", "Adagrad", 128, -4.5, 0.5, long=True,
    ),
    Task(
        "digits-mlp-muon",
        digits(
            lambda: mlp(256, 128, 128, 10, bias=False),
            lambda m: torch.optim.Muon(m.parameters()),
            64,
        ),
        200, "classification", "MLP without biases", "Muon", 64, -4.5, 0.5, long=True,
    ),
    Task(
        "digits-wide-mlp-momentum",
        digits(
            lambda: mlp(256, 256, 256, 10),
            lambda m: torch.optim.SGD(m.parameters(), momentum=0.9),
            256,
        ),
        200, "classification", "MLP", "SGD, momentum 0.9", 256, -4.0, 0.75, long=True,
    ),
    Task(
        "digits-cnn-momentum",
        digits(
            cnn, lambda m: torch.optim.SGD(m.parameters(), momentum=0.9, weight_decay=5e-4), 128
        ),
        150, "classification", "CNN with batch norm", "SGD, momentum 0.9", 128, -4.0, 1.0,
        long=True,
    ),
    Task(
        "digits-noisy-cnn-adam",
        digits(_plain_cnn, lambda m: torch.optim.Adam(m.parameters()), 16, random_labels=0.2),
        300, "classification, 20 % random labels", "CNN with dropout", "Adam", 16, -5.0, -0.5,
        long=True,
    ),
    Task(
        "digits-resnet-adamw",
        digits(_resnet, lambda m: torch.optim.AdamW(m.parameters()), 64),
        150, "classification", "ResNet", "AdamW", 64, -5.0, 0.0, long=True,
    ),
    Task(
        "digits-transformer-adamw",
        digits(
            lambda: VisionTransformer(48, 2),
            lambda m: torch.optim.AdamW(m.parameters(), weight_decay=0.05),
            64,
        ),
        250, "classification", "vision transformer", "AdamW", 64, -5.0, -0.5,
    ),
]  # fmt: skip

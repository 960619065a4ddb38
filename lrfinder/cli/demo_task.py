"""The demo's training task: small images, a small network, and an optimizer of your choice.

It needs torchvision and scikit-learn: `pip install "lrfinder[demo]"`.
"""

from __future__ import annotations

import contextlib
import io
import socket
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader, Dataset

from lrfinder._errors import InvalidInputError, LRFinderError

# Seconds after which a server that does not answer is given up.
_TIMEOUT = 10.0
# Directory of downloaded data.
_ROOT = "data"

OPTIMIZERS: dict[str, Callable[[Any], Optimizer]] = {
    "sgd": lambda parameters: torch.optim.SGD(parameters, momentum=0.9),
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "rmsprop": torch.optim.RMSprop,
    "adagrad": torch.optim.Adagrad,
}
# Each with the class of torchvision that downloads it; the digits are part of scikit-learn.
DATASETS = {"digits": "", "mnist": "MNIST", "fashion-mnist": "FashionMNIST", "cifar10": "CIFAR10"}


class DownloadError(LRFinderError, RuntimeError):
    """A data set could not be downloaded; the message names the one that needs no network."""


class Task(NamedTuple):
    """What a training script has before it trains.

    Attributes:
        model: a small convolutional network.
        optimizer: holds the model's parameters.
        criterion: cross entropy.
        train_loader: batches of images `(64, channels, height, width)` and labels `(64,)`.
        val_loader: the same for images that are not trained on, in batches of 500.
    """

    model: nn.Module
    optimizer: Optimizer
    criterion: nn.Module
    train_loader: DataLoader[Any]
    val_loader: DataLoader[Any]


class Digits(Dataset[tuple[Any, int]]):
    """The 1797 handwritten digits of scikit-learn as images.

    Args:
        train: the first 1437 images; False for the last 360, written by other people.
        transform: applied to each image, a PIL image of 8 x 8 grey pixels.
    """

    def __init__(self, *, train: bool, transform: Callable[[Any], Any]) -> None:
        from PIL import Image
        from sklearn.datasets import load_digits  # type: ignore[import-untyped]

        digits = load_digits()
        part = slice(0, 1437) if train else slice(1437, None)
        pixels = np.round(digits.images[part] * (255 / 16)).astype(np.uint8)
        self._images = [Image.fromarray(image) for image in pixels]
        self._labels = [int(label) for label in digits.target[part]]
        self._transform = transform

    def __len__(self) -> int:
        return len(self._labels)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self._transform(self._images[index]), self._labels[index]


def build(dataset: str = "digits", optimizer: str = "sgd", *, seed: int = 0) -> Task:
    """Return the demo's task; the same seed gives the same weights and batches.

    Args:
        dataset: one of `DATASETS`. All but `"digits"` are downloaded when first used.
        optimizer: one of `OPTIMIZERS`, with its default learning rate.
        seed: seeds torch's global generator.

    Raises:
        InvalidInputError: if there is no such data set or optimizer.
        DownloadError: if the data set cannot be downloaded.
    """
    for argument, name, known in (
        ("dataset", dataset, DATASETS),
        ("optimizer", optimizer, OPTIMIZERS),
    ):
        if name not in known:
            raise InvalidInputError(f"{argument} must be one of {', '.join(known)}, got {name!r}")
    torch.manual_seed(seed)
    channels = 3 if dataset == "cifar10" else 1
    train, val = (_images(dataset, channels, train=part) for part in (True, False))
    model = _network(channels)
    return Task(
        model,
        OPTIMIZERS[optimizer](model.parameters()),
        nn.CrossEntropyLoss(),
        DataLoader(train, batch_size=64, shuffle=True, drop_last=True),
        DataLoader(val, batch_size=500),
    )


def _network(channels: int) -> nn.Module:
    """Return a network that tells ten classes of images of at least 8 x 8 pixels apart."""
    return nn.Sequential(
        nn.Conv2d(channels, 16, 3, padding=1),
        nn.BatchNorm2d(16),
        nn.ReLU(),
        nn.Conv2d(16, 32, 3, padding=1),
        nn.BatchNorm2d(32),
        nn.ReLU(),
        nn.AdaptiveMaxPool2d(4),
        nn.Flatten(),
        nn.Linear(512, 10),
    )


def _images(dataset: str, channels: int, *, train: bool) -> Dataset[Any]:
    from torchvision.transforms import (  # type: ignore[import-untyped]
        Compose,
        Normalize,
        ToTensor,
    )

    transform = Compose([ToTensor(), Normalize(mean=[0.5] * channels, std=[0.5] * channels)])
    if dataset == "digits":
        return Digits(train=train, transform=transform)
    return _download(dataset, train=train, transform=transform)


def _download(dataset: str, **options: Any) -> Dataset[Any]:
    """Return images of torchvision; without a network, give up soon and say why."""
    from torchvision import datasets  # type: ignore[import-untyped]

    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_TIMEOUT)
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # torchvision prints its failures too
            kind: Callable[..., Dataset[Any]] = getattr(datasets, DATASETS[dataset])
            return kind(_ROOT, download=True, **options)
    except (OSError, RuntimeError) as error:
        reason = (str(error).strip() or type(error).__name__).splitlines()[-1]
        raise DownloadError(
            f"could not download {dataset} to {_ROOT!r} ({reason}); check the network, or use "
            "--dataset digits, which needs none"
        ) from None
    finally:
        socket.setdefaulttimeout(before)

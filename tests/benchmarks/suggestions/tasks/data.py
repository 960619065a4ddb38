"""Data that ship with scikit-learn and Python, cut into training and validation sets.

The split and every random choice here are fixed: a task's seed decides the weights and the order.
"""

from __future__ import annotations

import sysconfig
import unicodedata
from collections.abc import Callable
from functools import lru_cache
from importlib import resources
from pathlib import Path
from pydoc_data.topics import topics

import numpy as np
import torch
from sklearn import datasets  # type: ignore[import-untyped]
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import BatchSampler, DataLoader, RandomSampler, TensorDataset

from tests.benchmarks.suggestions.task import Pair, Problem

Split = tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]

MODULES = (
    "argparse", "collections", "dataclasses", "difflib", "doctest", "inspect", "logging",
    "optparse", "pickle", "shutil", "subprocess", "tarfile", "threading", "typing",
)  # fmt: skip
HELD_OUT_MODULES = ("fractions", "random", "statistics", "textwrap")
VOCABULARY = 98  # printable ASCII, newline, tab, anything else


def loaders(
    split: Split, batch_size: int, seed: int
) -> tuple[DataLoader[tuple[Tensor, ...]], list[Pair]]:
    """Return a shuffling training loader and the validation set in batches of 500.

    The loader indexes whole batches: collating them sample by sample takes longer than a step of
    a small model.
    """
    generator = torch.Generator().manual_seed(seed)
    data = TensorDataset(*split[0])
    batches = BatchSampler(RandomSampler(data, generator=generator), batch_size, drop_last=True)
    train = DataLoader(data, batch_size=None, sampler=batches, generator=generator)
    inputs, targets = split[1]
    return train, list(zip(torch.split(inputs, 500), torch.split(targets, 500), strict=True))


def builder(
    split: Callable[[], Split],
    model: Callable[[], nn.Module],
    optimizer: Callable[[nn.Module], Optimizer],
    batch_size: int,
    criterion: Callable[..., Tensor],
) -> Callable[[int], Problem]:
    """Return the function that builds the problem of training a model on a split."""

    def build(seed: int) -> Problem:
        network = model()
        train, val = loaders(split(), batch_size, seed)
        return Problem(network, optimizer(network), criterion, train, val)

    return build


def shuffled_split(inputs: Tensor, targets: Tensor, validation: int) -> Split:
    """Cut off `validation` samples after a fixed shuffle."""
    order = torch.randperm(len(inputs), generator=torch.Generator().manual_seed(0))
    held, kept = order[:validation], order[validation:]
    return (inputs[kept], targets[kept]), (inputs[held], targets[held])


@lru_cache
def digit_images() -> Split:
    """Handwritten digits on 16 x 16 pixels, turned, scaled and shifted: 8000 and 2000 of them.

    A digit of the training set never appears in the validation set. Images (n, 1, 16, 16).
    """
    digits = datasets.load_digits()
    images = torch.tensor(digits.images / 16, dtype=torch.float32).unsqueeze(1)
    (train, labels), (held, held_labels) = shuffled_split(images, torch.tensor(digits.target), 450)
    generator = torch.Generator().manual_seed(1)
    return (
        _distorted(train, labels, 8000, generator),
        _distorted(held, held_labels, 2000, generator),
    )


def _distorted(
    images: Tensor, labels: Tensor, count: int, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    index = torch.arange(count) % len(images)
    angle = (torch.rand(count, generator=generator) - 0.5) * 0.8
    zoom = 0.9 + 0.5 * torch.rand(count, generator=generator)
    shift = (torch.rand(count, 2, generator=generator) - 0.5) * 0.5
    cos, sin = angle.cos() * zoom, angle.sin() * zoom
    matrix = torch.stack([cos, -sin, shift[:, 0], sin, cos, shift[:, 1]], dim=1).view(-1, 2, 3)
    grid = nn.functional.affine_grid(matrix, [count, 1, 16, 16], align_corners=False)
    warped = nn.functional.grid_sample(images[index], grid, align_corners=False)
    return (warped - 0.2) / 0.35, labels[index]


def with_random_labels(split: Split, share: float, classes: int) -> Split:
    """Replace a share of the training labels by random ones; validation labels stay right."""
    (inputs, labels), validation = split
    generator = torch.Generator().manual_seed(2)
    wrong = torch.rand(len(labels), generator=generator) < share
    other = torch.randint(classes, (len(labels),), generator=generator)
    return (inputs, torch.where(wrong, other, labels)), validation


@lru_cache
def photo(name: str) -> Tensor:
    """Return a photograph that ships with scikit-learn, (3, height, width) in [0, 1]."""
    pixels = np.array(datasets.load_sample_image(name))
    return torch.tensor(pixels).permute(2, 0, 1).float() / 255


@lru_cache
def photo_patches(size: int) -> tuple[Tensor, Tensor]:
    """Random square patches of the two photographs: 8000 of their upper parts, 2000 of the lower.

    The validation patches come from rows of pixels that no training patch touches.
    Each (n, 3, size, size), about zero mean and unit variance.
    """
    generator = torch.Generator().manual_seed(3)
    photos = [photo("china.jpg"), photo("flower.jpg")]
    height = min(image.shape[1] for image in photos)
    cut = int(0.75 * height)
    train = [_patches(image[:, :cut], size, 4000, generator) for image in photos]
    held = [_patches(image[:, cut:], size, 1000, generator) for image in photos]
    return (torch.cat(train) - 0.45) / 0.27, (torch.cat(held) - 0.45) / 0.27


def _patches(image: Tensor, size: int, count: int, generator: torch.Generator) -> Tensor:
    windows = image.unfold(1, size, 1).unfold(2, size, 1)
    rows = torch.randint(windows.shape[1], (count,), generator=generator)
    columns = torch.randint(windows.shape[2], (count,), generator=generator)
    return windows[:, rows, columns].permute(1, 0, 2, 3).contiguous()


def encoded(text: str) -> Tensor:
    """Return one integer in [0, VOCABULARY) per character."""
    codes = torch.tensor(bytearray(text.encode("ascii", "replace")), dtype=torch.long)
    special = torch.where(codes == ord("\n"), 95, torch.where(codes == ord("\t"), 96, 97))
    return torch.where((codes >= 32) & (codes < 127), codes - 32, special)


def source(modules: tuple[str, ...]) -> str:
    """Return the source of modules of Python's standard library, one after the other."""
    # Not by import: a file of the same name in the user's folder would take the module's place.
    library = Path(sysconfig.get_path("stdlib"))
    files = (library / f"{name}.py" for name in modules)
    packages = (library / name / "__init__.py" for name in modules)
    found = (f if f.exists() else p for f, p in zip(files, packages, strict=True))
    return "\n".join(path.read_text(encoding="utf-8") for path in found)


@lru_cache
def source_windows(length: int) -> Split:
    """Windows of source text, each with itself one character later as the target."""
    text, held = encoded(source(MODULES)), encoded(source(HELD_OUT_MODULES))
    return _windows(text, length, length), _windows(held, length, len(held) // 400)


def _windows(codes: Tensor, length: int, stride: int) -> tuple[Tensor, Tensor]:
    windows = codes.unfold(0, length + 1, stride)
    return windows[:, :-1].contiguous(), windows[:, 1:].contiguous()


@lru_cache
def prose() -> tuple[str, str]:
    """Return the pages of Python's language reference, nine tenths of them and the rest."""
    pages = [topics[name] for name in sorted(topics)]
    order = np.random.default_rng(6).permutation(len(pages))
    cut = len(pages) * 9 // 10
    first, rest = ("\n".join(pages[i] for i in part) for part in (order[:cut], order[cut:]))
    return first, rest


@lru_cache
def descriptions() -> dict[str, str]:
    """Return scikit-learn's descriptions of its data sets by name."""
    folder = resources.files("sklearn.datasets.descr")
    found = sorted(f.name for f in folder.iterdir() if f.name.endswith(".rst"))
    return {name[:-4]: folder.joinpath(name).read_text(encoding="utf-8") for name in found}


def text_windows(train: str, val: str, length: int, stride: int, validation: int) -> Split:
    """Return windows of two texts, each with itself one character later as the target.

    Args:
        train, val: texts.
        length: of a window, in characters.
        stride: from one training window to the next.
        validation: number of validation windows, spread over all of `val`.
    """
    held = encoded(val)
    every = max(1, (len(held) - length) // validation)
    return _windows(encoded(train), length, stride), _windows(held, length, every)


def contexts(train: str, val: str, length: int, stride: int, validation: int) -> Split:
    """Return windows of two texts, each with the one character that follows as the target."""
    (x, y), (u, v) = text_windows(train, val, length, stride, validation)
    return (x, y[:, -1].contiguous()), (u, v[:, -1].contiguous())


@lru_cache
def small_digits() -> Split:
    """Return the digits as they are: 1347 and 450 images (n, 1, 8, 8) of mean 0 and variance 1."""
    digits = datasets.load_digits()
    images = torch.tensor((digits.images - 4.9) / 6, dtype=torch.float32).unsqueeze(1)
    return shuffled_split(images, torch.tensor(digits.target), 450)


def standardized(values: Tensor) -> Tensor:
    """Return columns of mean 0 and variance 1."""
    return (values - values.mean(dim=0)) / values.std(dim=0)


@lru_cache
def character_names() -> list[tuple[str, str]]:
    """Unicode's letters, symbols and so on: (category such as "Lu", name)."""
    characters = map(chr, range(0x2FFF))
    named = [(unicodedata.category(c), unicodedata.name(c, "")) for c in characters]
    return [(category, name) for category, name in named if name]


@lru_cache
def name_windows(length: int) -> Split:
    """Windows of Unicode character names, one name a line, in a fixed random order."""
    names = [name for _, name in character_names()]
    order = np.random.default_rng(4).permutation(len(names))
    codes = encoded("\n".join(names[i] for i in order))
    cut = int(0.8 * len(codes))
    return _windows(codes[:cut], length, length // 2), _windows(codes[cut:], length, 2 * length)

"""Language models and classification of text that ships with Python."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from tests.benchmarks.suggestions.task import Problem, Task
from tests.benchmarks.suggestions.tasks import data
from tests.benchmarks.suggestions.tasks.models import CharacterTransformer, Recurrent, mlp


def next_character(scores: Tensor, targets: Tensor) -> Tensor:
    """Return the mean cross entropy in nats per character.

    Args:
        scores: (n, length, vocabulary).
        targets: (n, length), integers.
    """
    return nn.functional.cross_entropy(scores.flatten(0, 1), targets.flatten())


def language_model(
    model: Callable[[], nn.Module],
    optimizer: Callable[[nn.Module], Optimizer],
    batch_size: int,
    length: int,
) -> Callable[[int], Problem]:
    """Return the builder that trains a model to predict Python source."""
    return data.builder(
        lambda: data.source_windows(length), model, optimizer, batch_size, next_character
    )


CATEGORIES = ("Ll", "Lu", "Lo", "So", "Sm", "Mn", "No", "Po")


@lru_cache
def _categories() -> data.Split:
    """Names of characters as (n, 32) codes, the end of the name last; Unicode category."""
    kept = [(CATEGORIES.index(c), n) for c, n in data.character_names() if c in CATEGORIES]
    codes = torch.stack([data.encoded(name[:32].rjust(32)) for _, name in kept])
    return data.shuffled_split(codes, torch.tensor([label for label, _ in kept]), 2000)


def names(seed: int) -> Problem:
    """Tell the category of a Unicode character from its name."""
    train, val = data.loaders(_categories(), 32, seed)
    model = Recurrent(nn.LSTM, 48, classes=len(CATEGORIES), last=True)
    optimizer = torch.optim.RMSprop(model.parameters())
    return Problem(model, optimizer, nn.CrossEntropyLoss(), train, val)


@lru_cache
def _modules() -> data.Split:
    """Pairs of characters in pieces of source, as square roots of counts; the module's index."""
    pieces, labels = [], []
    for label, module in enumerate(data.MODULES):
        windows = data.encoded(data.source((module,))).unfold(0, 200, 200)
        hashed = (windows[:, :-1] * 31 + windows[:, 1:] * 17) % 512
        counts = torch.zeros(len(windows), 512)
        counts.scatter_add_(1, hashed, torch.ones_like(hashed, dtype=torch.float32))
        pieces.append(counts.sqrt())
        labels.append(torch.full((len(windows),), label))
    return data.shuffled_split(torch.cat(pieces), torch.cat(labels), 2000)


def modules(seed: int) -> Problem:
    """Tell from which module 200 characters of source come."""
    train, val = data.loaders(_modules(), 64, seed)
    model = mlp(512, len(data.MODULES))
    optimizer = torch.optim.Adagrad(model.parameters())
    return Problem(model, optimizer, nn.CrossEntropyLoss(), train, val)


TASKS = [
    Task(
        "text-gru-adam",
        language_model(
            lambda: Recurrent(nn.GRU, 96), lambda m: torch.optim.Adam(m.parameters()), 32, 32
        ),
        200, "character language model", "GRU", "Adam", 32, -5.0, 0.0,
    ),
    Task(
        "text-lstm-momentum",
        language_model(
            lambda: Recurrent(nn.LSTM, 64),
            lambda m: torch.optim.SGD(m.parameters(), momentum=0.9),
            32, 32,
        ),
        250, "character language model", "LSTM", "SGD, momentum 0.9", 32, -3.0, 1.75,
        long=True,
    ),
    Task(
        "text-transformer-adamw",
        language_model(
            lambda: CharacterTransformer(48, 2, 48),
            lambda m: torch.optim.AdamW(m.parameters()),
            16, 48,
        ),
        250, "character language model", "transformer", "AdamW", 16, -5.0, -0.5,
    ),
    Task(
        "text-transformer-muon",
        language_model(
            lambda: CharacterTransformer(32, 2, 32, affine=False),
            lambda m: torch.optim.Muon(m.parameters()),
            32, 32,
        ),
        150, "character language model", "transformer of matrices", "Muon", 32, -4.0, 0.5,
    ),
    Task(
        "text-categories-lstm-rmsprop", names,
        200, "classification of text", "LSTM", "RMSprop", 32, -5.0, -0.25, long=True,
    ),
    Task(
        "text-modules-adagrad", modules,
        300, "classification of text", "logistic regression", "Adagrad", 64, -4.5, 0.5, long=True,
    ),
]  # fmt: skip

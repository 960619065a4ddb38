"""Training that starts from a trained state."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from lrfinder.benchmark._task import Problem, Task, train
from lrfinder.benchmark.tasks import _data as data
from lrfinder.benchmark.tasks._models import CharacterTransformer
from lrfinder.benchmark.tasks.images import cnn
from lrfinder.benchmark.tasks.text import next_character

State = dict[str, Tensor]


def _half_of_the_digits(first: int) -> data.Split:
    """Five of the ten digits, with labels 0 to 4."""

    def five(images: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        kept = (labels >= first) & (labels < first + 5)
        return images[kept], labels[kept] - first

    training, validation = data.digit_images()
    return five(*training), five(*validation)


@lru_cache
def _trained_on_low_digits() -> State:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = cnn(classes=5)
        optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
        loader, val = data.loaders(_half_of_the_digits(0), 64, seed=0)
        train(Problem(model, optimizer, nn.CrossEntropyLoss(), loader, val), 0.1, "onecycle", 400)
    return model.state_dict()


def high_digits(seed: int) -> Problem:
    """Digits 5 to 9 by a network that knows 0 to 4, with a new last layer."""
    model = cnn(classes=5)
    known = {k: v for k, v in _trained_on_low_digits().items() if not k.startswith("4.")}
    model.load_state_dict(known, strict=False)
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    loader, val = data.loaders(_half_of_the_digits(5), 32, seed)
    return Problem(model, optimizer, nn.CrossEntropyLoss(), loader, val)


@lru_cache
def _trained_on_source() -> State:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CharacterTransformer(48, 2, 48)
        optimizer = torch.optim.AdamW(model.parameters())
        loader, val = data.loaders(data.source_windows(48), 32, seed=0)
        train(Problem(model, optimizer, next_character, loader, val), 5e-3, "onecycle", 600)
    return model.state_dict()


def character_names(seed: int) -> Problem:
    """Names of Unicode characters by a language model that knows Python source."""
    model = CharacterTransformer(48, 2, 48)
    model.load_state_dict(_trained_on_source())
    optimizer = torch.optim.AdamW(model.parameters())
    loader, val = data.loaders(data.name_windows(48), 16, seed)
    return Problem(model, optimizer, next_character, loader, val)


TASKS = [
    Task(
        "finetune-cnn-momentum", high_digits,
        150, "fine-tuning to new classes", "CNN with batch norm", "SGD, momentum 0.9", 32,
        -4.5, 0.75, long=True,
    ),
    Task(
        "finetune-transformer-adamw", character_names,
        150, "fine-tuning to other text", "transformer", "AdamW", 16, -5.5, -0.5,
    ),
]  # fmt: skip

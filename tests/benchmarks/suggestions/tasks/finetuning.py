"""Training that starts from a trained state."""

from __future__ import annotations

from functools import lru_cache

import torch
from sklearn import datasets  # type: ignore[import-untyped]
from torch import Tensor, nn

from tests.benchmarks.suggestions.task import Problem, Task, train
from tests.benchmarks.suggestions.tasks import data
from tests.benchmarks.suggestions.tasks.images import cnn
from tests.benchmarks.suggestions.tasks.models import (
    CharacterTransformer,
    Recurrent,
    VisionTransformer,
    mlp,
)
from tests.benchmarks.suggestions.tasks.prose import prose
from tests.benchmarks.suggestions.tasks.synthetic import friedman1, regression
from tests.benchmarks.suggestions.tasks.text import next_character

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


def _knowing_source(split: data.Split, batch_size: int, seed: int) -> Problem:
    """Other text by a language model that knows Python source."""
    model = CharacterTransformer(48, 2, 48)
    model.load_state_dict(_trained_on_source())
    optimizer = torch.optim.AdamW(model.parameters())
    loader, val = data.loaders(split, batch_size, seed)
    return Problem(model, optimizer, next_character, loader, val)


def character_names(seed: int) -> Problem:
    """Names of Unicode characters by a language model that knows Python source."""
    return _knowing_source(data.name_windows(48), 16, seed)


@lru_cache
def _trained_on_friedman() -> State:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = mlp(10, 64, 64, 1)
        optimizer = torch.optim.Adam(model.parameters())
        loader, val = data.loaders(friedman1(), 64, seed=0)
        train(Problem(model, optimizer, nn.MSELoss(), loader, val), 5e-3, "onecycle", 600)
    return model.state_dict()


@lru_cache
def _other_friedman() -> data.Split:
    """The same function of other inputs, 150 samples of it."""
    x, y = datasets.make_friedman1(750, noise=1.0, random_state=7)
    return regression(x[:, ::-1].copy(), y, 600)


def friedman(seed: int) -> Problem:
    """A function by a network that knows it of its inputs in another order."""
    model = mlp(10, 64, 64, 1)
    model.load_state_dict(_trained_on_friedman())
    loader, val = data.loaders(_other_friedman(), 16, seed)
    return Problem(model, torch.optim.RMSprop(model.parameters()), nn.MSELoss(), loader, val)


@lru_cache
def _trained_on_prose() -> State:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = Recurrent(nn.LSTM, 64)
        optimizer = torch.optim.Adam(model.parameters())
        loader, val = data.loaders(prose(32), 32, seed=0)
        train(Problem(model, optimizer, next_character, loader, val), 1e-2, "onecycle", 600)
    return model.state_dict()


@lru_cache
def _little_source() -> data.Split:
    return data.text_windows(
        data.source(("calendar", "fractions")), data.source(("statistics",)), 32, 16, 200
    )


def little_source(seed: int) -> Problem:
    """A little source text by a language model that knows English."""
    model = Recurrent(nn.LSTM, 64, dropout=0.1)
    model.load_state_dict(_trained_on_prose())
    loader, val = data.loaders(_little_source(), 8, seed)
    return Problem(model, torch.optim.Adam(model.parameters()), next_character, loader, val)


@lru_cache
def _few_descriptions() -> data.Split:
    text = data.descriptions()
    return data.text_windows(text["diabetes"], text["wine_data"], 48, 16, 60)


def few_descriptions(seed: int) -> Problem:
    """One page of English by a language model that knows Python source."""
    return _knowing_source(_few_descriptions(), 4, seed)


@lru_cache
def _trained_on_upright_digits() -> State:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = VisionTransformer(32, 2)
        optimizer = torch.optim.AdamW(model.parameters())
        loader, val = data.loaders(data.digit_images(), 64, seed=0)
        train(Problem(model, optimizer, nn.CrossEntropyLoss(), loader, val), 5e-3, "onecycle", 600)
    return model.state_dict()


@lru_cache
def _lying_digits() -> data.Split:
    (x, y), (u, v) = data.digit_images()
    return (x[:2000].rot90(1, (2, 3)), y[:2000]), (u[:600].rot90(1, (2, 3)), v[:600])


def lying_digits(seed: int) -> Problem:
    """Digits turned by a right angle by a transformer that knows them upright."""
    model = VisionTransformer(32, 2)
    model.load_state_dict(_trained_on_upright_digits())
    optimizer = torch.optim.SGD(model.parameters(), momentum=0.9)
    loader, val = data.loaders(_lying_digits(), 32, seed)
    return Problem(model, optimizer, nn.CrossEntropyLoss(), loader, val)


TASKS = [
    Task(
        "finetune-friedman-rmsprop", friedman,
        300, "fine-tuning to other inputs, regression", "MLP", "RMSprop", 16, -5.5, -0.5,
    ),
    Task(
        "finetune-lstm-adam", little_source,
        300, "fine-tuning to other text", "LSTM with dropout", "Adam", 8, -5.0, -0.5,
    ),
    Task(
        "finetune-page-adamw", few_descriptions,
        300, "fine-tuning to one page", "transformer", "AdamW", 4, -5.5, -0.5, held_out=True,
    ),
    Task(
        "finetune-transformer-momentum", lying_digits,
        400, "fine-tuning to turned images", "vision transformer", "SGD, momentum 0.9", 32,
        -4.5, 0.5, held_out=True,
    ),
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

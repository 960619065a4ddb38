"""Language models on documentation and names, and classification of documentation."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import nn

from tests.benchmarks.suggestions.task import Task
from tests.benchmarks.suggestions.tasks import data
from tests.benchmarks.suggestions.tasks.models import (
    CausalConvolutions,
    CharacterTransformer,
    ContextNetwork,
    Recurrent,
)
from tests.benchmarks.suggestions.tasks.text import next_character


@lru_cache
def prose(length: int) -> data.Split:
    """Windows of Python's language reference."""
    return data.text_windows(*data.prose(), length, length // 2, validation=200)


@lru_cache
def _prose_contexts() -> data.Split:
    return data.contexts(*data.prose(), length=8, stride=9, validation=3000)


@lru_cache
def _source_contexts() -> data.Split:
    source, held = data.source(data.MODULES), data.source(data.HELD_OUT_MODULES)
    return data.contexts(source, held, length=12, stride=7, validation=3000)


@lru_cache
def _description_windows() -> data.Split:
    texts = list(data.descriptions().values())
    return data.text_windows("\n".join(texts[:-3]), "\n".join(texts[-3:]), 32, 8, validation=200)


@lru_cache
def _names() -> data.Split:
    (x, y), (u, v) = data.name_windows(32)
    return (x, y), (u[:200].contiguous(), v[:200].contiguous())


@lru_cache
def _passages() -> data.Split:
    """Hashed triples of characters in passages of the descriptions; the description's index."""
    pieces, labels = [], []
    for label, text in enumerate(data.descriptions().values()):
        windows = data.encoded(text).unfold(0, 120, 40)
        a, b, c = windows[:, :-2], windows[:, 1:-1], windows[:, 2:]
        pieces.append((a * 9973 + b * 97 + c) % 2048)
        labels.append(torch.full((len(windows),), label))
    return data.shuffled_split(torch.cat(pieces), torch.cat(labels), 300)


def _passage_model() -> nn.Module:
    classes = len(data.descriptions())
    return nn.Sequential(
        nn.EmbeddingBag(2048, 32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, classes)
    )


TASKS = [
    Task(
        "docs-context-adamw",
        data.builder(
            _prose_contexts,
            lambda: ContextNetwork(8, 128, dropout=0.1),
            lambda m: torch.optim.AdamW(m.parameters()),
            64, nn.CrossEntropyLoss(),
        ),
        2000, "character language model", "MLP with dropout", "AdamW", 64, -5.0, 0.0, long=True,
    ),
    Task(
        "docs-gpt-adamw",
        data.builder(
            lambda: prose(48),
            lambda: CharacterTransformer(48, 2, 48, dropout=0.1),
            lambda m: torch.optim.AdamW(m.parameters(), weight_decay=0.1),
            16, next_character,
        ),
        500, "character language model", "transformer with dropout", "AdamW", 16, -5.0, 0.0,
    ),
    Task(
        "docs-lstm-adam",
        data.builder(
            lambda: prose(32),
            lambda: Recurrent(nn.LSTM, 64, dropout=0.2),
            lambda m: torch.optim.Adam(m.parameters()),
            16, next_character,
        ),
        500, "character language model", "LSTM with dropout", "Adam", 16, -5.0, 0.0,
    ),
    Task(
        "source-context-adam",
        data.builder(
            _source_contexts,
            lambda: ContextNetwork(12, 96),
            lambda m: torch.optim.Adam(m.parameters()),
            32, nn.CrossEntropyLoss(),
        ),
        2500, "character language model", "MLP", "Adam", 32, -5.0, 0.0, long=True, held_out=True,
    ),
    Task(
        "names-gru-nadam",
        data.builder(
            _names,
            lambda: Recurrent(nn.GRU, 48, dropout=0.1),
            lambda m: torch.optim.NAdam(m.parameters()),
            16, next_character,
        ),
        500, "character language model", "GRU with dropout", "NAdam", 16, -5.0, 0.0,
        held_out=True,
    ),
    Task(
        "descriptions-gpt-adamw",
        data.builder(
            _description_windows,
            lambda: CharacterTransformer(48, 2, 32, dropout=0.1),
            lambda m: torch.optim.AdamW(m.parameters(), weight_decay=0.1),
            16, next_character,
        ),
        800, "character language model, little text", "transformer with dropout", "AdamW", 16,
        -5.0, 0.0, held_out=True,
    ),
    Task(
        "docs-convolutions-rmsprop",
        data.builder(
            lambda: prose(32),
            lambda: CausalConvolutions(48, (1, 2, 4)),
            lambda m: torch.optim.RMSprop(m.parameters()),
            16, next_character,
        ),
        800, "character language model", "causal convolutions", "RMSprop", 16, -5.5, -0.5,
        held_out=True,
    ),
    Task(
        "docs-gru-momentum",
        data.builder(
            lambda: prose(32),
            lambda: Recurrent(nn.GRU, 64),
            lambda m: torch.optim.SGD(m.parameters(), momentum=0.9),
            16, next_character,
        ),
        600, "character language model", "GRU", "SGD, momentum 0.9", 16, -3.0, 1.75,
        held_out=True,
    ),
    Task(
        "descriptions-passages-adagrad",
        data.builder(
            _passages, _passage_model, lambda m: torch.optim.Adagrad(m.parameters()), 32,
            nn.CrossEntropyLoss(),
        ),
        1500, "classification of text", "bag of embeddings with dropout", "Adagrad", 32,
        -4.0, 1.0, long=True, held_out=True,
    ),
]  # fmt: skip

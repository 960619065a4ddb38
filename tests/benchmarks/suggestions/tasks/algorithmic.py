"""Rules to be found: the loss stays near that of guessing before it falls, if the rate is right."""

from __future__ import annotations

from functools import lru_cache

import torch
from torch import Tensor, nn

from tests.benchmarks.suggestions.task import Task
from tests.benchmarks.suggestions.tasks import data
from tests.benchmarks.suggestions.tasks.models import Block, mlp

_SYMBOLS = 10


@lru_cache
def _parity() -> data.Split:
    """Sixteen signs; whether the product of three of them is positive, one in twenty wrong."""
    generator = torch.Generator().manual_seed(10)
    signs = torch.randint(2, (9000, 16), generator=generator) * 2 - 1
    positive = signs[:, [2, 7, 11]].prod(dim=1) > 0
    wrong = torch.rand(9000, generator=generator) < 0.05
    return data.shuffled_split(signs.float(), (positive ^ wrong).long(), 1000)


@lru_cache
def _sums() -> data.Split:
    """Twenty numbers in [0, 1], two of them marked; the sum of the two and some noise.

    References:
        Hochreiter and Schmidhuber, "Long Short-Term Memory", Neural Computation 9 (1997),
        section 5.4.
    """
    generator = torch.Generator().manual_seed(11)
    numbers = torch.rand(6000, 20, generator=generator)
    marks = torch.zeros(6000, 20)
    marks.scatter_(1, torch.rand(6000, 20, generator=generator).topk(2).indices, 1.0)
    noise = 0.1 * torch.randn(6000, 1, generator=generator)
    pairs = torch.stack([numbers, marks], dim=2)
    return data.shuffled_split(pairs, (numbers * marks).sum(dim=1, keepdim=True) + noise, 1000)


@lru_cache
def _recall() -> data.Split:
    """Six pairs of symbols, then the first of one pair; the second of that pair."""
    generator = torch.Generator().manual_seed(12)
    keys = torch.rand(9000, _SYMBOLS, generator=generator).topk(6).indices
    values = torch.randint(_SYMBOLS, (9000, 6), generator=generator)
    asked = torch.randint(6, (9000, 1), generator=generator)
    pairs = torch.stack([keys, values], dim=2).flatten(1)
    sequence = torch.cat([pairs, keys.gather(1, asked)], dim=1)
    return data.shuffled_split(sequence, values.gather(1, asked).squeeze(1), 1000)


@lru_cache
def _sorted() -> data.Split:
    """Eight symbols; the same in ascending order."""
    symbols = torch.randint(_SYMBOLS, (6000, 8), generator=torch.Generator().manual_seed(13))
    return data.shuffled_split(symbols, symbols.sort(dim=1).values, 1000)


@lru_cache
def _checkers() -> data.Split:
    """Points of a board of 4 x 4 fields; the colour of the field."""
    points = 4 * torch.rand(3600, 2, generator=torch.Generator().manual_seed(14))
    return data.shuffled_split(points / 2 - 1, points.long().sum(dim=1) % 2, 600)


class _LastState(nn.Module):
    """A gated recurrent layer, and a number read off its last state."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.cell = nn.GRU(2, hidden, batch_first=True)
        self.head = nn.Linear(hidden, 1)

    def forward(self, sequences: Tensor) -> Tensor:
        """Map (n, length, 2) to (n, 1)."""
        states, _ = self.cell(sequences)
        numbers: Tensor = self.head(states[:, -1])
        return numbers


class _SymbolTransformer(nn.Module):
    """A transformer over symbols that sees all of them at once.

    Args:
        length: of the sequence.
        last: whether only the last position is scored.
    """

    def __init__(self, length: int, last: bool) -> None:
        super().__init__()
        self.embedding = nn.Embedding(_SYMBOLS, 32)
        self.position = nn.Embedding(length, 32)
        self.blocks = nn.Sequential(Block(32, causal=False), Block(32, causal=False))
        self.head = nn.Linear(32, _SYMBOLS)
        self.last = last

    def forward(self, symbols: Tensor) -> Tensor:
        """Map (n, length) to (n, symbols, length), or (n, symbols) if only the last counts."""
        tokens = self.blocks(self.embedding(symbols) + self.position.weight)
        scores: Tensor = self.head(tokens[:, -1] if self.last else tokens)
        return scores if self.last else scores.transpose(1, 2)


TASKS = [
    Task(
        "parity-mlp-momentum",
        data.builder(
            _parity,
            lambda: mlp(16, 128, 2),
            lambda m: torch.optim.SGD(m.parameters(), momentum=0.9),
            32, nn.functional.cross_entropy,
        ),
        2000, "product of three signs", "MLP", "SGD, momentum 0.9", 32, -4.0, 1.0,
    ),
    Task(
        "sums-gru-adam",
        data.builder(
            _sums, lambda: _LastState(32), lambda m: torch.optim.Adam(m.parameters()), 32,
            nn.functional.mse_loss,
        ),
        1000, "sum of two marked numbers", "GRU", "Adam", 32, -5.0, 0.0,
    ),
    Task(
        "recall-transformer-adamw",
        data.builder(
            _recall,
            lambda: _SymbolTransformer(13, last=True),
            lambda m: torch.optim.AdamW(m.parameters()),
            32, nn.functional.cross_entropy,
        ),
        1500, "recall from a list of pairs", "transformer", "AdamW", 32, -5.0, -0.5,
    ),
    Task(
        "sorting-transformer-adam",
        data.builder(
            _sorted,
            lambda: _SymbolTransformer(8, last=False),
            lambda m: torch.optim.Adam(m.parameters()),
            32, nn.functional.cross_entropy,
        ),
        800, "sorting", "transformer", "Adam", 32, -5.0, -0.5, held_out=True,
    ),
    Task(
        "checkers-mlp-adamw",
        data.builder(
            _checkers,
            lambda: mlp(2, 64, 64, 2),
            lambda m: torch.optim.AdamW(m.parameters()),
            32, nn.functional.cross_entropy,
        ),
        2000, "classification of points", "MLP", "AdamW", 32, -5.0, 0.0, held_out=True,
    ),
]  # fmt: skip

"""Step time and peak memory of a range test beside the bare loop, on a ResNet-50 and a GPT."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from lrfinder import LRFinder
from tests.gpu.helpers import DEVICE

SHORT, LONG = 10, 60  # optimizer steps
START_LR, END_LR = 1e-7, 1e-5  # so low that nothing diverges


@dataclass
class Workload:
    """One training in bfloat16."""

    model: nn.Module
    batches: list[tuple[Tensor, Tensor]]

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=START_LR, fused=True)
        self.autocast = torch.autocast(DEVICE, torch.bfloat16)

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean cross entropy of a batch."""
        outputs = model(batch[0])
        return nn.functional.cross_entropy(outputs.flatten(0, -2), batch[1].flatten())

    def bare(self, steps: int) -> None:
        """Train as anybody would."""
        for number in range(steps):
            self.optimizer.zero_grad()
            with self.autocast:
                loss = self.loss(self.model, self.batches[number % len(self.batches)])
            loss.backward()
            self.optimizer.step()

    def range_test(self, steps: int) -> None:
        """Run a whole range test, with capturing and restoring the state."""
        finder = LRFinder(
            self.model, self.optimizer, training_step=self.loss, autocast=self.autocast
        )
        options: dict[str, Any] = {"start_lr": START_LR, "end_lr": END_LR, "progress": False}
        result = finder.range_test(self.batches, num_iter=steps, diverge_th=1e9, **options)
        assert len(result) == steps


@dataclass
class Cost:
    """What was measured: seconds and bytes."""

    parameters: int
    bare_step: float
    step: float
    bare_peak: int
    peak: int
    once: float


def measure(make: Callable[[], Workload], rounds: int) -> Cost:
    """Measure the bare loop and the range test of a training in turns."""
    workload = make()
    workload.bare(SHORT)  # to warm up; from here on the optimizer has its state
    workload.range_test(SHORT)
    bare_steps, steps, once = [], [], []
    for _ in range(rounds):
        bare_steps.append(_per_step(workload.bare)[0])
        step, rest = _per_step(workload.range_test)
        steps.append(step)
        once.append(rest)
    return Cost(
        parameters=sum(parameter.numel() for parameter in workload.model.parameters()),
        bare_step=statistics.median(bare_steps),
        step=statistics.median(steps),
        bare_peak=_peak(workload.bare),
        peak=_peak(workload.range_test),
        once=statistics.median(once),
    )


def _per_step(run: Callable[[int], None]) -> tuple[float, float]:
    """Return the seconds of a step, and those that do not depend on the number of steps."""
    short, long = _seconds(run, SHORT), _seconds(run, LONG)
    step = (long - short) / (LONG - SHORT)
    return step, short - SHORT * step


def _seconds(run: Callable[[int], None], steps: int) -> float:
    gc.collect()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    run(steps)
    torch.cuda.synchronize()
    return time.perf_counter() - begin


def _peak(run: Callable[[int], None]) -> int:
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    run(SHORT)
    return torch.cuda.max_memory_allocated()


def resnet50(size: int = 64, side: int = 224) -> Workload:
    """A ResNet-50 on images of `side` x `side`."""
    from torchvision.models import resnet50 as architecture

    torch.manual_seed(0)
    model = architecture().to(DEVICE, memory_format=torch.channels_last)
    batches = [
        (
            torch.randn(size, 3, side, side, device=DEVICE),
            torch.randint(1000, (size,), device=DEVICE),
        )
        for _ in range(4)
    ]
    return Workload(model, batches)


class GPT(nn.Module):
    """A decoder-only transformer, with 355 million parameters by default."""

    def __init__(
        self, vocabulary: int = 50304, width: int = 1024, layers: int = 24, length: int = 1024
    ) -> None:
        super().__init__()
        self.tokens = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(length, width)
        layer = nn.TransformerEncoderLayer(
            width, width // 64, 4 * width, 0.0, "gelu", batch_first=True, norm_first=True
        )
        self.layers = nn.TransformerEncoder(
            layer, layers, nn.LayerNorm(width), enable_nested_tensor=False
        )
        self.head = nn.Linear(width, vocabulary, bias=False)
        self.head.weight = self.tokens.weight

    def forward(self, tokens: Tensor) -> Tensor:
        """Return the logits of the next token, of shape (batch, length, vocabulary)."""
        length = tokens.shape[1]
        mask = nn.Transformer.generate_square_subsequent_mask(length, device=tokens.device)
        positions = torch.arange(length, device=tokens.device)
        hidden = self.tokens(tokens) + self.positions(positions)
        hidden = self.layers(hidden, mask=mask, is_causal=True)
        logits: Tensor = self.head(hidden)
        return logits


def gpt(size: int = 8, length: int = 1024, **sizes: int) -> Workload:
    """A GPT on random tokens."""
    torch.manual_seed(0)
    model = GPT(length=length, **sizes).to(DEVICE)
    vocabulary = model.tokens.num_embeddings
    tokens = [torch.randint(vocabulary, (size, length + 1), device=DEVICE) for _ in range(4)]
    return Workload(model, [(text[:, :-1], text[:, 1:]) for text in tokens])


WORKLOADS: dict[str, Callable[[], Workload]] = {
    "ResNet-50, 64 images of 224x224": resnet50,
    "GPT of 24 layers, 8 texts of 1024 tokens": gpt,
}

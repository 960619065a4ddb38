"""Step time and peak memory of a range test beside the bare loop, on a ResNet-50 and a GPT."""

from __future__ import annotations

import gc
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import resnet50 as resnet50_model

from lrfinder import LRFinder
from tests.gpu.helpers import DEVICE

STEPS, SETTLED = 60, 10  # optimizer steps of a timed run, and from which of them on it is timed
START_LR, END_LR = 1e-7, 1e-5  # so low that nothing diverges


@dataclass
class Training:
    """One training in bfloat16."""

    model: nn.Module
    batches: list[tuple[Tensor, Tensor]]

    def __post_init__(self) -> None:
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=START_LR, fused=True)
        self.autocast = torch.autocast(DEVICE, torch.bfloat16)
        self.begun: list[torch.cuda.Event] = []

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        """Return the mean cross entropy of a batch; mark where on the device its step begins."""
        self.begun.append(torch.cuda.Event(enable_timing=True))
        self.begun[-1].record()
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
    """What was measured: seconds of each round, and bytes."""

    parameters: int
    bare_steps: list[float]
    steps: list[float]
    once: list[float]
    bare_peak: int
    peak: int

    @property
    def ratios(self) -> list[float]:
        """Time of a step of the range test over that of the bare loop, in each round."""
        return [step / bare for step, bare in zip(self.steps, self.bare_steps, strict=True)]


def measure(make: Callable[[], Training], rounds: int) -> Cost:
    """Measure the bare loop and the range test of a training in turns."""
    training = make()
    training.bare(SETTLED)  # to warm up; from here on the optimizer has its state
    training.range_test(SETTLED)
    bare: list[tuple[float, float]] = []
    tested: list[tuple[float, float]] = []
    for number in range(rounds):
        turns = [(bare, training.bare), (tested, training.range_test)]
        for times, run in turns if number % 2 else reversed(turns):
            times.append(_times(training, run))
    return Cost(
        parameters=sum(parameter.numel() for parameter in training.model.parameters()),
        bare_steps=[step for step, _ in bare],
        steps=[step for step, _ in tested],
        once=[once for _, once in tested],
        bare_peak=_peak(training, training.bare),
        peak=_peak(training, training.range_test),
    )


def _times(training: Training, run: Callable[[int], None]) -> tuple[float, float]:
    """Return the seconds of a step, and those before the first step and after the last."""
    gc.collect()
    training.begun.clear()
    torch.cuda.synchronize()
    begin = time.perf_counter()
    run(STEPS)
    torch.cuda.synchronize()
    whole = time.perf_counter() - begin
    first, settled, last = (training.begun[step] for step in (0, SETTLED, -1))
    step = settled.elapsed_time(last) / 1e3 / (STEPS - 1 - SETTLED)
    return step, whole - first.elapsed_time(last) / 1e3 - step


def _peak(training: Training, run: Callable[[int], None]) -> int:
    # Those that are left here would be held beside those of the range test, to be given back.
    training.optimizer.zero_grad()
    gc.collect()
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    run(SETTLED)
    return torch.cuda.max_memory_allocated()


def resnet50(size: int = 64, side: int = 224) -> Training:
    """A ResNet-50 on images of `side` x `side`."""
    torch.manual_seed(0)
    model = resnet50_model().to(DEVICE, memory_format=torch.channels_last)
    batches = [
        (
            torch.randn(size, 3, side, side, device=DEVICE),
            torch.randint(1000, (size,), device=DEVICE),
        )
        for _ in range(4)
    ]
    return Training(model, batches)


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


def gpt(size: int = 8, length: int = 1024, **sizes: int) -> Training:
    """A GPT on random tokens."""
    torch.manual_seed(0)
    model = GPT(length=length, **sizes).to(DEVICE)
    vocabulary = model.tokens.num_embeddings
    tokens = [torch.randint(vocabulary, (size, length + 1), device=DEVICE) for _ in range(4)]
    return Training(model, [(text[:, :-1], text[:, 1:]) for text in tokens])


TRAININGS: dict[str, Callable[[], Training]] = {
    "ResNet-50, 64 images of 224x224": resnet50,
    "GPT of 24 layers, 8 texts of 1024 tokens": gpt,
}

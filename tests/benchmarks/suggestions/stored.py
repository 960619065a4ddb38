"""What is stored of a task beside its truth: recorded range tests and the answers of finders."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from lrfinder import RangeTestResult, StopReason
from tests.benchmarks.suggestions.files import write_whole
from tests.benchmarks.suggestions.finders import Answer
from tests.benchmarks.suggestions.packages import versions

BySeed = dict[str, Any]


@dataclass
class Stored:
    """Recorded range tests and answers of one task; every leaf is one seed's.

    Attributes:
        task: its name.
        sweeps: number of steps -> seed -> first and last rate, losses, reason to stop.
        answers: finder -> multiple of the task's steps that it was told -> seed -> answer.
    """

    task: str
    sweeps: dict[str, BySeed] = field(default_factory=dict)
    answers: dict[str, dict[str, BySeed]] = field(default_factory=dict)

    @classmethod
    def read(cls, folder: Path, task: str) -> Stored:
        """Return what the folder holds of a task, which may be nothing yet."""
        path = _path(folder, task)
        return cls(**json.loads(path.read_text())) if path.exists() else cls(task)

    def write(self, folder: Path) -> None:
        """Replace the task's file as a whole, one seed per line."""
        path = _path(folder, self.task)
        sweeps = {size: _lines(seeds) for size, seeds in self.sweeps.items()}
        answers = {
            name: {size: _lines(seeds) for size, seeds in sizes.items()}
            for name, sizes in self.answers.items()
        }
        content = {"task": self.task, "sweeps": sweeps, "answers": answers}
        write_whole(path, _unquoted(json.dumps(content, indent=1)) + "\n")

    def add_sweep(self, size: int, seed: int, result: RangeTestResult) -> None:
        """Keep a range test of `size` steps."""
        recorded = {
            "stop": result.stop_reason.value,
            "batch_size": result.batch_size,
            "lr": [result.lr[0], result.lr[-1]],
            "loss": [_short(loss) for loss in result.loss],
            "versions": versions("lrfinder"),
        }
        self.sweeps.setdefault(str(size), {})[str(seed)] = recorded

    def add_answer(self, name: str, size: int, seed: int, answer: Answer) -> None:
        """Keep what a finder said when told `size` times the task's steps."""
        self.answers.setdefault(name, {}).setdefault(f"{size}x", {})[str(seed)] = answer.to_dict()

    @property
    def versions(self) -> set[str]:
        """Those that are stored with the records; older ones have none."""
        seeds = [
            *self.sweeps.values(),
            *(s for sizes in self.answers.values() for s in sizes.values()),
        ]
        records = (record for by_seed in seeds for record in by_seed.values())
        return {record["versions"] for record in records if "versions" in record}

    def has_sweep(self, size: int, seed: int) -> bool:
        """Whether a range test is stored."""
        return str(seed) in self.sweeps.get(str(size), {})

    def has_answer(self, name: str, size: int, seed: int) -> bool:
        """Whether an answer is stored."""
        return str(seed) in self.answers.get(name, {}).get(f"{size}x", {})

    def forget(self, names: Sequence[str]) -> None:
        """Drop the answers of finders; all range tests where "sweep" is among the names."""
        if "sweep" in names:
            self.sweeps.clear()
        for name in names:
            self.answers.pop(name, None)

    def results(self, size: int) -> list[RangeTestResult]:
        """Return the recorded range tests of `size` steps in the order of their seeds."""
        seeds = self.sweeps.get(str(size), {})
        return [_result(seeds[seed]) for seed in sorted(seeds, key=int)]

    def told(self, name: str, size: int) -> list[Answer]:
        """Return the answers of a finder in the order of their seeds.

        One that does not read the planned number of steps says the same for every size.
        """
        sizes = self.answers.get(name, {})
        seeds = sizes.get(f"{size}x", sizes.get("1x", {}))
        return [Answer(**seeds[seed]) for seed in sorted(seeds, key=int)]


def _short(loss: float) -> float | str:
    """Keep the digits that a float32 holds; JSON has no NaN and no infinity, so they are names."""
    return float(f"{loss:.9g}") if math.isfinite(loss) else str(loss)


def _path(folder: Path, task: str) -> Path:
    return folder / "suggestions" / f"{task}.json"


def _lines(seeds: BySeed) -> dict[str, str]:
    return {seed: json.dumps(seeds[seed]) for seed in sorted(seeds, key=int)}


def _unquoted(text: str) -> str:
    """Turn JSON that is quoted as a string inside JSON back into itself."""
    lines = []
    for line in text.split("\n"):
        head, mark, quoted = line.partition(': "{')
        end = "," if quoted.endswith(",") else ""
        body = json.loads('"{' + quoted.removesuffix(",")) if mark else ""
        lines.append(f"{head}: {body}{end}" if mark else line)
    return "\n".join(lines)


def _result(recorded: dict[str, Any]) -> RangeTestResult:
    losses = tuple(float(loss) for loss in recorded["loss"])
    first, last = recorded["lr"]
    return RangeTestResult(
        lr=tuple(np.geomspace(first, last, len(losses)).tolist()),
        loss=losses,
        step_mode="exp",
        smooth_f=0.05,
        stop_reason=StopReason(recorded["stop"]),
        batch_size=recorded["batch_size"],
    )

"""The laboratory: the training loss of every step at many rates, from the state a search starts in.

One compressed file per task and seed, replaced whole after each run: a stopped command goes on
where it was. `Recording` says what is in it, `simulator` plays searches against it.
"""

from __future__ import annotations

import io
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch

from tests.benchmarks.suggestions.files import write_whole
from tests.benchmarks.suggestions.pool import in_parallel
from tests.benchmarks.suggestions.task import Pair, Problem, Task, endless, set_lr, update
from tests.benchmarks.suggestions.tasks import TASKS

Array = npt.NDArray[np.float64]

STEPS = 1000
SWEEPS = (50, 100, 200, 500)
SWEEP_RANGE = (1e-7, 10.0)
# Steps after which the fixed batches are evaluated: closer where trials end.
EVALUATIONS = (0, *range(10, 101, 10), *range(120, 301, 20), *range(350, STEPS + 1, 50))
# Of the fixed batches half are the first that are trained on, half come after the last step.
EVALUATED = 8
# A run whose loss stays this many times above where it began has diverged.
_DIVERGED = 10.0
_DIVERGED_STEPS = 100


@dataclass
class Recording:
    """What was recorded of one task and seed; a loss is inf from where training has diverged.

    Attributes:
        log10_lrs: rates in ascending order, (rates,).
        losses: training loss of each step before its update, (rates, STEPS).
        evaluations: loss in evaluation mode on fixed training batches after `EVALUATIONS` updates,
            (rates, evaluations, EVALUATED).
        sweeps: number of steps -> losses of a range test over `SWEEP_RANGE` that nothing stops.
    """

    log10_lrs: Array = field(default_factory=lambda: np.zeros(0))
    losses: Array = field(default_factory=lambda: np.zeros((0, STEPS)))
    evaluations: Array = field(default_factory=lambda: np.zeros((0, len(EVALUATIONS), EVALUATED)))
    sweeps: dict[int, Array] = field(default_factory=dict)

    def has(self, log10_lr: float) -> bool:
        """Return whether a rate is recorded."""
        return bool(np.isclose(self.log10_lrs, log10_lr, rtol=0, atol=1e-6).any())

    def add(self, log10_lr: float, losses: Array, evaluations: Array) -> None:
        """Insert the run of one rate."""
        at = int(np.searchsorted(self.log10_lrs, log10_lr))
        self.log10_lrs = np.insert(self.log10_lrs, at, log10_lr)
        self.losses = np.insert(self.losses, at, losses, axis=0)
        self.evaluations = np.insert(self.evaluations, at, evaluations, axis=0)

    def write(self, path: Path) -> None:
        """Replace the file as a whole; float32, which the losses were."""
        arrays = {key: value for key, value in asdict(self).items() if key != "sweeps"}
        arrays |= {f"sweep_{steps}": losses for steps, losses in self.sweeps.items()}
        file = io.BytesIO()
        np.savez_compressed(file, **{k: v.astype(np.float32) for k, v in arrays.items()})
        write_whole(path, file.getvalue())

    @classmethod
    def read(cls, path: Path) -> Recording:
        """Return what a file holds; nothing if there is no file."""
        if not path.exists():
            return cls()
        with np.load(path) as file:
            arrays = {name: file[name].astype(float) for name in file.files}
        sweeps = {int(k[6:]): arrays.pop(k) for k in list(arrays) if k.startswith("sweep_")}
        return cls(**arrays, sweeps=sweeps)


@dataclass(frozen=True)
class Job:
    """Everything that is missing of one task and seed."""

    name: str
    seed: int
    folder: Path


def recording_path(folder: Path, name: str, seed: int) -> Path:
    """Return the file of one task and seed."""
    return folder / f"{name}-seed{seed}.npz"


def record(names: Sequence[str], folder: Path, workers: int, seeds: int = 3) -> None:
    """Record what is missing: all tasks with the first seed, then all with the next.

    Args:
        names: of tasks.
        folder: where the recordings are.
        workers: processes, each of one thread.
        seeds: recordings of each task.
    """
    jobs = [Job(name, seed, folder) for seed in range(seeds) for name in names]
    for _ in in_parallel(_run, [job for job in jobs if not is_complete(job)], workers, "task"):
        pass


def is_complete(job: Job) -> bool:
    """Return whether nothing of a task and seed is missing."""
    found = Recording.read(recording_path(job.folder, job.name, job.seed))
    return all(map(found.has, grid(TASKS[job.name]))) and set(found.sweeps) == set(SWEEPS)


def grid(task: Task) -> list[float]:
    """Return log10 of the rates: thirds of a decade in the middle, twice as far in the tails.

    They span the grid of the truth and from a third of a decade to a whole one above it.

    >>> task = Task("any", build=lambda seed: ..., steps=1, low=-5.0, high=-1.0)
    >>> [round(rate, 2) for rate in grid(task)][:3], len(grid(task))
    ([-5.0, -4.33, -4.0], 12)
    """
    middle = (task.low + task.high) / 2
    every = [task.low + k / 3 for k in range(math.ceil((task.high - task.low) * 3) + 3)]
    return [rate for k, rate in enumerate(every) if abs(rate - middle) <= 1.5 or k % 2 == 0]


def _run(job: Job) -> None:
    task, path = TASKS[job.name], recording_path(job.folder, job.name, job.seed)
    found = Recording.read(path)
    problem = task.problem(job.seed)
    batches = list(islice(endless(problem.train_loader), STEPS + EVALUATED // 2))
    fixed = batches[: EVALUATED // 2] + batches[STEPS:]
    for steps in SWEEPS:
        if steps not in found.sweeps:
            found.sweeps[steps] = sweep(task.problem(job.seed), batches[:steps])
            found.write(path)
    for log10_lr in grid(task):
        if not found.has(log10_lr):
            run = train(task.problem(job.seed), 10.0**log10_lr, batches[:STEPS], fixed)
            found.add(log10_lr, *run)
            found.write(path)


def sweep(problem: Problem, batches: Sequence[Pair]) -> Array:
    """Return the losses of a range test with one step per batch; inf after one that is not finite.

    Args:
        problem: not yet trained.
        batches: in the order of training.
    """
    losses = np.full(len(batches), np.inf)
    problem.model.train()
    for step, lr in enumerate(np.geomspace(*SWEEP_RANGE, len(batches)).tolist()):
        set_lr(problem.optimizer, lr)
        losses[step] = update(problem, batches[step])
        if not math.isfinite(losses[step]):
            break
    return losses


def train(
    problem: Problem, lr: float, batches: Sequence[Pair], fixed: Sequence[Pair]
) -> tuple[Array, Array]:
    """Train at a constant rate with one step per batch.

    Args:
        problem: not yet trained.
        lr: learning rate of the parameter group with the largest one, > 0.
        batches: in the order of training.
        fixed: evaluated in evaluation mode after each of `EVALUATIONS` updates.

    Returns:
        The training losses, (batches,), and the evaluations, (evaluations, fixed).
    """
    set_lr(problem.optimizer, lr)
    losses = np.full(len(batches), np.inf)
    evaluations = np.full((len(EVALUATIONS), len(fixed)), np.inf)
    problem.model.train()
    evaluations[0] = _evaluate(problem, fixed)
    for step, batch in enumerate(batches):
        losses[step] = update(problem, batch)
        late = losses[max(0, step + 1 - _DIVERGED_STEPS) : step + 1]
        if not math.isfinite(losses[step]) or (
            step >= 2 * _DIVERGED_STEPS and late.min() > _DIVERGED * abs(losses[0])
        ):
            break
        if step + 1 in EVALUATIONS:
            evaluations[EVALUATIONS.index(step + 1)] = _evaluate(problem, fixed)
    losses[~np.isfinite(losses)] = np.inf
    return losses, evaluations


@torch.no_grad()
def _evaluate(problem: Problem, batches: Sequence[Pair]) -> list[float]:
    problem.model.eval()
    found = [problem.criterion(problem.model(x), y).item() for x, y in batches]
    problem.model.train()
    return [loss if math.isfinite(loss) else math.inf for loss in found]


def recordings(folder: Path, names: Sequence[str]) -> Iterator[tuple[str, int, Recording]]:
    """Yield the name, the seed and the recording of every file that is complete.

    Args:
        folder: where the recordings are.
        names: of tasks.
    """
    for name in names:
        for path in sorted(folder.glob(f"{name}-seed*.npz")):
            seed = int(path.stem.rpartition("seed")[2])
            if is_complete(Job(name, seed, folder)):
                yield name, seed, Recording.read(path)

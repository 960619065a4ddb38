"""What a range test costs beside the bare training loop, ours and the peers' in the same run.

    python tests/benchmarks/cost.py [--rounds 15] [--output data/performance]

Times are ratios to the bare loop (same loader, forward, backward and step) in the same process, by
turns, one thread; the median over the rounds, with its quartiles. Memory is the peak above the bare
loop's in a process of its own, in units of the model's bytes. Rates stay so low that nobody stops.
"""

import argparse
import contextlib
import gc
import importlib.util
import io
import json
import logging
import math
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from datetime import date
from importlib import metadata
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

START, END = 1e-7, 1e-4
BATCH = 64


def tiny():
    return nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)), (64,)


def lenet():
    features = [nn.Conv2d(1, 6, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(6, 16, 5)]
    head = [nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(400, 120), nn.ReLU()]
    return nn.Sequential(*features, *head, nn.Linear(120, 84), nn.ReLU(), nn.Linear(84, 10)), (
        1,
        28,
        28,
    )


class World:
    """A model, its optimizer and loss, and a loader that draws new batches forever."""

    def __init__(self, make):
        torch.manual_seed(0)
        self.model, shape = make()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=START)
        self.criterion = nn.CrossEntropyLoss()
        data = TensorDataset(torch.randn(BATCH * 50, *shape), torch.randint(10, (BATCH * 50,)))
        self.loader = DataLoader(data, BATCH, shuffle=True)

    def bare(self, steps):
        batches = iter(self.loader)
        for _ in range(steps):
            try:
                inputs, targets = next(batches)
            except StopIteration:
                batches = iter(self.loader)
                inputs, targets = next(batches)
            self.optimizer.zero_grad()
            loss = self.criterion(self.model(inputs), targets)
            loss.backward()
            self.optimizer.step()


def ours(world, steps):
    from lrfinder import LRFinder

    finder = LRFinder(world.model, world.optimizer, world.criterion)
    result = finder.range_test(
        world.loader,
        start_lr=START,
        end_lr=END,
        num_iter=steps,
        diverge_th=math.inf,
        progress=False,
    )
    assert len(result) == steps


def torch_lr_finder(world, steps):
    from torch_lr_finder import LRFinder

    finder = LRFinder(world.model, world.optimizer, world.criterion)
    finder.range_test(world.loader, start_lr=START, end_lr=END, num_iter=steps)
    finder.reset()
    # It refuses an optimizer that has met a scheduler, which its own sweep is.
    for group in world.optimizer.param_groups:
        group.pop("initial_lr", None)


def ignite(world, steps):
    from ignite.engine import create_supervised_trainer
    from ignite.handlers import FastaiLRFinder

    trainer = create_supervised_trainer(world.model, world.optimizer, world.criterion)
    finder = FastaiLRFinder()
    saved = {"model": world.model, "optimizer": world.optimizer}
    with finder.attach(trainer, saved, num_iter=steps, start_lr=START, end_lr=END) as swept:
        swept.run(world.loader)


def fastai(world, steps):
    from lrfinder.benchmark import Problem
    from lrfinder.benchmark.peers.fastai import learner_of

    problem = Problem(world.model, world.optimizer, world.criterion, world.loader, world.loader)
    with tempfile.TemporaryDirectory() as folder:
        learner = learner_of(problem, folder)
        with learner.no_bar():
            learner.lr_find(
                start_lr=START, end_lr=END, num_it=steps, stop_div=False, show_plot=False
            )


def lightning(world, steps):
    from lightning.pytorch import Trainer
    from lightning.pytorch.tuner import Tuner

    from lrfinder.benchmark import Problem
    from lrfinder.benchmark.peers.lightning import module_of

    problem = Problem(world.model, world.optimizer, world.criterion, world.loader, world.loader)
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(
            accelerator="cpu",
            default_root_dir=folder,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
        )
        Tuner(trainer).lr_find(
            module_of(problem),
            world.loader,
            min_lr=START,
            max_lr=END,
            num_training=steps,
            early_stop_threshold=None,
        )


FINDERS = {
    "lrfinder": (ours, "lrfinder"),
    "torch-lr-finder": (torch_lr_finder, "torch_lr_finder"),
    "ignite": (ignite, "ignite"),
    "fastai": (fastai, "fastai"),
    "Lightning": (lightning, "lightning"),
}


def installed():
    return {
        name: run for name, (run, module) in FINDERS.items() if importlib.util.find_spec(module)
    }


def seconds(call):
    gc.collect()
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


@contextlib.contextmanager
def quiet():
    logging.getLogger("lightning.pytorch").setLevel(logging.CRITICAL)
    with (
        warnings.catch_warnings(),
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
    ):
        warnings.simplefilter("ignore")
        yield


def ratios(make, steps, rounds):
    """Quartiles of each finder's time over the bare loop's, measured by turns."""
    table = {}
    for name, run in installed().items():
        world, values = World(make), []
        with quiet():
            world.bare(steps)
            run(world, steps)
            for turn in range(rounds):
                pair = [lambda w=world: w.bare(steps), lambda w=world, r=run: r(w, steps)]
                order = (0, 1) if turn % 2 else (1, 0)
                taken = {which: seconds(pair[which]) for which in order}
                values.append(taken[1] / taken[0])
        table[name] = [round(value, 3) for value in statistics.quantiles(values, n=4)]
    return table


_MEMORY = """
import resource, sys, torch
from torch import nn
torch.set_num_threads(1)
width, what = 4096, sys.argv[1]
model = nn.Sequential(*(nn.Linear(width, width, bias=False) for _ in range(4)))
optimizer = torch.optim.SGD(model.parameters(), lr=1e-7)
batches = [(torch.randn(8, width), torch.randn(8, width))] * 3
loss = nn.MSELoss()
if what == "bare":
    for inputs, targets in batches:
        optimizer.zero_grad()
        loss(model(inputs), targets).backward()
        optimizer.step()
else:
    from lrfinder import LRFinder
    LRFinder(model, optimizer, loss, snapshot=what).range_test(
        batches, start_lr=1e-7, end_lr=1e-6, num_iter=3, progress=False)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024)
"""


def memory(repeats=3):
    """Peak above the bare loop's, over the bytes of a model of 64 M parameters."""
    size = 4 * 4096**2 * 4

    def peak(what):
        with tempfile.TemporaryDirectory() as folder:
            script = Path(folder) / "peak.py"
            script.write_text(_MEMORY)
            return statistics.median(
                int(subprocess.check_output([sys.executable, str(script), what]))
                for _ in range(repeats)
            )

    bare = peak("bare")
    return {what: round((peak(what) - bare) / size, 3) for what in ("memory", "disk")}


def import_ratio(rounds=11):
    """Median time of a process that imports lrfinder over one that imports torch."""

    def once(module):
        return seconds(lambda: subprocess.check_call([sys.executable, "-c", f"import {module}"]))

    once("torch"), once("lrfinder")
    return round(statistics.median(once("lrfinder") / once("torch") for _ in range(rounds)), 3)


def page(found):
    lines = [
        "# What a range test costs",
        "",
        "Made by `python tests/benchmarks/cost.py`; [cost.json](cost.json) has the same numbers.",
        "",
        f"{found['date']}, {found['machine']}, {', '.join(found['versions'])}.",
        "",
        "Time of the whole range test over that of the bare loop: lower quartile / **median** /",
        f"upper quartile of {found['rounds']} rounds, one thread.",
        "",
        "| finder | 64-32-10 MLP, 300 steps | LeNet on 28x28, 100 steps |",
        "| --- | --- | --- |",
    ]
    for name in found["tiny"]:
        cells = ("{} / **{}** / {}".format(*found[world][name]) for world in ("tiny", "lenet"))
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += [
        "",
        "| what | measured | target |",
        "| --- | --- | --- |",
        f"| MLP, whole range test / bare loop | {found['tiny']['lrfinder'][1]} | 1.05 |",
        f"| LeNet, whole range test / bare loop | {found['lenet']['lrfinder'][1]} | 1.01 |",
        f"| peak above the bare loop in model bytes, memory | {found['memory']['memory']} | 1.02 |",
        f"| the same, disk | {found['memory']['disk']} | 0.05 |",
        f"| `import lrfinder` / `import torch` | {found['import']} | 1.10 |",
    ]
    return "\n".join(lines) + "\n"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--output", type=Path, default=Path("data/performance"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    packages = ("torch", "torch-lr-finder", "pytorch-ignite", "fastai", "lightning")
    present = {d.metadata["Name"] for d in metadata.distributions()}
    found = {
        "date": date.today().isoformat(),
        "machine": f"{os.cpu_count()} cores, no GPU, {platform.system()} {platform.machine()}",
        "versions": [f"{p} {metadata.version(p)}" for p in packages if p in present],
        "rounds": arguments.rounds,
        "tiny": ratios(tiny, 300, arguments.rounds),
        "lenet": ratios(lenet, 100, arguments.rounds),
        "memory": memory(),
        "import": import_ratio(),
    }
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "cost.json").write_text(json.dumps(found, indent=1) + "\n")
    (arguments.output / "README.md").write_text(page(found))
    sys.stdout.write(page(found))


if __name__ == "__main__":
    main()

"""Memory, imports and reads of a device: what is measured in processes of their own.

python -m tests.benchmarks.footprint peak <finder> (bare|run)
python -m tests.benchmarks.footprint reads <finder>
"""

from __future__ import annotations

import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from tests.benchmarks.finders import PACKAGES, installed, quiet, range_test
from tests.benchmarks.workloads import large, tiny


def memory() -> dict[str, float]:
    """Return each finder's peak above that of the bare loop, in units of the model's bytes.

    The bare loop runs in a process that has imported the same finder.
    """
    size = sum(p.numel() * p.element_size() for p in large().model.parameters())

    def peak(name: str, what: str) -> float:
        return float(_child("peak", name, what))

    return {name: (peak(name, "run") - peak(name, "bare")) / size for name in installed()}


def reads() -> dict[str, float]:
    """Return how many tensors each finder reads in a step, for which a device is waited for.

    Ours reads its losses as it does on an accelerator.
    """
    return {name: float(_child("reads", name)) for name in installed() if "disk" not in name}


def imports(rounds: int = 7) -> dict[str, list[float]]:
    """Return the processor time of each import over that of `import torch`, in each round."""
    modules = dict.fromkeys(PACKAGES[name][1] for name in installed())
    times: dict[str, list[float]] = {module: [] for module in ("torch", *modules)}
    for _ in range(rounds + 1):
        for module, taken in times.items():
            code = f"import time; t = time.process_time(); import {module}"
            taken.append(float(_python("-c", f"{code}; print(time.process_time() - t)")))
    _, *of_torch = times["torch"]  # the first round reads the files from disk
    return {
        module: [own / other for own, other in zip(times[module][1:], of_torch, strict=True)]
        for module in modules
    }


def _child(*arguments: str) -> str:
    return _python("-m", __spec__.name, *arguments)


def _python(*arguments: str) -> str:
    return subprocess.run(
        [sys.executable, *arguments], check=True, capture_output=True, text=True
    ).stdout


def _peak(name: str, what: str) -> int:
    workload = large()
    with quiet():
        run = range_test(name, workload)
        run() if what == "run" else workload.bare()
    # A child's ru_maxrss begins with what its parent had; this does not.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    line = next(line for line in status.splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


class _CountReads(TorchDispatchMode):
    def __init__(self) -> None:
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        self.count += func is torch.ops.aten._local_scalar_dense.default
        return func(*args, **(kwargs or {}))


class _Arrived:
    """The event of a copy that is there already."""

    def query(self) -> bool:
        return True

    def synchronize(self) -> None:
        pass


def _late(_: torch.device) -> Any:
    """Return the reader of an accelerator, with a copy that needs none."""
    from lrfinder._sweep.readback import DelayedReader

    return DelayedReader(lambda scalars: (torch.stack(list(scalars)).double(), _Arrived()))


def _reads(name: str) -> float:
    # The patch refuses a name that is not there.
    read_late = patch("lrfinder._sweep.communicator.reader_for", _late)
    counts = []
    for steps in (10, 30):
        run = range_test(name, tiny(torch.optim.SGD, steps))
        with quiet(), read_late if name == "lrfinder" else nullcontext(), _CountReads() as counter:
            run()
        counts.append(counter.count)
    return (counts[1] - counts[0]) / 20


if __name__ == "__main__":
    torch.set_num_threads(1)
    sys.stdout.write(str({"peak": _peak, "reads": _reads}[sys.argv[1]](*sys.argv[2:])))

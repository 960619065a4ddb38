"""Runs every test that needs a CUDA device, measures the cost there, and writes it down.

    python -m tests.gpu [data/performance/gpu.md]

Without a CUDA device it says so, and neither runs nor writes anything.
"""

import statistics
import subprocess
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path

import torch

from tests.gpu.cost import SETTLED, STEPS, TRAININGS, Cost, measure
from tests.gpu.helpers import NO_DEVICE

PAGE = """\
# Overhead on a GPU compared with a plain training loop

Made by `python -m tests.gpu`, {date}: {device}, torch {torch}, CUDA {cuda}.

{tests}

{head}
{rows}

Both loops run the same batches, forward, backward and optimizer step, in {rounds} turns of {steps}
steps, either of them first in every other round. A step is timed on the device, from the beginning
of step {settled} to that of the last; **medians** of the rounds, in brackets their quartiles.
Capture and restore is what a range test takes before its first step and after its last, whatever
its length. No gradients are left from before where the peaks are measured.
"""
HEAD = [
    "training",
    "parameters",
    "step, bare loop",
    "step, range test",
    "ratio",
    "peak memory, bare loop",
    "peak memory, range test",
    "ratio",
    "capture and restore",
]
ROUNDS = 10


def main() -> int:
    """Run the tests and the measurements; return 0 if every test passed."""
    if not torch.cuda.is_available():
        sys.stdout.write(f"{NO_DEVICE}: nothing was run\n")
        return 0
    page = Path(sys.argv[1] if len(sys.argv) > 1 else "data/performance/gpu.md")
    command = [sys.executable, "-m", "pytest", "-rs", "tests/gpu", "tests/snapshot"]
    tests = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    sys.stdout.write(tests.stdout)
    if tests.returncode:
        return tests.returncode
    summary = tests.stdout.strip().splitlines()[-1].strip("= ")
    costs = {name: measure(make, ROUNDS) for name, make in TRAININGS.items()}
    page.write_text(
        PAGE.format(
            date=datetime.now(timezone.utc).date().isoformat(),
            device=torch.cuda.get_device_name(),
            torch=torch.__version__,
            cuda=torch.version.cuda,
            tests=f"`pytest tests/gpu tests/snapshot`: {summary}.",
            head=f"| {' | '.join(HEAD)} |\n{'|---' * len(HEAD)}|",
            rows="\n".join(row(name, cost) for name, cost in costs.items()),
            rounds=ROUNDS,
            steps=STEPS,
            settled=SETTLED + 1,
        ),
        encoding="utf-8",
    )
    sys.stdout.write(f"{page.read_text(encoding='utf-8')}\nwrote {page}\n")
    return 0


def row(name: str, cost: Cost) -> str:
    """Return what was measured as a row of the table."""
    cells = [
        name,
        f"{cost.parameters / 1e6:.0f} million",
        f"{1e3 * statistics.median(cost.bare_steps):.2f} ms",
        f"{1e3 * statistics.median(cost.steps):.2f} ms",
        _quartiles(cost.ratios, digits=3),
        f"{cost.bare_peak / 2**30:.2f} GiB",
        f"{cost.peak / 2**30:.2f} GiB",
        f"**{cost.peak / cost.bare_peak:.3f}**",
        f"{_quartiles(cost.once, digits=2)} s",
    ]
    return f"| {' | '.join(cells)} |"


def _quartiles(values: Sequence[float], digits: int) -> str:
    low, median, high = statistics.quantiles(values, n=4)
    return f"**{median:.{digits}f}** ({low:.{digits}f} to {high:.{digits}f})"


if __name__ == "__main__":
    sys.exit(main())

"""Overhead compared with a plain training loop: of our range test and of the other finders.

    python -m tests.benchmarks.cost [--rounds 8] [--launches 5] [--output data/performance]

Times are ratios to the bare loop (same loader, forward, backward and step) in the same process, by
turns, one thread, of the whole range test with keeping and restoring the state, by the clock. The
medians of every process, also of processor time, are in the JSON file beside the page.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
from tests.benchmarks.finders import PACKAGES, installed, versions
from tests.benchmarks.footprint import imports, memory, reads
from tests.benchmarks.turns import medians
from tests.benchmarks.workloads import TIMED, verdict

PAGE = """\
# Overhead compared with a plain training loop and with other finders

Made by `python -m tests.benchmarks.cost --rounds {rounds} --launches {launches}`;
[cost.json](cost.json) has the same numbers and more.

{date}, {machine}; {versions}.

## Time

Wall-clock time of the whole range test, snapshot included, divided by that of a plain training loop
with the same loader and step, the bare loop. Each cell is the **median** over {launches} processes,
with their range; each process takes the median of {rounds} pairs of runs. One thread, batches of 64
from a shuffling `DataLoader`. Trainers that a library needs were created before the clock started.
Only `recommend` also computes a suggestion.

{times}

`lrfinder, recommend` is the whole of `recommend`: its time per step over that of the bare loop.

## Memory, imports, waiting

- Memory: peak above that of the bare loop, 64 million parameters, in units of the model's bytes.
  fastai always writes its copy to a file.
- Import: processor time over that of `import torch`, in fresh processes, with the range over them.
- Reads: tensors turned into numbers in each step, for each of which the host waits for a device.

{others}

## Against the targets

{targets}

"Undecided" means that the range of the measurements includes the target.
"""


def measure(rounds: int, launches: int) -> dict[str, Any]:
    """Measure everything there is a number for."""
    names = [name for name in installed() if "disk" not in name]
    names.insert(1, "lrfinder, recommend")

    def of_launches(what: str, name: str) -> dict[str, Sequence[float]]:
        clock, processor = zip(*medians(what, name, rounds, launches), strict=True)
        return {"clock": clock, "processor": processor}

    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, no GPU used, {platform.system()} {platform.machine()}",
        "versions": versions(),
        "rounds": rounds,
        "launches": launches,
        "times": {what: {name: of_launches(what, name) for name in names} for what in TIMED},
        "memory": memory(),
        "import": imports(),
        "reads": reads(),
    }


def page(found: dict[str, Any]) -> str:
    """Return what was measured as a page."""
    names = list(next(iter(found["times"].values())))
    times = [
        [name, *(_cell(kinds[name]["clock"]) for kinds in found["times"].values())]
        for name in names
    ]
    others = [["finder", "memory", "import", "reads"]]
    for name, peak in found["memory"].items():
        imported, reads = found["import"].get(PACKAGES[name][1]), found["reads"].get(name)
        last = "" if reads is None else f"{reads:.2f}"
        others.append([name, f"{peak:.2f}", _cell(imported, digits=2) if imported else "", last])
    return PAGE.format(
        date=found["date"],
        machine=found["machine"],
        versions=", ".join(f"{name} {number}" for name, number in found["versions"].items()),
        rounds=found["rounds"],
        launches=found["launches"],
        times=_table([["finder", *found["times"]], *times]),
        others=_table(others),
        targets=_table([["what", "measured", "target", "verdict"], *_targets(found)]),
    )


def _targets(found: dict[str, Any]) -> list[list[str]]:
    mlp, _, lenet = (times["lrfinder"]["clock"] for times in found["times"].values())
    confirmed = [times["lrfinder, recommend"]["clock"] for times in found["times"].values()]
    return [
        _target("MLP, Adam, 300 steps: range test / bare loop", mlp, 1.05),
        _target("LeNet, Adam, 100 steps: range test / bare loop", lenet, 1.01),
        _target(
            "`recommend` / bare loop, the largest of the three",
            max(confirmed, key=statistics.median),
            1.05,
        ),
        _target("peak memory above the bare loop", [found["memory"]["lrfinder"]], 1.02),
        _target("the same, on disk", [found["memory"]["lrfinder, on disk"]], 0.05),
        _target("`import lrfinder` / `import torch`", found["import"]["lrfinder"], 1.1),
        _target("reads in each step", [found["reads"]["lrfinder"]], 0),
    ]


def _target(what: str, values: Sequence[float], target: float) -> list[str]:
    return [what, _cell(values), f"{target:g}", verdict(values, target)]


def _cell(values: Sequence[float], digits: int = 3) -> str:
    """Return the median of some measurements, and their range if there are several."""
    median = f"**{statistics.median(values):.{digits}f}**"
    if len(values) == 1:
        return median
    return f"{median} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def _table(rows: list[list[str]]) -> str:
    lines = [f"| {' | '.join(row)} |" for row in rows]
    lines.insert(1, "|---" * len(rows[0]) + "|")
    return "\n".join(lines)


def main() -> None:
    """Measure and write the page and the numbers behind it."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=8, help="pairs of turns in a process")
    parser.add_argument("--launches", type=int, default=5, help="processes for each ratio")
    parser.add_argument("--output", type=Path, default=Path("data/performance"))
    arguments = parser.parse_args()
    os.environ["TQDM_DISABLE"] = "1"  # no bar in the processes that measure
    found = measure(arguments.rounds, arguments.launches)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "cost.json").write_text(json.dumps(found, indent=1) + "\n")
    (arguments.output / "README.md").write_text(page(found))
    sys.stdout.write(page(found))


if __name__ == "__main__":
    main()

"""What a range test costs beside the bare training loop, ours and the others' in the same run.

    python -m tests.benchmarks.cost [--rounds 8] [--launches 5] [--output data/performance]

Times are ratios to the bare loop (same loader, forward, backward and step) in the same process, by
turns, one thread, of the whole range test with keeping and restoring the state, by the clock; the
ratios of processor time are in the JSON file beside it.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

os.environ["OMP_NUM_THREADS"] = "1"
from tests.benchmarks.finders import PACKAGES, installed, versions
from tests.benchmarks.footprint import imports, memory, reads
from tests.benchmarks.turns import ratios
from tests.benchmarks.workloads import TIMED

PAGE = """\
# What a range test costs

Made by `python -m tests.benchmarks.cost`; [cost.json](cost.json) has the same numbers and more.

{date}, {machine}; {versions}.

## Time

The whole range test (keeping and restoring the state included) over the bare loop with the same
loader, forward, backward and step, by the clock: **median** of {rounds} pairs of turns in each of
{launches} processes, with the quartiles. One thread, batches of 64 from a shuffling `DataLoader`.

{times}

`lrfinder, recommend` is the whole of `recommend`, step for step over the bare loop. The LeNet's
quartiles are wide because its tensors have the size at which glibc, in some processes
and not in others, gives memory back to the system in every step: in the bare loop as in the range
test.

## Memory, imports, waiting

- Memory: peak above that of the bare loop, 64 million parameters, in units of the model's bytes.
  fastai writes to a file always.
- Import: processor time over that of `import torch`, in fresh processes.
- Reads: tensors turned into numbers in each step, for each of which the host waits for a device.

{others}

## Against the targets

{targets}
"""


def measure(rounds: int, launches: int) -> dict[str, Any]:
    """Measure everything there is a number for."""
    names = [name for name in installed() if "disk" not in name]
    names.insert(1, "lrfinder, recommend")

    def quartiles(what: str, name: str) -> dict[str, list[float]]:
        clock, processor = zip(*ratios(what, name, rounds, launches), strict=True)
        return {
            "clock": statistics.quantiles(clock, n=4),
            "processor": statistics.quantiles(processor, n=4),
        }

    return {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": f"{os.cpu_count()} cores, no GPU used, {platform.system()} {platform.machine()}",
        "versions": versions(),
        "rounds": rounds,
        "launches": launches,
        "times": {what: {name: quartiles(what, name) for name in names} for what in TIMED},
        "memory": memory(),
        "import": imports(),
        "reads": reads(),
    }


def page(found: dict[str, Any]) -> str:
    """Return what was measured as a page."""
    names = list(next(iter(found["times"].values())))
    times = [["finder", *found["times"]]]
    for name in names:
        quartiles = [found["times"][what][name]["clock"] for what in found["times"]]
        times.append([name, *("**{1:.3f}** ({0:.3f} to {2:.3f})".format(*q) for q in quartiles)])
    others = [["finder", "memory", "import", "reads"]]
    for name, peak in found["memory"].items():
        cells = (found["import"].get(PACKAGES[name][1]), found["reads"].get(name))
        others.append([name, f"{peak:.2f}", *("" if c is None else f"{c:.2f}" for c in cells)])
    return PAGE.format(
        date=found["date"],
        machine=found["machine"],
        versions=", ".join(f"{name} {number}" for name, number in found["versions"].items()),
        rounds=found["rounds"],
        launches=found["launches"],
        times=_table(times),
        others=_table(others),
        targets=_table([["what", "measured", "target"], *_targets(found)]),
    )


def _targets(found: dict[str, Any]) -> list[list[str]]:
    mlp, _, lenet = (times["lrfinder"]["clock"][1] for times in found["times"].values())
    confirmed = [times["lrfinder, recommend"]["clock"][1] for times in found["times"].values()]
    return [
        ["MLP, Adam, 300 steps: range test / bare loop", f"{mlp:.3f}", "1.05"],
        ["LeNet, Adam, 100 steps: range test / bare loop", f"{lenet:.3f}", "1.01"],
        ["`recommend` / bare loop, the largest of the three", f"{max(confirmed):.3f}", "1.05"],
        ["peak memory above the bare loop", f"{found['memory']['lrfinder']:.3f}", "1.02"],
        ["the same, on disk", f"{found['memory']['lrfinder, on disk']:.3f}", "0.05"],
        ["`import lrfinder` / `import torch`", f"{found['import']['lrfinder']:.3f}", "1.10"],
        ["reads in each step", f"{found['reads']['lrfinder']:.0f}", "0"],
    ]


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
    found = measure(arguments.rounds, arguments.launches)
    arguments.output.mkdir(parents=True, exist_ok=True)
    (arguments.output / "cost.json").write_text(json.dumps(found, indent=1) + "\n")
    (arguments.output / "README.md").write_text(page(found))
    sys.stdout.write(page(found))


if __name__ == "__main__":
    main()

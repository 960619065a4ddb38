"""`python -m tests.benchmarks.suggestions`, run from the root of a checkout."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.suggestions.alternatives import ALTERNATIVES, measure_alternatives
from tests.benchmarks.suggestions.finders import NAMES
from tests.benchmarks.suggestions.grid import compute
from tests.benchmarks.suggestions.lab import record
from tests.benchmarks.suggestions.measure import SWEEP, measure
from tests.benchmarks.suggestions.report import report
from tests.benchmarks.suggestions.tasks import DEVELOPMENT, HELD_OUT, TASKS

_STORED = Path("data/benchmark")
_LAB = Path(".lab")
_STAGES = """\
stages:
  truth         train every task at every rate of its grid (hours)
  suggest       ask every finder for a rate, and record plain range tests
  alternatives  train every task with optimizers that are given no rate
  report        write README.md and the pictures from what is stored
  lab           record every step of many rates, to try searches on (hours)

Without a stage: suggest, alternatives, report. What is stored is kept, so a stopped command goes
on where it was.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark's command line.

    Args:
        argv: the arguments; those of the process by default.
    """
    parser = _parser()
    given = parser.parse_args(argv)
    parts = {"development": DEVELOPMENT, "held-out": HELD_OUT}
    names = given.tasks or parts.get(given.part, list(TASKS))
    stages = [given.stage] if given.stage else ["suggest", "alternatives", "report"]
    _check(parser, given, stages)
    folder = given.output or (_LAB if given.stage == "lab" else _STORED)
    for stage in stages:
        if stage == "truth":
            compute(names, folder, given.workers, given.seeds, given.lengths, given.courses)
        elif stage == "suggest":
            measure(names, folder, given.workers, given.again, given.finders)
        elif stage == "alternatives":
            measure_alternatives(names, folder, given.workers, given.seeds, given.again)
        elif stage == "report":
            report(names, folder)
        else:
            record(names, folder, given.workers, given.seeds)


def _check(parser: argparse.ArgumentParser, given: argparse.Namespace, stages: list[str]) -> None:
    if "report" in stages and (given.tasks or given.part) and not given.output:
        parser.error("a report on some of the tasks replaces the one on all: give an --output")
    known = {"suggest": (SWEEP, *NAMES), "alternatives": tuple(ALTERNATIVES)}
    asked = {name for stage in stages for name in known.get(stage, ())}
    if unknown := set(given.again) - asked:
        parser.error(
            f"--again: {', '.join(stages)} asks nothing named {', '.join(sorted(unknown))}"
        )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m tests.benchmarks.suggestions",
        description="Measures what suggested learning rates train to, against every other rate.",
        epilog=_STAGES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    stages = ("truth", "suggest", "alternatives", "report", "lab")
    add("stage", nargs="?", choices=stages, help="do this part alone")
    chosen = parser.add_mutually_exclusive_group().add_argument
    chosen("--tasks", nargs="+", choices=TASKS, metavar="TASK", help="(default: all)")
    chosen("--part", choices=("development", "held-out"), help="tasks of one part alone")
    add("--output", type=Path, metavar="FOLDER", help=f"(default: {_STORED}; {_LAB} for lab)")
    add("--workers", type=int, default=2, help="processes of one thread each (default: 2)")
    add("--seeds", type=int, default=3, help="of truth, alternatives and lab (default: 3)")
    add(
        "--lengths", type=int, nargs="+", choices=(1, 4), default=[1, 4],
        help="of truth: multiples of each task's steps (default: both)",
    )  # fmt: skip
    add(
        "--courses", action="store_true",
        help="of truth: train again where only the final loss is stored, not ten points",
    )  # fmt: skip
    add(
        "--again", nargs="+", default=[], metavar="NAME",
        help='ask these finders anew, such as recommend; "sweep" for the range tests',
    )  # fmt: skip
    add(
        "--finders", nargs="+", default=[], choices=(SWEEP, *NAMES), metavar="NAME",
        help='of suggest: ask these alone; "sweep" for the range tests (default: all)',
    )  # fmt: skip
    return parser


if __name__ == "__main__":
    main()

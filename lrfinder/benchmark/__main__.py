"""`python -m lrfinder.benchmark`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lrfinder.benchmark._grid import compute


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark's command line.

    Args:
        argv: the arguments; those of the process by default.
    """
    arguments = _parser().parse_args(argv)
    arguments.run(arguments)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="lrfinder benchmark")
    commands = parser.add_subparsers(required=True)
    truth = commands.add_parser("truth", help="train every task at every rate of its grid")
    truth.add_argument("tasks", nargs="*", metavar="TASK", help="a name or mytask.py:task")
    truth.add_argument("--output", type=Path, default=Path("data/benchmark"))
    truth.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    truth.add_argument("--seeds", type=int, default=3, help="runs per rate (default: 3)")
    truth.set_defaults(run=_truth)
    return parser


def _truth(arguments: argparse.Namespace) -> None:
    from lrfinder.benchmark.tasks import TASKS

    specs = arguments.tasks or list(TASKS)
    compute(specs, arguments.output, arguments.workers, arguments.seeds)


if __name__ == "__main__":
    main()

"""The command line: `lrfinder demo`, `run`, `plot`, `schedule`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lrfinder._errors import LRFinderError
from lrfinder._version import __version__
from lrfinder.cli import demo, plot, run
from lrfinder.cli.errors import UsageError
from lrfinder.schedules import _command as schedule

_EXAMPLES = """\
examples:
  lrfinder demo                      a range test on real images, with nothing to prepare
  lrfinder run train.py:setup        one on what the function setup() in train.py returns
  lrfinder plot lr_finder.json       the picture of a saved result
  lrfinder COMMAND --help            everything about a command

exit status: 0 done, 1 failed, 2 wrong usage
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    What the user's own code raises is not caught: its traceback is what they need.

    Args:
        argv: the arguments; those of the process by default.

    Returns:
        0 done, 1 failed. Wrong usage leaves by `SystemExit(2)`, as argparse has it.
    """
    given = list(sys.argv[1:] if argv is None else argv)
    try:
        return _run(given)
    except LRFinderError as error:
        print(f"lrfinder: error: {error}", file=sys.stderr)
        return 1


def _run(argv: Sequence[str]) -> int:
    arguments = _parser().parse_args(argv)
    try:
        status: int | None = arguments.run(arguments)
    except UsageError as error:
        status = arguments.wrong_usage(str(error))  # argparse ends the process with 2
    return status or 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lrfinder",
        description="Finds a learning rate for a PyTorch model by a range test.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lrfinder {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (demo, run, plot, schedule):
        command.add_parser(commands)
    return parser

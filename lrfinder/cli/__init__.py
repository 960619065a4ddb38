"""The command `lrfinder`: it searches for a learning rate, prints it and writes the sweep to files.

It may import the whole library, and nothing imports it. Read `run.py` first (the subcommand for
your own model), then `_search.py` (what `run` and `demo` share), `demo.py` with its task in
`demo_task.py`, `plot.py`, and `_output.py` (what is printed and where files go).
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from lrfinder._errors import LRFinderError
from lrfinder._version import __version__
from lrfinder.cli import demo, plot, run
from lrfinder.cli._output import UsageError, flush

_EXAMPLES = """\
examples:
  lrfinder demo                      try it on real images; nothing to prepare
  lrfinder run train.py:setup        use the model and data that setup() in train.py returns
  lrfinder plot lr_finder.json       draw a saved result
  lrfinder COMMAND --help            show all options of a command

exit status: 0 success, 1 failure, 2 wrong usage, 130 interrupted by Ctrl-C
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status.

    Exceptions of the user's own code are not caught, so that their traceback is shown.

    Args:
        argv: the arguments; None for those of the process.

    Returns:
        0 for success, 1 for a failure, 130 after Ctrl-C.

    Raises:
        SystemExit: with status 2 for wrong usage, and with 0 after `--help` and `--version`.
    """
    parser = _parser()
    try:
        try:
            arguments = parser.parse_args(argv)
        except BrokenPipeError:  # the reader of `--help` has gone; some versions of argparse raise
            return 0
        try:
            arguments.run(arguments)
        except UsageError as error:
            arguments.parser.error(str(error))
    except LRFinderError as error:
        print(f"lrfinder: error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nlrfinder: interrupted", file=sys.stderr)
        return 130
    finally:
        flush()
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lrfinder",
        description="Finds a learning rate for a PyTorch model.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"lrfinder {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    for command in (demo, run, plot):
        command.add_parser(commands)
    return parser

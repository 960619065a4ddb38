"""`lrfinder plot`: the picture of a saved result."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lrfinder._result import RangeTestResult
from lrfinder.cli.errors import CommandError, UsageError
from lrfinder.cli.report import draw

_EXAMPLES = """\
examples:
  lrfinder plot lr_finder.json
  lrfinder plot lr_finder.json --output curve.svg
"""


def add_parser(commands: Any) -> None:
    """Add the command to those of `lrfinder`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "plot",
        help="draw a saved result",
        description="Draws a result that the other commands or RangeTestResult.save wrote.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("result", type=Path, metavar="RESULT.json", help="the saved result")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="picture to write; its suffix chooses the format: png, svg, pdf and what else "
        "matplotlib writes (default: RESULT.png)",
    )
    parser.set_defaults(run=run, wrong_usage=parser.error)


def run(arguments: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        UsageError: if matplotlib does not write pictures of that suffix.
        CommandError: if a file cannot be read or written.
        ResultFileError: if the file is not a result.
    """
    output = arguments.output or arguments.result.with_suffix(".png")
    _check_suffix(output)
    try:
        result = RangeTestResult.load(arguments.result)
    except OSError as error:
        raise CommandError(f"could not read {arguments.result}: {error.strerror}") from None
    draw(result, output)
    print(f"Files: {output}")


def _check_suffix(output: Path) -> None:
    from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    if output.suffix[1:].lower() not in known:
        raise UsageError(
            f"expected a suffix out of {', '.join(sorted(known))}, got {str(output)!r}"
        )

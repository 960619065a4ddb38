"""`lrfinder plot`: draw a saved result."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from lrfinder import _export
from lrfinder._recommend import Recommendation, recommendation
from lrfinder._result import RangeTestResult
from lrfinder.cli._output import CommandError, UsageError, check_file, draw, say, without_mplbackend

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
        description="Draws what another command, or the save method of a result or of a "
        "recommendation, has written.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("result", type=Path, metavar="RESULT.json", help="the saved result")
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        help="picture to write; its suffix chooses the format: png, svg, pdf or another that "
        "matplotlib can write (default: RESULT.png)",
    )
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    if arguments.result.is_dir():
        raise UsageError(f"{arguments.result} is a directory; name a saved result in it")
    output = arguments.output or arguments.result.with_suffix(".png")
    check_file(output)
    _check_suffix(output)
    try:
        has_trials = _export.format_of(arguments.result) == recommendation.FORMAT
        kind = Recommendation if has_trials else RangeTestResult
        found = kind.load(arguments.result)
    except OSError as error:
        raise CommandError(f"could not read {arguments.result}: {error.strerror}") from None
    draw(found, output)
    say(f"Files: {output}")


def _check_suffix(output: Path) -> None:
    with without_mplbackend():
        from matplotlib.backend_bases import FigureCanvasBase

    known = FigureCanvasBase.get_supported_filetypes()
    if output.suffix[1:].lower() not in known:
        raise UsageError(
            f"the picture {output} must end in one of {', '.join(sorted(known))}, after a dot"
        )

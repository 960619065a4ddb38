"""`python -m lrfinder.benchmark`, which is `lrfinder benchmark`."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

from lrfinder._errors import InvalidInputError
from lrfinder.benchmark._grid import compute
from lrfinder.benchmark._measure import measure
from lrfinder.benchmark._report import report
from lrfinder.benchmark.tasks import TASKS

_SHIPPED = Path("data/benchmark")
_OWN = Path("lrfinder-benchmark")
_STAGES = ("truth", "suggest", "report")
_EXAMPLES = """\
examples:
  lrfinder benchmark                  shipped tasks: ask every finder, report on the stored truth
  lrfinder benchmark mytask.py:task   a task of your own with its truth, in lrfinder-benchmark/
  lrfinder benchmark truth            only train every shipped task at every rate (hours)

Whatever is stored already is kept, so a stopped command goes on where it was.
"""


def main(argv: Sequence[str] | None = None) -> None:
    """Run the benchmark's command line.

    Args:
        argv: the arguments; those of the process by default.
    """
    arguments = _parser().parse_args(argv)
    stage, tasks = _stage_and_tasks(arguments.what)
    own = [spec for spec in tasks if spec not in TASKS]
    specs = tasks or list(TASKS)
    folder = arguments.output or (_OWN if own else _SHIPPED)
    if stage is None and not own:
        _check_truth(folder)
    if stage == "truth" or (stage is None and own):
        compute(specs, folder, arguments.workers, arguments.seeds)
    if stage in ("suggest", None):
        measure(specs, folder, arguments.workers, arguments.again)
    if stage in ("report", None):
        report(specs, folder)


def _check_truth(folder: Path) -> None:
    if not (folder / "truth").is_dir():
        raise InvalidInputError(
            f"expected the stored truth in {folder / 'truth'}, got none; run this in a checkout of "
            "lrfinder, give --output, or compute it by `lrfinder benchmark truth` (hours)"
        )


def _stage_and_tasks(what: list[str]) -> tuple[str | None, list[str]]:
    return (what[0], what[1:]) if what[:1] and what[0] in _STAGES else (None, what)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="lrfinder benchmark",
        description="Measures what suggested learning rates train to, against every other rate.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "what",
        nargs="*",
        metavar="TASK",
        help="a shipped task's name or mytask.py:task (default: every shipped task); "
        "truth, suggest or report before it does that part alone",
    )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FOLDER",
        help=f"(default: {_SHIPPED}; {_OWN} with a task of your own)",
    )
    parser.add_argument("--workers", type=int, default=2, help="processes (default: 2)")
    parser.add_argument("--seeds", type=int, default=3, help="of the truth (default: 3)")
    parser.add_argument(
        "--again",
        nargs="+",
        default=[],
        metavar="NAME",
        help='ask these finders anew, such as recommend; "sweep" for the range tests',
    )
    return parser


if __name__ == "__main__":
    main()

"""What `demo` and `run` share: their options, the range test, and the report."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from lrfinder._distributed.rank import is_main_process
from lrfinder._finder import LRFinder
from lrfinder._result import RangeTestResult
from lrfinder.cli._output import CommandError, UsageError, check_directory, draw, say

_PICTURE = "lr_finder.png"
_NUMBERS = "lr_finder.json"
_MOST_STEPS = 1_000_000


def add_options(parser: argparse.ArgumentParser, end_lr: str = "10") -> None:
    """Add the options of the range test and of its files.

    Args:
        parser: parser of the command.
        end_lr: text of the help for the default of `--end-lr`; the command sets the default.
    """
    sweep = parser.add_argument_group("range test")
    sweep.add_argument(
        "--start-lr",
        type=_rate,
        default=1e-7,
        metavar="RATE",
        help="first learning rate (default: 1e-7)",
    )
    sweep.add_argument(
        "--end-lr", type=_rate, metavar="RATE", help=f"last learning rate (default: {end_lr})"
    )
    sweep.add_argument(
        "--num-iter",
        type=_steps,
        default=100,
        metavar="N",
        help="number of optimizer steps, each with its own learning rate (default: 100)",
    )
    sweep.add_argument(
        "--step-mode",
        choices=("exp", "linear"),
        default="exp",
        help="exp multiplies the rate by a constant at each step, linear adds one (default: exp)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(),
        metavar="DIR",
        help=f"directory for {_PICTURE} and {_NUMBERS}, created if missing (default: the current "
        "directory)",
    )


def check_options(arguments: argparse.Namespace) -> None:
    """Check what can be checked before the model is built.

    Raises:
        UsageError: if the rates do not rise, or the output cannot be a directory.
        CommandError: if the directory cannot be written to.
    """
    if not arguments.start_lr < arguments.end_lr:
        raise UsageError(
            f"--start-lr must be below --end-lr, got {arguments.start_lr:g} and "
            f"{arguments.end_lr:g}"
        )
    check_directory(arguments.output, _PICTURE, _NUMBERS)


def sweep(
    finder: LRFinder,
    train_loader: Iterable[Any],
    val_loader: Iterable[Any] | None,
    arguments: argparse.Namespace,
) -> None:
    """Run the range test, print the suggestion and its reason, and write the files.

    Args:
        finder: holds the model.
        train_loader: as for `LRFinder.range_test`.
        val_loader: as for `LRFinder.range_test`.
        arguments: the parsed options.

    Raises:
        NoSuggestionError: if no rate can be read from the curve; the files are written first.
        CommandError: if the files cannot be written; the rate is printed first.
    """
    result = finder.range_test(
        train_loader,
        val_loader,
        start_lr=arguments.start_lr,
        end_lr=arguments.end_lr,
        num_iter=arguments.num_iter,
        step_mode=arguments.step_mode,
    )
    if not is_main_process():
        return
    try:
        say(_report(result))
    finally:
        _write(result, arguments.output)


def _report(result: RangeTestResult) -> str:
    suggestion = result.suggest()
    lines = [
        ("Suggested lr:", f"{suggestion.lr:.2e}"),
        ("Why:", f"{suggestion.why} (rule: {suggestion.method})"),
        ("Cyclic bounds:", f"{suggestion.min_lr:.2e} to {suggestion.max_lr:.2e}"),
        (
            "Sweep:",
            f"{len(result)} steps from {result.lr[0]:.1e} to {result.lr[-1]:.1e}. "
            f"{result.stop_reason.sentence}",
        ),
    ]
    if len(suggestion.lrs) > 1:
        lines.insert(1, ("Every group:", ", ".join(f"{lr:.2e}" for lr in suggestion.lrs)))
    if suggestion.confidence is not None:
        lines.append(("Confidence:", suggestion.confidence.value))
    lines += [("Note:", str(finding)) for finding in suggestion.findings]
    return "\n".join(f"{head:<15}{text}" for head, text in lines)


def _write(result: RangeTestResult, directory: Path) -> None:
    numbers, picture = directory / _NUMBERS, directory / _PICTURE
    try:
        result.save(numbers)
    except OSError as error:
        raise CommandError(f"could not write {numbers}: {error.strerror}") from None
    draw(result, picture)
    say(f"{'Files:':<15}{picture}, {numbers}")


def _rate(text: str) -> float:
    rate = float(text)
    if not (math.isfinite(rate) and rate > 0):
        raise argparse.ArgumentTypeError(f"a learning rate must be positive and finite, got {text}")
    return rate


def _steps(text: str) -> int:
    steps = int(text)
    if not 2 <= steps <= _MOST_STEPS:
        raise argparse.ArgumentTypeError(f"must be from 2 to {_MOST_STEPS}, got {text}; try 100")
    return steps


# argparse shows these names in its own message: "invalid rate value: 'fast'".
_rate.__name__ = "rate"
_steps.__name__ = "number of steps"

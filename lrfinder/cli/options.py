"""The options that every command with a range test has."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import get_args

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.grid import StepMode, check_num_iter, check_rates
from lrfinder.cli.errors import UsageError


def add_sweep_options(parser: argparse.ArgumentParser, end_lr: str = "10") -> None:
    """Add the options of the sweep and of its files.

    Args:
        parser: of the command.
        end_lr: what the help says on the default of `--end-lr`; the command fills it in.
    """
    sweep = parser.add_argument_group("the sweep")
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
        help="optimizer steps, one learning rate each (default: 100)",
    )
    sweep.add_argument(
        "--step-mode",
        choices=get_args(StepMode),
        default="exp",
        help="multiply the rate from step to step, or add to it (default: exp)",
    )
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(),
        metavar="DIR",
        help="directory of lr_finder.png and lr_finder.json, made if need be (default: this one)",
    )


def check_bounds(start_lr: float, end_lr: float) -> None:
    """Refuse, as wrong usage, a range that does not rise."""
    try:
        check_rates(start_lr, end_lr)
    except InvalidInputError as error:
        raise UsageError(str(error)) from None


def _rate(text: str) -> float:
    rate = float(text)
    if not (math.isfinite(rate) and rate > 0):
        raise argparse.ArgumentTypeError(f"expected a positive, finite rate, got {text}")
    return rate


def _steps(text: str) -> int:
    steps = int(text)
    try:
        check_num_iter(steps)
    except InvalidInputError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return steps


# argparse names these in its own message: "invalid rate value: 'fast'".
_rate.__name__ = "rate"
_steps.__name__ = "number of steps"

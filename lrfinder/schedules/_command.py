"""`lrfinder schedule`: draw schedules from the shell."""

from __future__ import annotations

import argparse
import inspect
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from lrfinder import schedules
from lrfinder._errors import InvalidInputError
from lrfinder.cli.errors import CommandError, UsageError
from lrfinder.schedules._simulate import Schedule
from lrfinder.schedules._sizes import resolve_total_steps

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

_EXAMPLES = """\
examples:
  lrfinder schedule cosine --lr 3e-3 --total-steps 1000
  lrfinder schedule cosine wsd one_cycle --lr 3e-3 --epochs 10 --steps-per-epoch 391 \\
    --warmup-steps 100 --decay-steps 500 --output schedules.svg
"""

# Not here: `lambda_` and `multiplicative`, whose factor is code; `warmup` is an option.
_SCHEDULES: dict[str, Callable[..., Any]] = {
    name: getattr(schedules, name)
    for name in (
        "constant",
        "cosine",
        "cosine_warm_restarts",
        "cyclic",
        "exponential",
        "multistep",
        "one_cycle",
        "polynomial",
        "reduce_on_plateau",
        "step",
        "wsd",
    )
}

# The arguments of the schedules that can be given, each with its type.
_SETTINGS: dict[str, type] = {
    "min_lr": float,
    "gamma": float,
    "power": float,
    "pct_start": float,
    "step_size": int,
    "step_size_up": int,
    "first_cycle": int,
    "cycle_mult": int,
    "decay_steps": int,
    "patience": int,
    "milestones": int,
}


def add_parser(subparsers: Subparsers) -> None:
    """Add the command to those of `lrfinder`."""
    parser = subparsers.add_parser(
        "schedule",
        help="draw what schedules do to the learning rate",
        description="Draws the learning rate over the optimizer steps, one line per schedule.",
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("names", nargs="+", choices=_SCHEDULES, metavar="NAME", help=_names())
    parser.add_argument("--lr", type=float, metavar="X", required=True, help="learning rate, > 0")
    parser.add_argument(
        "--total-steps", type=int, metavar="N", help="optimizer steps of the training"
    )
    parser.add_argument("--epochs", type=int, metavar="N", help="instead of --total-steps")
    parser.add_argument("--steps-per-epoch", type=int, metavar="N", help="together with --epochs")
    parser.add_argument(
        "--warmup-steps", type=int, metavar="N", help="optimizer steps of a linear warm-up"
    )
    for name, kind in _SETTINGS.items():
        parser.add_argument(
            _option(name),
            type=kind,
            nargs="+" if name == "milestones" else None,
            metavar="N" if kind is int else "X",
            help=f"for {', '.join(_takers(name))}",
        )
    parser.add_argument(
        "--output",
        type=Path,
        metavar="FILE",
        default=Path("schedule.png"),
        help="picture to write; its suffix chooses the format (default: %(default)s)",
    )
    parser.set_defaults(run=run, wrong_usage=parser.error)


def run(arguments: argparse.Namespace) -> None:
    """Draw the schedules that were named and write the picture.

    Raises:
        UsageError: if a schedule cannot be built so, or matplotlib cannot write such a picture.
        CommandError: if the picture cannot be written there.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    try:
        _draw(arguments, figure.add_subplot())
        figure.savefig(arguments.output)
    except OSError as error:
        raise CommandError(f"could not write {arguments.output}: {error.strerror}") from None
    except ValueError as error:  # ours, and a suffix that matplotlib does not know
        raise UsageError(str(error)) from None
    sys.stdout.write(f"Files: {arguments.output}\n")


def _draw(arguments: argparse.Namespace, ax: Axes) -> None:
    total_steps = resolve_total_steps(
        arguments.total_steps, arguments.epochs, arguments.steps_per_epoch
    )
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0, momentum=0.9)
    built = _schedules(arguments, total_steps)
    schedules.plot_schedule(built, optimizer, total_steps=total_steps, ax=ax)


def _schedules(arguments: argparse.Namespace, total_steps: int) -> dict[str, Schedule]:
    given = {
        name: getattr(arguments, name) for name in _SETTINGS if getattr(arguments, name) is not None
    }
    for name in given:
        if not set(arguments.names) & set(_takers(name)):
            raise InvalidInputError(
                f"expected {_option(name)} with {' or '.join(_takers(name))}, got it with "
                f"{' '.join(arguments.names)}"
            )
    return {name: _schedule(name, arguments, given, total_steps) for name in arguments.names}


def _schedule(
    name: str, arguments: argparse.Namespace, given: Mapping[str, Any], total_steps: int
) -> Schedule:
    schedule = _SCHEDULES[name]
    offered = {**given, "total_steps": total_steps}
    if arguments.warmup_steps is not None:
        offered["warmup_steps"] = arguments.warmup_steps
    parameters = inspect.signature(schedule).parameters
    settings = {key: value for key, value in offered.items() if key in parameters}
    _require_complete(name, settings)
    if arguments.warmup_steps is not None and "warmup_steps" not in parameters:
        settings |= {"warmup_steps": arguments.warmup_steps, "total_steps": total_steps}
        schedule = partial(schedules.warmup, then=schedule)
    return partial(schedule, lr=arguments.lr, **settings)


def _require_complete(name: str, settings: Mapping[str, Any]) -> None:
    for parameter in list(inspect.signature(_SCHEDULES[name]).parameters.values())[2:]:
        if parameter.default is parameter.empty and parameter.name not in settings:
            raise InvalidInputError(f"expected {_option(parameter.name)} for {name}, got none")


def _takers(setting: str) -> list[str]:
    return [n for n, take in _SCHEDULES.items() if setting in inspect.signature(take).parameters]


def _names() -> str:
    return ", ".join(_SCHEDULES)


def _option(setting: str) -> str:
    return "--" + setting.replace("_", "-")

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
from lrfinder.schedules._simulate import Schedule
from lrfinder.schedules._sizes import resolve_total_steps

if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]

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
    """Add the command `schedule`; its `run` takes the arguments and returns the exit status."""
    parser = subparsers.add_parser(
        "schedule",
        help="draw what schedules do to the learning rate",
        description="Draw the learning rate over the optimizer steps, one line per schedule.",
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
        "--output", type=Path, default=Path("schedule.png"), help="picture (default: %(default)s)"
    )
    parser.set_defaults(run=run)


def run(args: argparse.Namespace) -> int:
    """Draw the schedules that were named and write the picture; return the exit status."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(8, 4.5), layout="constrained")
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0, momentum=0.9)
    try:
        total_steps = resolve_total_steps(args.total_steps, args.epochs, args.steps_per_epoch)
        built = _schedules(args, total_steps)
        schedules.plot_schedule(built, optimizer, total_steps=total_steps, ax=figure.add_subplot())
        figure.savefig(args.output)
    except (ValueError, OSError) as error:  # ours, and a picture that cannot be written
        sys.stderr.write(f"lrfinder schedule: error: {error}\n")
        return 2
    sys.stdout.write(f"wrote {args.output}\n")
    return 0


def _schedules(args: argparse.Namespace, total_steps: int) -> dict[str, Schedule]:
    given = {name: getattr(args, name) for name in _SETTINGS if getattr(args, name) is not None}
    for name in given:
        if not set(args.names) & set(_takers(name)):
            raise InvalidInputError(
                f"expected {_option(name)} with {' or '.join(_takers(name))}, got it with "
                f"{' '.join(args.names)}"
            )
    return {name: _schedule(name, args, given, total_steps) for name in args.names}


def _schedule(
    name: str, args: argparse.Namespace, given: Mapping[str, Any], total_steps: int
) -> Schedule:
    schedule = _SCHEDULES[name]
    offered = {**given, "total_steps": total_steps}
    if args.warmup_steps is not None:
        offered["warmup_steps"] = args.warmup_steps
    parameters = inspect.signature(schedule).parameters
    settings = {key: value for key, value in offered.items() if key in parameters}
    _require_complete(name, settings)
    if args.warmup_steps is not None and "warmup_steps" not in parameters:
        settings |= {"warmup_steps": args.warmup_steps, "total_steps": total_steps}
        schedule = partial(schedules.warmup, then=schedule)
    return partial(schedule, lr=args.lr, **settings)


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

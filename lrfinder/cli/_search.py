"""What `demo` and `run` share: their options, the search for a rate, and the report."""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import torch
from torch import nn

from lrfinder._distributed.rank import is_rank_zero_of_launch
from lrfinder._errors import NoSuggestionError
from lrfinder._finder import LRFinder
from lrfinder._recommend.recommendation import SMALLEST_BUDGET, Recommendation
from lrfinder._result import RangeTestResult
from lrfinder._sweep.grid import END_LR, START_LR
from lrfinder.cli._output import CommandError, UsageError, draw, prepare_directory, say
from lrfinder.suggestion import Suggestion

_PICTURE = "lr_finder.png"
_NUMBERS = "lr_finder.json"
_MOST_STEPS = 1_000_000

Lines = list[tuple[str, str]]


def add_options(parser: argparse.ArgumentParser, end_lr: str = f"{END_LR:g}") -> None:
    """Add the options of the search and of its files; `end_lr` is its default in words."""
    _add_search(parser.add_argument_group("search"), end_lr)
    _add_sweep(parser.add_argument_group("sweep alone"))
    _add_training_step(parser.add_argument_group("training step"))
    parser.add_argument(
        "--output",
        type=Path,
        default=Path(),
        metavar="DIR",
        help=f"directory for {_PICTURE} and {_NUMBERS}, created if missing (default: the current "
        "directory)",
    )


def _add_search(group: Any, end_lr: str) -> None:
    group.add_argument(
        "--budget",
        type=_budget,
        metavar="N",
        help=f"optimizer steps of sweep and trials, at least {SMALLEST_BUDGET} (default: 300)",
    )
    group.add_argument(
        "--total-steps",
        type=_count,
        metavar="N",
        help="optimizer steps you will train for; a longer run needs a lower rate (default: four "
        "times the length of a trial, about 300 steps with the default budget)",
    )
    group.add_argument(
        "--start-lr",
        type=_positive,
        default=START_LR,
        metavar="RATE",
        help=f"lowest learning rate to try (default: {START_LR:g})",
    )
    group.add_argument(
        "--end-lr",
        type=_positive,
        metavar="RATE",
        help=f"highest learning rate to try (default: {end_lr})",
    )


def _add_sweep(group: Any) -> None:
    group.add_argument(
        "--sweep-only",
        action="store_true",
        help="suggest a rate after one sweep, without trials (default: sweep and trials)",
    )
    group.add_argument(
        "--num-iter",
        type=_steps,
        metavar="N",
        help="optimizer steps of the sweep (default: 100)",
    )
    group.add_argument(
        "--step-mode",
        choices=("exp", "linear"),
        help="exp multiplies the rate by a constant at each step, linear adds one (default: exp)",
    )


def _add_training_step(group: Any) -> None:
    group.add_argument(
        "--accumulation-steps",
        type=_count,
        default=1,
        metavar="N",
        help="batches whose gradients are accumulated for one optimizer step (default: 1)",
    )
    group.add_argument(
        "--clip-grad",
        type=_positive,
        metavar="NORM",
        help="largest norm of the gradients (default: no clipping)",
    )
    group.add_argument(
        "--precision",
        choices=("bf16", "fp16"),
        help="automatic mixed precision (default: the precision of the model)",
    )


def check_options(arguments: argparse.Namespace) -> None:
    """Check what can be checked before the model is built: options, and where files go."""
    if not arguments.start_lr < arguments.end_lr:
        raise UsageError(
            f"--start-lr must be below --end-lr, got {arguments.start_lr:g} and "
            f"{arguments.end_lr:g}"
        )
    if arguments.sweep_only:
        unused, reason = ("budget", "total_steps"), "belongs to the trials; remove --sweep-only"
    else:
        unused, reason = ("num_iter", "step_mode"), "belongs to a sweep alone; add --sweep-only"
    for name in unused:
        if getattr(arguments, name) is not None:
            raise UsageError(f"--{name.replace('_', '-')} {reason}")
    prepare_directory(arguments.output, _PICTURE, _NUMBERS)


def step_settings(model: nn.Module, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the settings of `LRFinder` that the options of the training step stand for."""
    settings: dict[str, Any] = {"clip_grad": arguments.clip_grad}
    if arguments.precision is not None:
        device = next((p.device.type for p in model.parameters()), "cpu")
        is_half = arguments.precision == "fp16"
        dtype = torch.float16 if is_half else torch.bfloat16
        settings["autocast"] = torch.autocast(device, dtype)
        settings["scaler"] = torch.amp.GradScaler(device) if is_half else None
    return settings


def search(
    finder: LRFinder,
    train_loader: Iterable[Any],
    val_loader: Iterable[Any] | None,
    arguments: argparse.Namespace,
) -> None:
    """Search for a learning rate, print it with its reason, and write the files.

    Raises:
        NoSuggestionError: if no rate was found; the files are written first.
        CommandError: if the files cannot be written; the rate is printed first.
    """
    own = ("num_iter", "step_mode") if arguments.sweep_only else ("budget", "total_steps")
    names = ("start_lr", "end_lr", "accumulation_steps", *own)
    # What was not given has the library's default.
    given = {name: value for name in names if (value := getattr(arguments, name)) is not None}
    answer: Suggestion | None = None
    refusal: NoSuggestionError | None = None
    try:
        if arguments.sweep_only:
            answer = finder.range_test(train_loader, val_loader, **given).suggest()
        else:
            answer = finder.recommend(train_loader, val_loader, **given)
    except NoSuggestionError as error:
        refusal = error  # the sweep is there all the same
    if is_rank_zero_of_launch():
        _publish(finder.result, answer, arguments.output)
    if refusal is not None:
        raise refusal


def _publish(result: RangeTestResult, answer: Suggestion | None, directory: Path) -> None:
    """Print first and write then, so that a full disk costs no rate."""
    numbers, picture = directory / _NUMBERS, directory / _PICTURE
    found = answer if isinstance(answer, Recommendation) else result
    try:
        say(_report(result, answer))
    finally:
        try:
            found.save(numbers)
        except OSError as error:
            raise CommandError(f"could not write {numbers}: {error.strerror}") from None
        draw(found, picture)
    say(_table([("Files:", f"{picture}, {numbers}")]))


def _report(result: RangeTestResult, answer: Suggestion | None) -> str:
    lines: Lines = []
    if answer is not None:
        kind = "Recommended" if isinstance(answer, Recommendation) else "Suggested"
        lines.append((f"{kind} lr:", f"{answer.lr:.2e}"))
        if len(answer.lrs) > 1:
            lines.append(("Every group:", ", ".join(f"{lr:.2e}" for lr in answer.lrs)))
        lines.append(("Why:", f"{answer.why} (rule: {answer.method})"))
        lines.append(("Cyclic bounds:", f"{answer.min_lr:.2e} to {answer.max_lr:.2e}"))
    if isinstance(answer, Recommendation):
        trials = answer.steps - len(result)
        lines.append(("Steps:", f"{answer.steps}: {len(result)} in the sweep, {trials} in trials"))
    if answer is None or isinstance(answer, Recommendation):
        try:
            sweep = result.suggest()
            lines.append(("Sweep alone:", f"{sweep.lr:.2e}, {sweep.why} (rule: {sweep.method})"))
        except NoSuggestionError as error:
            lines.append(("Sweep alone:", f"no rate, {error}"))
    span = f" from {result.lr[0]:.1e} to {result.lr[-1]:.1e}" if len(result) else ""
    lines.append(("Sweep:", f"{len(result)} steps{span}. {result.stop_reason.sentence}"))
    if answer is not None:
        if answer.confidence is not None:
            lines.append(("Confidence:", answer.confidence.value))
        lines += [("Note:", str(finding)) for finding in answer.findings]
    return _table(lines)


def _table(lines: Lines) -> str:
    return "\n".join(f"{head:<16}{text}" for head, text in lines)


def _positive(text: str) -> float:
    number = float(text)
    if not (math.isfinite(number) and number > 0):
        raise argparse.ArgumentTypeError(f"must be positive and finite, got {text}")
    return number


def _steps(text: str, at_least: int = 2) -> int:
    steps = int(text)
    if not at_least <= steps <= _MOST_STEPS:
        raise argparse.ArgumentTypeError(f"must be from {at_least} to {_MOST_STEPS}, got {text}")
    return steps


def _budget(text: str) -> int:
    return _steps(text, SMALLEST_BUDGET)


def _count(text: str) -> int:
    count = int(text)
    if count < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return count


# argparse shows these names in its own message: "invalid number value: 'fast'".
_positive.__name__ = "number"
_steps.__name__ = _budget.__name__ = _count.__name__ = "number of steps"

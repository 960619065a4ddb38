"""From a training task to a curve in two files and a suggestion on the terminal."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from torch import nn
from torch.optim import Optimizer

from lrfinder._distributed.rank import is_main_process
from lrfinder._finder import LRFinder
from lrfinder._result import RangeTestResult
from lrfinder._sweep.loss import Criterion
from lrfinder.cli.errors import CommandError
from lrfinder.cli.options import check_bounds

_NAME = "lr_finder"


def sweep_and_report(
    model: nn.Module,
    optimizer: Optimizer,
    criterion: Criterion | None,
    train_loader: Iterable[Any],
    val_loader: Iterable[Any] | None = None,
    *,
    arguments: argparse.Namespace,
) -> None:
    """Run the range test, write its files, then print the suggestion and why it was chosen.

    Args:
        model: as for `LRFinder`.
        optimizer: as for `LRFinder`.
        criterion: as for `LRFinder`.
        train_loader: as for `LRFinder.range_test`.
        val_loader: as for `LRFinder.range_test`.
        arguments: what `add_sweep_options` parsed.

    Raises:
        NoSuggestionError: if the curve names no rate; its files are there all the same.
        CommandError: if they cannot be written.
    """
    check_bounds(arguments.start_lr, arguments.end_lr)
    _make_directory(arguments.output)
    result = LRFinder(model, optimizer, criterion).range_test(
        train_loader,
        val_loader,
        start_lr=arguments.start_lr,
        end_lr=arguments.end_lr,
        num_iter=arguments.num_iter,
        step_mode=arguments.step_mode,
    )
    if not is_main_process():
        return
    files = _write(result, arguments.output)
    try:
        print(_suggestion(result))
    finally:
        print(f"{'Files:':<15}{', '.join(map(str, files))}")


def draw(result: RangeTestResult, path: Path) -> None:
    """Write the picture of a result, in the format that the file's suffix names.

    Raises:
        CommandError: if the file cannot be written.
    """
    from matplotlib.figure import Figure  # without pyplot, no display is asked for

    figure = Figure(figsize=(8, 5), layout="constrained")
    result.plot(ax=figure.subplots())
    try:
        figure.savefig(path, dpi=150)
    except OSError as error:
        raise CommandError(f"could not write {path}: {error.strerror}") from None


def _suggestion(result: RangeTestResult) -> str:
    suggestion = result.suggest()
    lines = [
        ("Suggested lr:", f"{suggestion.lr:.2e}"),
        ("Why:", f"{suggestion.why} (rule: {suggestion.method})"),
        ("Cyclic bounds:", f"{suggestion.min_lr:.2e} to {suggestion.max_lr:.2e}"),
        ("The sweep:", _course(result)),
    ]
    if len(suggestion.lrs) > 1:
        lines.insert(1, ("Every group:", ", ".join(f"{lr:.2e}" for lr in suggestion.lrs)))
    if suggestion.confidence is not None:
        lines.append(("Confidence:", suggestion.confidence.value))
    lines += [("Note:", str(finding)) for finding in suggestion.findings]
    return "\n".join(f"{head:<15}{text}" for head, text in lines)


def _course(result: RangeTestResult) -> str:
    reason = result.stop_reason.sentence
    return f"{len(result)} steps from {result.lr[0]:.1e} to {result.lr[-1]:.1e}. {reason}"


def _make_directory(path: Path) -> None:
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CommandError(f"could not make the directory {path}: {error.strerror}") from None


def _write(result: RangeTestResult, directory: Path) -> list[Path]:
    picture, numbers = directory / f"{_NAME}.png", directory / f"{_NAME}.json"
    try:
        result.save(numbers)
    except OSError as error:
        raise CommandError(f"could not write {numbers}: {error.strerror}") from None
    draw(result, picture)
    return [picture, numbers]

"""`lrfinder demo`: a learning rate for real images, with nothing to prepare."""

from __future__ import annotations

import argparse
from typing import Any

import torch

from lrfinder._errors import missing_extra
from lrfinder._finder import LRFinder
from lrfinder._sweep.grid import END_LR
from lrfinder.cli._search import add_options, check_options, search, step_settings
from lrfinder.cli.demo_task import DATASETS, OPTIMIZERS, Task, build

_DESCRIPTION = """\
Finds a learning rate for a small convolutional network on the handwritten digits of scikit-learn:
one sweep over all rates, then trials at the rates in question. Prints the rate, draws sweep and
trials in lr_finder.png, and saves them in lr_finder.json.
"""
_EXAMPLES = """\
examples:
  lrfinder demo
  lrfinder demo --optimizer adam --total-steps 5000
  lrfinder demo --dataset cifar10 --output /tmp/cifar10
  lrfinder demo --sweep-only --step-mode linear --end-lr 0.1
"""


def add_parser(commands: Any) -> None:
    """Add the command to those of `lrfinder`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "demo",
        help="find a learning rate for a small network on real images",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--dataset",
        choices=DATASETS,
        default="digits",
        help="images to train on; all but digits are downloaded into data/ (default: digits)",
    )
    parser.add_argument(
        "--optimizer",
        choices=OPTIMIZERS,
        default="sgd",
        help="sgd uses momentum 0.9, the others PyTorch's defaults (default: sgd)",
    )
    add_options(
        parser,
        end_lr=f"{END_LR:g}; with --step-mode linear 0.2 for sgd, 0.1 for rmsprop, else 0.01",
    )
    parser.set_defaults(run=run, parser=parser)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    if arguments.end_lr is None:
        # The steps of a linear sweep lie near its end, which must be near where training fails.
        linear_end = {"sgd": 0.2, "rmsprop": 0.1}.get(arguments.optimizer, 0.01)
        arguments.end_lr = linear_end if arguments.step_mode == "linear" else END_LR
    check_options(arguments)
    threads = torch.get_num_threads()
    # The network is too small for more: waiting for a second core that other processes keep busy
    # makes a step ten times slower.
    torch.set_num_threads(1)
    try:
        task = _build(arguments)
        settings = step_settings(task.model, arguments)
        finder = LRFinder(task.model, task.optimizer, task.criterion, **settings)
        # A quick look reads the training loss; trials are compared by the validation loss.
        val_loader = None if arguments.sweep_only else task.val_loader
        search(finder, task.train_loader, val_loader, arguments)
    finally:
        torch.set_num_threads(threads)


def _build(arguments: argparse.Namespace) -> Task:
    try:
        return build(arguments.dataset, arguments.optimizer)
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in ("torchvision", "sklearn"):
            raise
        raise missing_extra(package, "demo") from None

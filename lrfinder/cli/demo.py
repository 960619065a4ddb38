"""`lrfinder demo`: a range test on real images, with nothing to prepare."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch

from lrfinder.cli.errors import extra_needed
from lrfinder.cli.options import add_sweep_options
from lrfinder.cli.report import sweep_and_report

# A linear sweep spends its steps at the upper end, which has to lie near where training fails.
_LINEAR_END = {"sgd": 1.0}
_LINEAR_END_OF_OTHERS = 0.1
# Spelled here a second time because the task itself needs packages that `--help` does without.
_DATASETS = ("digits", "mnist", "fashion-mnist", "cifar10")
_OPTIMIZERS = ("sgd", "adam", "adamw", "rmsprop", "adagrad")

_DESCRIPTION = """\
Runs a range test for a small convolutional network on scikit-learn's handwritten digits, prints
the suggested learning rate, and writes the curve to lr_finder.png and lr_finder.json.
"""
_EXAMPLES = """\
examples:
  lrfinder demo
  lrfinder demo --optimizer adam --num-iter 200
  lrfinder demo --dataset cifar10 --output /tmp/cifar10
  lrfinder demo --step-mode linear --end-lr 0.5
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
        choices=_DATASETS,
        default="digits",
        help="images to train on; all but digits are downloaded into data/ (default: digits)",
    )
    parser.add_argument(
        "--optimizer",
        choices=_OPTIMIZERS,
        default="sgd",
        help="sgd has momentum 0.9, the others torch's defaults (default: sgd)",
    )
    add_sweep_options(parser, end_lr="10; with --step-mode linear 1 for sgd, 0.1 for the others")
    parser.set_defaults(run=run, wrong_usage=parser.error)


def run(arguments: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        MissingExtraError: if torchvision or scikit-learn is not installed.
        DownloadError: if the images could not be fetched.
    """
    with extra_needed("demo", "torchvision", "sklearn"):
        from lrfinder.cli import demo_task
    if arguments.end_lr is None:
        linear = _LINEAR_END.get(arguments.optimizer, _LINEAR_END_OF_OTHERS)
        arguments.end_lr = linear if arguments.step_mode == "linear" else 10.0
    with _one_thread():
        task = demo_task.build(arguments.dataset, arguments.optimizer)
        sweep_and_report(
            task.model, task.optimizer, task.criterion, task.train_loader, arguments=arguments
        )


@contextmanager
def _one_thread() -> Iterator[None]:
    """Compute on one core: the network is too small for more.

    Where other processes are at work too, waiting for a second one makes a step 10 times as long.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)

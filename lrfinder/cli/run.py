"""`lrfinder run`: a range test on what a function of the user's returns."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

from torch import nn
from torch.optim import Optimizer

from lrfinder._errors import InvalidInputError
from lrfinder.cli.load import load_function
from lrfinder.cli.options import add_sweep_options
from lrfinder.cli.report import sweep_and_report

_DESCRIPTION = """\
Runs a range test on your own training task, prints the suggested learning rate, and writes the
curve to lr_finder.png and lr_finder.json. The function takes no argument and returns what training
begins with: model, optimizer, criterion and training loader, and a validation loader if the curve
is to show the validation loss. With criterion None the batches are dicts and the model computes
the loss.
"""
_EXAMPLES = """\
examples:
  lrfinder run train.py:setup
  lrfinder run mypackage.training:setup --end-lr 1 --num-iter 200
  torchrun --nproc-per-node 2 -m lrfinder run train.py:setup

train.py:
  def setup():
      model = Net().cuda()
      optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.01)
      return model, optimizer, nn.CrossEntropyLoss(), DataLoader(images, batch_size=64)
"""


def add_parser(commands: Any) -> None:
    """Add the command to those of `lrfinder`."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "run",
        help="find a learning rate for your own model and data",
        description=_DESCRIPTION,
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "function",
        metavar="FUNCTION",
        help="FILE.py:FUNCTION, or package.module:function as seen from this directory",
    )
    add_sweep_options(parser)
    parser.set_defaults(run=run, wrong_usage=parser.error, end_lr=10.0)


def run(arguments: argparse.Namespace) -> None:
    """Run the command.

    Raises:
        UsageError: if there is no such function.
        InvalidInputError: if it does not return a training task.
    """
    task = load_function(arguments.function)()
    _check_task(task, arguments.function)
    sweep_and_report(*task, arguments=arguments)


def _check_task(task: Any, function: str) -> None:
    is_task = (
        isinstance(task, Sequence)
        and len(task) in (4, 5)
        and isinstance(task[0], nn.Module)
        and isinstance(task[1], Optimizer)
    )
    if not is_task:
        got = (
            ", ".join(type(item).__name__ for item in task)
            if isinstance(task, tuple)
            else type(task).__name__
        )
        raise InvalidInputError(
            f"expected {function} to return model, optimizer, criterion, train_loader and "
            f"optionally val_loader, in this order, got {got or 'nothing'}; return them as a tuple"
        )

"""`lrfinder run`: a learning rate for the model and data that a function of the user returns."""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import inspect
import sys
import sysconfig
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import nn
from torch.optim import Optimizer

from lrfinder._errors import InvalidInputError
from lrfinder._finder import LRFinder
from lrfinder._sweep.grid import END_LR
from lrfinder.cli._output import UsageError
from lrfinder.cli._search import add_options, check_options, search, step_settings

_DESCRIPTION = """\
Finds a learning rate for your own model and data: one sweep over all rates, then trials at the
rates in question. Prints the rate, draws sweep and trials in lr_finder.png, and saves them in
lr_finder.json.
FUNCTION takes no argument and returns model, optimizer, criterion and training loader. If the
criterion is None, batches are dicts and the model computes the loss. For any other training step,
let it return an LRFinder and its training loader. A validation loader may follow: then rates are
compared by the validation loss.
"""
_EXAMPLES = """\
examples:
  lrfinder run train.py:setup
  lrfinder run mypackage.training:setup --total-steps 20000 --precision bf16
  lrfinder run train.py:setup --sweep-only --num-iter 200
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
        help="FILE.py:FUNCTION, or package.module:function importable from the current directory",
    )
    add_options(parser)
    parser.set_defaults(run=run, parser=parser, end_lr=END_LR)


def run(arguments: argparse.Namespace) -> None:
    """Run the command."""
    check_options(arguments)
    directory = Path.cwd()
    task = _load_function(arguments.function)()
    if Path.cwd() != directory:  # some frameworks change it
        arguments.output = directory / arguments.output
    finder, train_loader, val_loader = _unpack(task, arguments)
    search(finder, train_loader, val_loader, arguments)


def _load_function(spec: str) -> Callable[[], Any]:
    """Import the function that the user named; exceptions of their code are not caught."""
    source, _, name = spec.rpartition(":")
    if not (source and name):
        raise UsageError(f"expected FILE.py:FUNCTION or package.module:function, got {spec!r}")
    sys.argv[1:] = []  # a script that reads its own options must not read ours
    module = _from_file(Path(source)) if source.endswith(".py") else _from_name(source)
    function: Callable[[], Any] | None = getattr(module, name, None)
    if not callable(function):
        got = f"no {name!r}" if function is None else f"{name!r}, a {type(function).__name__}"
        raise UsageError(f"expected a function {name!r} in {source}, got {got}")
    try:
        inspect.signature(function).bind()
    except TypeError as error:
        raise UsageError(
            f"{name} in {source} is called without arguments, but: {error}; give it defaults"
        ) from None
    except ValueError:
        pass  # some functions written in C have no signature
    return function


def _from_file(path: Path) -> ModuleType:
    """Import a file under its own name, able to import its neighbours."""
    name = path.stem
    if _is_taken(name, path):
        name = f"_script_{name}"  # train with json.py if you like; the real json stays in place
    spec = importlib.util.spec_from_file_location(name, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise UsageError(f"there is no Python file {str(path)!r}")
    _add_to_path(path.resolve().parent)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # worker processes look the user's classes up by this name
    spec.loader.exec_module(module)
    return module


def _from_name(name: str) -> ModuleType:
    _add_to_path(Path.cwd())
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"expected FILE.py or package.module before the colon, got {name!r}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # a module that the user's module imports
        raise UsageError(f"there is no module {name!r}: {error}") from None


def _is_taken(name: str, path: Path) -> bool:
    """Return whether another module than this file has the name."""
    if name in sys.modules or name in sys.stdlib_module_names:
        return True
    spec = importlib.util.find_spec(name) if name.isidentifier() else None
    return spec is not None and Path(spec.origin or "") != path.resolve()


def _add_to_path(directory: Path) -> None:
    """Put a directory before all installed packages, but after the standard library."""
    library = sysconfig.get_path("stdlib")
    standard = (library, f"{library}/lib-dynload")
    last = max((place for place, entry in enumerate(sys.path) if entry in standard), default=-1)
    sys.path.insert(last + 1, str(directory))


def _unpack(task: Any, arguments: argparse.Namespace) -> tuple[LRFinder, Any, Any]:
    """Return the finder, the training loader, and the validation loader or None."""
    parts = list(task) if isinstance(task, (tuple, list)) else []
    kinds = [type(part).__name__ for part in parts]
    if len(parts) in (2, 3) and isinstance(parts[0], LRFinder):
        if arguments.clip_grad is not None or arguments.precision is not None:
            raise UsageError(
                "--clip-grad and --precision do not change an LRFinder; set clip_grad, autocast "
                f"and scaler where {arguments.function} builds it"
            )
        return parts[0], parts[1], parts[2] if len(parts) == 3 else None
    is_task = len(parts) in (4, 5) and isinstance(parts[0], nn.Module)
    if is_task and isinstance(parts[1], Optimizer):
        finder = LRFinder(*parts[:3], **step_settings(parts[0], arguments))
        return finder, parts[3], parts[4] if len(parts) == 5 else None
    raise InvalidInputError(
        f"{arguments.function} must return (model, optimizer, criterion, train_loader) or "
        f"(LRFinder, train_loader), with a val_loader at the end if you like, got "
        f"{', '.join(kinds) or type(task).__name__}"
    )

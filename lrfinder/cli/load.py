"""From `FILE.py:FUNCTION` or `package.module:function` to the function."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from lrfinder.cli.errors import UsageError


def load_function(spec: str) -> Callable[..., Any]:
    """Import what the user named; what their code raises meanwhile arrives unchanged.

    Args:
        spec: `FILE.py:FUNCTION`, or `package.module:function` as seen from the working directory.

    Raises:
        UsageError: if there is no such file, module or function.
    """
    source, _, name = spec.rpartition(":")
    if not (source and name):
        raise UsageError(f"expected FILE.py:FUNCTION or package.module:function, got {spec!r}")
    module = _from_file(Path(source)) if source.endswith(".py") else _from_name(source)
    function = getattr(module, name, None)
    if not callable(function):
        raise UsageError(
            f"expected a function {name!r} in {source}, got "
            f"{'none of that name' if function is None else type(function).__name__}"
        )
    found: Callable[..., Any] = function
    return found


def _from_file(path: Path) -> ModuleType:
    """Import a file under its own name, with its neighbours in reach, as Python runs a script."""
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if not path.is_file() or spec is None or spec.loader is None:
        raise UsageError(f"expected a Python file, got {str(path)!r}, which is none")
    sys.path.insert(0, str(path.resolve().parent))
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # worker processes look the user's classes up by this name
    spec.loader.exec_module(module)
    return module


def _from_name(name: str) -> ModuleType:
    sys.path.insert(0, str(Path.cwd()))
    if not all(part.isidentifier() for part in name.split(".")):
        raise UsageError(f"expected FILE.py or package.module before the colon, got {name!r}")
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is None or not f"{name}.".startswith(f"{error.name}."):
            raise  # one that the user's module imports
        raise UsageError(f"expected a module, got {name!r}: {error}") from None

"""From a name on the command line to a task."""

from __future__ import annotations

import importlib.util
import sys
from functools import lru_cache
from pathlib import Path

from lrfinder._errors import InvalidInputError
from lrfinder.benchmark._task import Task


@lru_cache
def load_task(spec: str) -> Task:
    """Return a task that ships with the benchmark, or one of the user's.

    Args:
        spec: the name of a shipped task, or "path/to/file.py:attribute", where the attribute is a
            `Task` or a function without arguments that returns one.

    Raises:
        InvalidInputError: there is no such task.
    """
    if ".py:" in spec:
        return _from_file(spec)
    from lrfinder.benchmark.tasks import TASKS

    if spec not in TASKS:
        raise InvalidInputError(
            f"expected a file such as mytask.py:task or one of {', '.join(TASKS)}; got {spec!r}"
        )
    return TASKS[spec]


def _from_file(spec: str) -> Task:
    file, _, attribute = spec.rpartition(":")
    path = Path(file).resolve()
    if not path.is_file():
        raise InvalidInputError(f"expected a Python file and a name in it, got {spec!r}: no {path}")
    module_spec = importlib.util.spec_from_file_location(path.stem, path)
    assert module_spec is not None
    assert module_spec.loader is not None
    module = importlib.util.module_from_spec(module_spec)
    sys.modules[path.stem] = module
    module_spec.loader.exec_module(module)
    found = getattr(module, attribute, None)
    task = found() if callable(found) else found
    if not isinstance(task, Task):
        raise InvalidInputError(
            f"expected {attribute!r} in {path} to be a lrfinder.benchmark.Task or a function "
            f"that returns one, got {task!r}"
        )
    return task

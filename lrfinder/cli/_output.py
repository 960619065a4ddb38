"""What a command prints, and where its files go."""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from lrfinder._errors import LRFinderError
from lrfinder._recommend import Recommendation
from lrfinder._result import RangeTestResult

# The picture and the numbers of a sweep need about a tenth of this.
_ROOM = 2**20


class CommandError(LRFinderError):
    """A command could not do its work; the exit status is 1."""


class UsageError(CommandError):
    """A command was called in a way that cannot work; the exit status is 2."""


def say(text: str) -> None:
    """Print at once. A reader that has gone, as in `| head -1`, is no reason to stop."""
    try:
        print(text, flush=True)
    except OSError as error:
        _discard_output()
        if not isinstance(error, BrokenPipeError):
            raise CommandError(f"could not print the result: {error.strerror}") from None


def flush() -> None:
    """Print what is left before the process ends, where nobody would catch an error."""
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        _discard_output()


def prepare_directory(directory: Path, *names: str) -> None:
    """Create a directory and check that files of these names can be written there."""
    if directory.exists() and not directory.is_dir():
        raise UsageError(f"--output {directory} is a file; pass a directory")
    try:
        directory.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=directory) as file:
            file.write(bytes(_ROOM))
    except OSError as error:
        raise CommandError(f"could not write to {directory}: {error.strerror}") from None
    for name in names:
        check_file(directory / name)


def check_file(path: Path) -> None:
    """Check that a file can be replaced, and that no picture would overwrite a result."""
    if path.is_dir():
        raise UsageError(f"{path} is a directory; remove it or write to another place")
    if not path.exists():
        if not (directory := path.resolve().parent).is_dir():
            raise CommandError(f"could not write {path}: there is no directory {directory}")
        return
    if not os.access(path, os.W_OK):
        raise CommandError(f"could not write {path}: it is read-only")
    if path.suffix != ".json" and path.is_file():
        with path.open("rb") as file:
            if file.read(1) == b"{":
                raise UsageError(
                    f"{path} holds a saved result; choose another name for the picture"
                )


def draw(found: RangeTestResult | Recommendation, path: Path) -> None:
    """Write the picture of a sweep and, if there are any, of the trials beside it.

    Args:
        found: what is drawn.
        path: its suffix names the format.
    """
    with without_mplbackend():
        from matplotlib.figure import Figure  # without pyplot, no display is needed

        if isinstance(found, Recommendation):
            figure = Figure(figsize=(13, 5), layout="constrained")
            found.plot(figure.subplots(1, 2))
        else:
            figure = Figure(figsize=(8, 5), layout="constrained")
            found.plot(ax=figure.subplots())
        try:
            figure.savefig(path, dpi=150)
        except OSError as error:
            raise CommandError(f"could not write {path}: {error.strerror}") from None


@contextmanager
def without_mplbackend() -> Iterator[None]:
    """Hide MPLBACKEND: a picture in a file needs no backend, and a wrong name is an error."""
    backend = os.environ.pop("MPLBACKEND", None)
    try:
        yield
    finally:
        if backend is not None:
            os.environ["MPLBACKEND"] = backend


def _discard_output() -> None:
    """Send what is printed from now on to nowhere, so that the interpreter ends in peace."""
    with open(os.devnull, "w") as nowhere:  # noqa: PTH123
        os.dup2(nowhere.fileno(), sys.stdout.fileno())

"""What a command refuses, apart from what the library refuses."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from lrfinder._errors import LRFinderError, missing_extra


class CommandError(LRFinderError):
    """A command could not do its work; the exit status is 1."""


class UsageError(CommandError):
    """A command was called in a way that cannot work; the exit status is 2."""


@contextmanager
def extra_needed(extra: str, *packages: str) -> Iterator[None]:
    """Turn the absence of one of an extra's packages into one line that names the extra.

    Args:
        extra: the extra that brings the packages.
        packages: names under which its packages are imported.

    Raises:
        MissingExtraError: if the import of one of them fails because it is not installed.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in packages:
            raise
        raise missing_extra(package, extra) from None

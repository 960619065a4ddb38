"""What is said when a package that only one feature needs is not installed."""

from __future__ import annotations

from lrfinder._errors import MissingExtraError


def missing_extra(package: str, extra: str) -> MissingExtraError:
    """Return the error that tells how to install a package.

    Args:
        package: name under which it is imported.
        extra: the extra of this library that brings it.
    """
    return MissingExtraError(
        f"expected {package} to be installed, got none; pip install 'lrfinder[{extra}]'"
    )

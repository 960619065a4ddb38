"""The first argument of an integration must be what its framework calls by that name."""

from __future__ import annotations

from typing import Any

from lrfinder._errors import InvalidInputError


def check_kind(name: str, value: Any, kind: type | tuple[type, ...], advice: str) -> None:
    """Raise `InvalidInputError` if an argument is not of a class, or of one of several.

    Args:
        name: of the argument.
        value: what was passed.
        kind: the class, or several of one name.
        advice: what to pass.
    """
    if not isinstance(value, kind):
        expected = kind[0] if isinstance(kind, tuple) else kind
        package = expected.__module__.partition(".")[0]
        raise InvalidInputError(
            f"{name} must be of the class {expected.__name__} of {package}, got "
            f"{type(value).__name__}; {advice}"
        )

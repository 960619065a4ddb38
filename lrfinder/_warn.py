"""Warnings that point at the user's own line."""

from __future__ import annotations

import inspect
import warnings

from lrfinder._errors import LRFinderWarning


def warn(message: str) -> None:
    """Issue an `LRFinderWarning` for the line outside this package that led here."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == "lrfinder":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, LRFinderWarning, stacklevel=level)

"""Packages that a measurement needs: whether they are there, and which versions."""

from __future__ import annotations

import importlib.util
from functools import cache
from importlib import metadata

# Under another name than they are imported by.
_DISTRIBUTIONS = {"ignite": "pytorch-ignite"}


def is_installed(package: str) -> bool:
    """Return whether a package can be imported."""
    return importlib.util.find_spec(package) is not None


@cache
def versions(package: str) -> str:
    """Return the versions that a record depends on, such as "optuna 5.0.0, torch 2.14.1"."""
    names = (_DISTRIBUTIONS.get(package, package), "torch")
    return ", ".join(f"{name} {metadata.version(name)}" for name in dict.fromkeys(names))

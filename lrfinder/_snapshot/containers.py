"""Capture and restore of dicts, sequences, sets and arrays: the same object with its content."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

Restore = Callable[[], object]


def capture_dict(mapping: dict[Any, Any]) -> Restore:
    """Return a call that restores the keys, their order and the objects under them."""
    if not mapping:
        return mapping.clear
    content = dict(mapping)

    def restore() -> None:
        if not _same_objects(mapping, content):
            mapping.clear()
        elif _same_objects(mapping.values(), content.values()):
            return
        for key, value in content.items():
            if key not in mapping or mapping[key] is not value:
                mapping[key] = value

    return restore


def capture_sequence(items: list[Any] | deque[Any]) -> Restore:
    """Return a call that restores the objects in a list or deque, in their order."""
    content = list(items)

    def restore() -> None:
        if not _same_objects(items, content):
            items.clear()
            items.extend(content)

    return restore


def capture_set(items: set[Any]) -> Restore:
    """Return a call that restores the objects in a set."""
    content = set(items)

    def restore() -> None:
        items.clear()
        items.update(content)

    return restore


def capture_array(array: np.ndarray[Any, Any]) -> Restore:
    """Return a call that restores the values of an array, in the same memory."""
    if not array.flags.writeable:
        return lambda: None
    content = array.copy()
    return lambda: np.copyto(array, content)


def _same_objects(one: Collection[Any], other: Collection[Any]) -> bool:
    """Return whether two collections hold the same objects in the same order."""
    return len(one) == len(other) and all(map(operator.is_, one, other))

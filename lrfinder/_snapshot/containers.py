"""Capture and restore of dicts, sequences, sets and arrays: the same object, as it was."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

import numpy as np

PutBack = Callable[[], object]


def capture_dict(mapping: dict[Any, Any]) -> PutBack:
    """Return a call that puts keys, their order and the objects under them back."""
    if not mapping:
        return mapping.clear
    content = dict(mapping)

    def put_back() -> None:
        if not _same_objects(mapping, content):
            mapping.clear()
        elif _same_objects(mapping.values(), content.values()):
            return
        for key, value in content.items():
            if key not in mapping or mapping[key] is not value:
                mapping[key] = value

    return put_back


def capture_sequence(items: list[Any] | deque[Any]) -> PutBack:
    """Return a call that puts the objects in a list or deque back in their order."""
    content = list(items)

    def put_back() -> None:
        if not _same_objects(items, content):
            items.clear()
            items.extend(content)

    return put_back


def capture_set(items: set[Any]) -> PutBack:
    """Return a call that puts the objects in a set back."""
    content = set(items)

    def put_back() -> None:
        items.clear()
        items.update(content)

    return put_back


def capture_array(array: np.ndarray[Any, Any]) -> PutBack:
    """Return a call that puts the values in an array back into the same memory."""
    if not array.flags.writeable:
        return lambda: None
    content = array.copy()
    return lambda: np.copyto(array, content)


def _same_objects(one: Collection[Any], other: Collection[Any]) -> bool:
    """Tell whether two collections hold the same objects in the same order."""
    return len(one) == len(other) and all(map(operator.is_, one, other))

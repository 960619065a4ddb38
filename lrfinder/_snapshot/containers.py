"""Capture and restore of dicts, sequences and sets: the same object with its content."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

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


def capture_items(items: list[Any] | deque[Any] | set[Any]) -> Restore:
    """Return a call that restores the objects in a list, deque or set, in their order."""
    content = list(items)
    add = items.update if isinstance(items, set) else items.extend

    def restore() -> None:
        if not _same_objects(items, content):
            items.clear()
            add(content)

    return restore


def _same_objects(one: Collection[Any], other: Collection[Any]) -> bool:
    """Return whether two collections hold the same objects in the same order."""
    return len(one) == len(other) and all(map(operator.is_, one, other))

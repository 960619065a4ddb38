"""Capture and restore of dicts, sequences, sets and slots: the same object with its content."""

from __future__ import annotations

import operator
from collections import deque
from collections.abc import Callable, Collection
from typing import Any

from lrfinder._snapshot.references import slots

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


def capture_slots(thing: Any) -> Restore:
    """Return a call that restores the objects in the slots of an object."""
    content = slots(thing)

    def restore() -> None:
        now = slots(thing)
        for member in now.keys() - content:
            member.__delete__(thing)
        for member, value in content.items():
            if member not in now or now[member] is not value:
                member.__set__(thing, value)

    return restore


def _same_objects(one: Collection[Any], other: Collection[Any]) -> bool:
    """Return whether two collections hold the same objects in the same order."""
    return len(one) == len(other) and all(map(operator.is_, one, other))

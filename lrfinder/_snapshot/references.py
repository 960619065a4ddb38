"""The objects that an object refers to: its attributes, items, and the variables of a function."""

from __future__ import annotations

import inspect
import os
import sysconfig
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import CodeType, FunctionType, MemberDescriptorType
from typing import Any

# Items of one container that are looked at: a list of transforms has fewer, a data set has more.
_MOST_ITEMS = 100
_THIS_PACKAGE = str(Path(__file__).parents[1]) + os.sep
_LIBRARIES = (sysconfig.get_path("stdlib") + os.sep, _THIS_PACKAGE, "<frozen")


def attribute(thing: Any, name: str, default: Any = None) -> Any:
    """Return an attribute that one of the user's objects may have, whatever it raises if not."""
    try:
        return getattr(thing, name, default)
    except Exception:  # such as the KeyError of `__getattr__ = dict.__getitem__`
        return default


def attributes(thing: Any) -> dict[str, Any]:
    """Return the dict that holds the attributes of an object; an empty one if there is none."""
    found = attribute(thing, "__dict__")
    return found if isinstance(found, dict) else {}


def members(thing: Any) -> Iterator[MemberDescriptorType]:
    """Return what reads and writes each slot of an object, also one of a frozen class."""
    for kind in type(thing).__mro__:
        if "__slots__" in vars(kind):
            yield from (m for m in vars(kind).values() if isinstance(m, MemberDescriptorType))


def slots(thing: Any) -> dict[MemberDescriptorType, Any]:
    """Return the values in the slots of an object; slots that hold none are left out."""
    found = {}
    for member in members(thing):
        with suppress(AttributeError):
            found[member] = member.__get__(thing)
    return found


def items(container: Any) -> dict[Any, Any]:
    """Return up to 100 items of a dict, list, tuple or deque, by key or index; else none."""
    if isinstance(container, dict):
        return dict(islice(container.items(), _MOST_ITEMS))
    if isinstance(container, (list, tuple, deque)):
        return dict(enumerate(islice(container, _MOST_ITEMS)))
    return {}


def variables(function: FunctionType) -> dict[str, Any]:
    """Return the values that a function can use: defaults, closure, and globals that it names.

    Globals of library functions are left out. For a function of this package there are none: an
    integration restores what its step uses.
    """
    if function.__code__.co_filename.startswith(_THIS_PACKAGE):
        return {}
    code, defaults = function.__code__, function.__defaults__ or ()
    arguments = code.co_varnames[: code.co_argcount]
    found = dict(zip(arguments[len(arguments) - len(defaults) :], defaults, strict=True))
    found |= function.__kwdefaults__ or {}
    if is_written_by_user(function):
        named = names_in(code) & function.__globals__.keys()
        found |= {name: function.__globals__[name] for name in sorted(named)}
    for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
        with suppress(ValueError):  # not assigned yet
            found[name] = cell.cell_contents
    return found


def names_in(code: CodeType) -> frozenset[str]:
    """Return the names of globals and attributes in some code and the functions within."""
    inner = (names_in(part) for part in code.co_consts if isinstance(part, CodeType))
    return frozenset(code.co_names).union(*inner)


def is_written_by_user(function: Any) -> bool:
    """Return whether this is a function outside the standard library and installed packages."""
    return isinstance(function, FunctionType) and not is_in_library(function.__code__.co_filename)


def users_function(function: Any) -> FunctionType | None:
    """Return the user's function inside decorators of a library, such as `torch.no_grad`."""
    if not isinstance(function, FunctionType):
        return None
    inner: Any = inspect.unwrap(function, stop=is_written_by_user)
    return inner if is_written_by_user(inner) else None


def is_in_library(path: str) -> bool:
    """Return whether a source file belongs to the standard library or an installed package."""
    return path.startswith(_LIBRARIES) or "site-packages" in path or "dist-packages" in path

"""Holding Ctrl-C back while something must be finished."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_HELD = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def held_back() -> Iterator[None]:
    """Hold Ctrl-C and a request to terminate back until the block has ended, then deliver them.

    Outside the main thread, where Python delivers no signal, it does nothing.
    """
    arrived: list[int] = []
    handlers = _install(lambda number, _: arrived.append(number))
    try:
        yield
    finally:
        for held, handler in reversed(handlers.items()):
            signal.signal(held, handler)
    for number in dict.fromkeys(arrived):
        signal.raise_signal(number)


def _install(handler: Any) -> dict[signal.Signals, Any]:
    if threading.current_thread() is not threading.main_thread():
        return {}
    # A handler that was not installed from Python is told as None and could not be put back.
    known = [number for number in _HELD if signal.getsignal(number) is not None]
    return {number: signal.signal(number, handler) for number in known}

"""Signal handlers, such as that of Ctrl-C or of a test runner's timeout, wait for a restore."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable
from types import FrameType
from typing import Any

# An exception in the few microseconds that reinstalling takes makes it start again.
_MOST_INTERRUPTIONS = 100


class DeferredSignals:
    """Defers the Python handlers of all signals while a context manager exits.

    A handler may raise between any two instructions, also before the first line of `__exit__`,
    where no `try` could catch it. Therefore the handlers are replaced for as long as the context
    is entered. The replacement calls the handler at once, unless it finds `__exit__` of the owner
    on the stack. Outside the main thread, where Python runs no handler, nothing is replaced.

    Args:
        owner: the context manager; its `__enter__` calls `install`, its `__exit__` ends with
            `uninstall`.
    """

    def __init__(self, owner: Any) -> None:
        self._owner = owner
        self._exit = type(owner).__exit__.__code__
        self._handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self._arrived: list[int] = []

    def install(self) -> None:
        """Replace every handler that was written in Python."""
        if threading.current_thread() is not threading.main_thread():
            return
        for number in signal.valid_signals():
            handler = signal.getsignal(number)
            if callable(handler):
                self._handlers[number] = handler
                signal.signal(number, self._on_signal)

    def uninstall(self) -> None:
        """Install the original handlers again and call those whose signals have arrived.

        Raises:
            BaseException: the first exception that a handler raised, after all were called.
        """
        raised: list[BaseException] = []
        for _ in range(_MOST_INTERRUPTIONS):
            try:
                self._reinstall()
                break
            except BaseException as error:  # of a handler that is already back
                raised.append(error)
        for number in dict.fromkeys(self._arrived):
            try:
                self._handlers[number](number, sys._getframe())
            except BaseException as error:
                raised.append(error)
        self._arrived.clear()
        if raised:
            raise raised[0]

    def _reinstall(self) -> None:
        for number, handler in self._handlers.items():
            # One that the block itself has installed stays.
            if signal.getsignal(number) == self._on_signal:
                signal.signal(number, handler)

    def _on_signal(self, number: int, frame: FrameType | None) -> None:
        if self._is_exiting(frame):
            self._arrived.append(number)
        else:
            self._handlers[number](number, frame)

    def _is_exiting(self, frame: FrameType | None) -> bool:
        while frame is not None:
            if frame.f_code is self._exit and frame.f_locals.get("self") is self._owner:
                return True
            frame = frame.f_back
        return False

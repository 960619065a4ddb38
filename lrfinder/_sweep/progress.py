"""The progress bar with rate and loss; tqdm is imported only if the bar is shown."""

from __future__ import annotations

import time
import warnings
from typing import Any

# Seconds between two refreshes, so that the bar costs almost nothing.
_INTERVAL = 0.1


class Progress:
    """Shows how far a sweep is; a context that closes the bar at its end.

    Args:
        total: optimizer steps in all.
        label: text in front of the bar.
        shown: show the bar; False also imports nothing.
    """

    def __init__(self, total: int, label: str = "range test", *, shown: bool = True) -> None:
        self.shown = shown
        self._bar: Any = None
        self._done = 0
        self._latest: tuple[float, float] | None = None
        self._next = 0.0
        if shown:
            with warnings.catch_warnings():
                # In a notebook without ipywidgets the bar of the terminal serves as well.
                warnings.simplefilter("ignore")
                from tqdm.auto import tqdm
            self._bar = tqdm(total=total, desc=label, unit="step", dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._report()
            self._bar.close()

    def update(self, lr: float, loss: float) -> None:
        """Count one more step, at this learning rate and with this loss."""
        self._done += 1
        self._latest = lr, loss
        if self._bar is not None and (now := time.perf_counter()) >= self._next:
            self._next = now + _INTERVAL
            self._report()

    def extend(self, steps: int) -> None:
        """Raise the total by further steps, >= 0."""
        if self._bar is not None:
            self._bar.total += steps

    def _report(self) -> None:
        if self._latest is not None:
            lr, loss = self._latest
            self._bar.set_postfix_str(f"lr={lr:.2e}, loss={loss:.4g}", refresh=False)
        self._bar.update(self._done - self._bar.n)

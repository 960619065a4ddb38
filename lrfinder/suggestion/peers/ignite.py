"""The suggestion of ignite."""

from __future__ import annotations

import numpy as np

from lrfinder._result import Curve
from lrfinder.suggestion._rule import Reading
from lrfinder.suggestion.peers._history import need, plain_history, reading


def ignite(curve: Curve) -> Reading:
    """Return the rate at the steepest central difference left of the minimum.

    The average weighs a new loss with 5 %, and the sweep ends at 5 times its lowest value.

    Raises:
        NoSuggestionError: fewer than 3 losses up to the lowest.

    References:
        PyTorch-Ignite 0.5, `ignite.handlers.lr_finder.FastaiLRFinder.lr_suggestion`.
    """
    lr, loss = plain_history(curve, smooth_f=0.05, diverge_th=5)
    falling = loss[: int(np.argmin(loss)) + 1]
    need(3, falling, "ignite")
    at = 1 + int(np.argmin(falling[2:] - falling[:-2]))
    return reading(lr[at], "ignite sees the steepest gradient left of the minimum there")

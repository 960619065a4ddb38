"""The suggestion of torch-lr-finder."""

from __future__ import annotations

import numpy as np

from lrfinder._result import Curve
from lrfinder.suggestion._rule import Reading
from lrfinder.suggestion.peers._history import need, plain_history, reading

_FIRST, _LAST = 10, 5  # points cut at both ends


def torch_lr_finder(curve: Curve) -> Reading:
    """Return the rate at the steepest step of the smoothed curve.

    The average weighs a new loss with 5 %, and the sweep ends at 5 times its lowest value.

    Raises:
        NoSuggestionError: fewer than 17 losses before the sweep ends.

    References:
        David Silva, torch-lr-finder 0.2.2, `LRFinder.range_test` and `LRFinder.plot`.
    """
    lr, loss = plain_history(curve, smooth_f=0.05, diverge_th=5)
    need(_FIRST + _LAST + 2, loss, "torch-lr-finder")
    at = _FIRST + int(np.gradient(loss[_FIRST:-_LAST]).argmin())
    return reading(lr[at], "torch-lr-finder sees the steepest gradient there")

"""The suggestion of Lightning."""

from __future__ import annotations

import numpy as np

from lrfinder._result import Curve
from lrfinder.suggestion._rule import Reading
from lrfinder.suggestion.peers._history import debiased_history, need, reading

_FIRST, _LAST = 10, 1  # points cut at both ends


def lightning(curve: Curve) -> Reading:
    """Return the rate where the smoothed loss falls fastest against the rate itself.

    The slope is per unit of the rate, not of its logarithm. The average weighs the past with
    98 %, its debiasing counts one step too many, and the sweep ends at 4 times its lowest value.

    Raises:
        NoSuggestionError: fewer than 2 finite losses are left between the cut ends.

    References:
        Lightning 2.6, `lightning.pytorch.tuner.lr_finder`: `_LRCallback`, `_LRFinder.suggestion`.
    """
    lr, loss = debiased_history(curve, beta=0.98, diverge_th=4, ahead=1)
    inside = np.arange(len(loss))[_FIRST:-_LAST]
    inside = inside[np.isfinite(loss[inside])]
    need(2, inside, "Lightning")
    at = inside[np.gradient(loss[inside], lr[inside]).argmin()]
    return reading(lr[at], "Lightning sees the steepest slope against the rate itself there")

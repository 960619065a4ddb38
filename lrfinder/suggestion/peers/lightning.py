"""The suggestion of Lightning."""

from __future__ import annotations

import numpy as np

from lrfinder._result import Curve
from lrfinder.suggestion._rule import Reading
from lrfinder.suggestion.peers._history import Array, need, reading, until_diverged

_FIRST, _LAST = 10, 1  # points cut at both ends
_BETA = 0.98


def lightning(curve: Curve) -> Reading:
    """Return the rate where the smoothed loss falls fastest against the rate itself.

    The slope is per unit of the rate, not of its logarithm. The average weighs the past with
    98 %, its debiasing counts one step too many, and the sweep ends at 4 times its lowest value.

    Raises:
        NoSuggestionError: fewer than 2 finite losses are left between the cut ends.

    References:
        Lightning 2.6, `lightning.pytorch.tuner.lr_finder`: `_LRCallback`, `_LRFinder.suggestion`.
    """
    lr, loss = until_diverged(curve.lr, _average(curve.loss), diverge_th=4)
    inside = np.arange(len(loss))[_FIRST:-_LAST]
    inside = inside[np.isfinite(loss[inside])]
    need(2, inside, "Lightning")
    at = inside[np.gradient(loss[inside], lr[inside]).argmin()]
    return reading(lr[at], "Lightning sees the steepest slope against the rate itself there")


def _average(loss: Array) -> Array:
    average, averages = 0.0, []
    for step, value in enumerate(loss.tolist(), start=1):
        average = _BETA * average + (1 - _BETA) * value
        averages.append(average / (1 - _BETA ** (step + 1)))
    return np.asarray(averages)

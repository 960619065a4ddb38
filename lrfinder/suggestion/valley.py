"""fastai's rule: about half way down the longest valley of the smoothed losses."""

from __future__ import annotations

from bisect import bisect_left

import numpy as np

from lrfinder._errors import NoSuggestionError
from lrfinder.suggestion._curve import Array, Curve
from lrfinder.suggestion._descent import Descent
from lrfinder.suggestion._rule import Reading

# What fastai hands to its rule: an average that weighs the past with 98 %, up to 4 times its lowest
# value, without the first ten points and the last five.
_BETA = 0.98
_DIVERGED = 4.0
_FIRST, _LAST = 10, 5


def valley(descent: Descent) -> Reading:
    """Return the rate about half way down the longest valley.

    The valley is the longest falling subsequence of the smoothed losses; the rate lies half its
    length before its end. It names one rate, which is also its `max_lr`.

    Raises:
        NoSuggestionError: if fewer than 16 losses were recorded before the sweep diverged.

    References:
        fastai 2.8, `fastai.callback.schedule.valley`; its documentation credits ESRI.
    """
    lr, loss = _history(descent.curve)
    length = _longest_falls(loss)
    end = int(np.argmax(length))
    start = end - length[end] if end else 0
    third = (end - start) / 3
    at = float(lr[start + int(third) + int(third / 2)])
    return Reading(at, at, "it is about half way down the longest falling subsequence (fastai)")


def _history(curve: Curve) -> tuple[Array, Array]:
    loss = _average(curve.loss)
    too_high = np.flatnonzero(loss > _DIVERGED * np.fmin.accumulate(loss))
    end = int(too_high[0]) + 1 if len(too_high) else len(loss)
    kept = slice(_FIRST, max(end - _LAST, 0))
    gaps = np.flatnonzero(np.isnan(loss[kept]))
    count = int(gaps[0]) if len(gaps) else len(loss[kept])
    if not count:
        raise NoSuggestionError(
            f"the rule valley needs at least {_FIRST + _LAST + 1} losses before the sweep "
            f"diverges, got {end}; raise num_iter, or use another rule"
        )
    return curve.lr[kept][:count], loss[kept][:count]


def _longest_falls(loss: Array) -> list[int]:
    """Return, for each point, the length of the longest falling subsequence that ends there."""
    lengths, lowest = [], list[float]()  # lowest[k]: minus the highest end of a fall of k + 1
    for value in loss.tolist():
        place = bisect_left(lowest, -value)
        lowest[place : place + 1] = [-value]
        lengths.append(place + 1)
    return lengths


def _average(loss: Array) -> Array:
    """Return the debiased average in single precision: equal values decide the longest fall."""
    average, averages = np.float32(0), []
    for step, value in enumerate(loss.astype(np.float32), start=1):
        average = average - (average - value) * (np.float32(1) - np.float32(_BETA))
        averages.append(average / np.float32(1 - _BETA**step))
    return np.asarray(averages, dtype=np.float64)

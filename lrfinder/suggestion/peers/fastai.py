"""The four suggestions of fastai."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lrfinder._result import Curve
from lrfinder.suggestion._rule import Reading
from lrfinder.suggestion.peers._history import Array, need, reading, until_diverged

# A tenth of the steps of a sweep of 100, fastai's default, and five points at the end.
_FIRST, _LAST = 10, 5
_BETA = 0.98
_SLIDE_GAP = 15
_SLIDE_FLAT = 0.005


def valley(curve: Curve) -> Reading:
    """Return the rate halfway down the longest valley.

    The valley is the longest falling subsequence of the smoothed losses; the rate lies half its
    length before its end.

    Raises:
        NoSuggestionError: no losses are left between the cut ends.

    References:
        fastai 2.8, `fastai.callback.schedule.valley`; its documentation credits ESRI.
    """
    lr, loss = _history(curve, fewest=1)
    length = _longest_falls(loss)
    end = int(length.argmax())
    start = end - int(length[end]) if end else 0
    third = (end - start) / 3
    at = start + int(third) + int(third / 2)
    return reading(lr[at], "fastai's valley: about half way down the longest falling subsequence")


def slide(curve: Curve) -> Reading:
    """Return the rate 15 steps left of where the slope is first level over 15 steps, from the end.

    Raises:
        NoSuggestionError: fewer than 16 losses between the cut ends.

    References:
        fastai 2.8, `fastai.callback.schedule.slide`; its documentation credits Andrew Chang.
    """
    lr, loss = _history(curve, fewest=_SLIDE_GAP + 1)
    slope = np.gradient(loss)
    change = np.abs(slope[_SLIDE_GAP:] - slope[:-_SLIDE_GAP])
    level = np.flatnonzero(~(change > _SLIDE_FLAT))
    # The rate belongs to the step before the level one; at the very end there is none.
    at = min(int(level[-1]) + 1, len(change) - 1) if len(level) else 0
    return reading(lr[at], "fastai's slide: the slope has become level to its right")


def minimum(curve: Curve) -> Reading:
    """Return a tenth of the rate at which the smoothed loss is lowest.

    Raises:
        NoSuggestionError: no losses are left between the cut ends.

    References:
        fastai 2.8, `fastai.callback.schedule.minimum`.
    """
    lr, loss = _history(curve, fewest=1)
    return reading(
        lr[loss.argmin()] / 10, "fastai's minimum: a tenth of the rate of the lowest loss"
    )


def steep(curve: Curve) -> Reading:
    """Return the rate before the steepest step against the logarithm of the rate.

    Raises:
        NoSuggestionError: fewer than 2 losses between the cut ends.

    References:
        fastai 2.8, `fastai.callback.schedule.steep`.
    """
    lr, loss = _history(curve, fewest=2)
    slope = np.diff(loss) / np.diff(np.log(lr))
    return reading(lr[slope.argmin()], "fastai's steep: the next step falls most")


def _history(curve: Curve, fewest: int) -> tuple[Array, Array]:
    """Return what fastai hands to its rules: an average of 98 %, up to 4 times its lowest value."""
    lr, loss = until_diverged(curve.lr, _average(curve.loss), diverge_th=4)
    need(_FIRST + _LAST + fewest, loss, "fastai")
    lr, loss = lr[_FIRST:-_LAST], loss[_FIRST:-_LAST]
    gaps = np.flatnonzero(np.isnan(loss))
    end = gaps[0] if len(gaps) else len(loss)
    need(fewest, loss[:end], "fastai")
    return lr[:end], loss[:end]


def _longest_falls(loss: Array) -> npt.NDArray[np.int64]:
    """Return, for each point, the length of the longest falling subsequence that ends there."""
    length = np.ones(len(loss), dtype=np.int64)
    for i in range(1, len(loss)):
        longer = length[:i][loss[:i] > loss[i]]
        length[i] = 1 + longer.max(initial=0)
    return length


def _average(loss: Array) -> Array:
    """Return the debiased average in single precision: equal values decide the longest fall."""
    average, averages = np.float32(0), []
    for step, value in enumerate(loss.astype(np.float32), start=1):
        average = average - (average - value) * (np.float32(1) - np.float32(_BETA))
        averages.append(average / np.float32(1 - _BETA**step))
    return np.asarray(averages, dtype=np.float64)

"""What the other libraries record: smoothed losses, up to where they stop."""

from __future__ import annotations

from collections.abc import Sized

import numpy as np
import numpy.typing as npt

from lrfinder._errors import NoSuggestionError
from lrfinder._result import Curve
from lrfinder._sweep.smoothing import ema
from lrfinder.suggestion._rule import Reading

Array = npt.NDArray[np.float64]


def plain_history(curve: Curve, smooth_f: float, diverge_th: float) -> tuple[Array, Array]:
    """Return rates and exponentially smoothed losses up to the first that is too high.

    Args:
        curve: recorded values.
        smooth_f: weight of a new loss.
        diverge_th: multiple of the lowest loss so far that ends the sweep.
    """
    return until_diverged(curve.lr, np.asarray(ema(curve.loss.tolist(), smooth_f)), diverge_th)


def until_diverged(lr: Array, loss: Array, diverge_th: float) -> tuple[Array, Array]:
    """Return both up to the first loss above a multiple of the lowest so far.

    NaN is neither below nor above anything: it does not stop the libraries either.
    """
    too_high = loss > diverge_th * np.fmin.accumulate(loss)
    end = int(np.argmax(too_high)) + 1 if too_high.any() else len(loss)
    return lr[:end], loss[:end]


def need(points: int, recorded: Sized, library: str) -> None:
    """Refuse a history that is too short for a library.

    Raises:
        NoSuggestionError: fewer than `points` losses were recorded.
    """
    if len(recorded) < points:
        raise NoSuggestionError(
            f"expected at least {points} losses before the sweep ends, as {library} does, got "
            f"{len(recorded)}; raise num_iter, or take one of our own rules"
        )


def reading(lr: float, why: str) -> Reading:
    """Return a single rate as a reading; it serves as the upper bound as well."""
    return Reading(float(lr), float(lr), why)

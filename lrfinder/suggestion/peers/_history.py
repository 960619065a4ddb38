"""What the other libraries record: smoothed losses, up to where they stop."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from lrfinder._errors import NoSuggestionError
from lrfinder._result import Curve
from lrfinder._smoothing import ema
from lrfinder.suggestion._rule import Reading

Array = npt.NDArray[np.float64]


def plain_history(curve: Curve, smooth_f: float, diverge_th: float) -> tuple[Array, Array]:
    """Return rates and exponentially smoothed losses up to the first that is too high.

    Args:
        curve: recorded values.
        smooth_f: weight of a new loss.
        diverge_th: multiple of the lowest loss so far that ends the sweep.
    """
    return _until_diverged(curve.lr, np.asarray(ema(curve.loss.tolist(), smooth_f)), diverge_th)


def debiased_history(
    curve: Curve, beta: float, diverge_th: float, ahead: int = 0
) -> tuple[Array, Array]:
    """Return rates and debiased averages of the losses up to the first that is too high.

    Args:
        curve: recorded values.
        beta: weight of the past; the average starts at zero.
        diverge_th: multiple of the lowest loss so far that ends the sweep.
        ahead: how far the count of steps in the debiasing is ahead of the losses.
    """
    average, smoothed = 0.0, []
    for count, loss in enumerate(curve.loss.tolist(), start=1):
        average = beta * average + (1 - beta) * loss
        smoothed.append(average / (1 - beta ** (count + ahead)))
    return _until_diverged(curve.lr, np.asarray(smoothed), diverge_th)


def _until_diverged(lr: Array, loss: Array, diverge_th: float) -> tuple[Array, Array]:
    # NaN is below nothing and above nothing: it does not stop the libraries either.
    too_high = loss > diverge_th * np.fmin.accumulate(loss)
    end = int(np.argmax(too_high)) + 1 if too_high.any() else len(loss)
    return lr[:end], loss[:end]


def need(points: int, recorded: Array, library: str) -> None:
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

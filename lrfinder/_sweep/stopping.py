"""Decides when a sweep ends: losses in, a reason out."""

from __future__ import annotations

import math
from collections import deque
from enum import Enum
from typing import Protocol

from lrfinder._errors import InvalidInputError
from lrfinder._sweep.checks import is_number
from lrfinder._sweep.smoothing import ema_step

# The mean absolute difference of two normal draws is 2 / sqrt(pi) standard deviations.
_SIGMA_PER_DIFFERENCE = math.sqrt(math.pi) / 2
# A fall smaller than this many standard deviations of the noise is not a descent to compare with.
NOISE_FLOOR = 4.0
# Steps in which the noise is estimated whatever the loss does; later only while it falls.
_NOISE_STEPS = 10
# Nor is a fall within the resolution of a float32 loss: 8 units in its last place.
RESOLUTION = 2.0**-20
# The scaler halves its scale at each skip: after 64 in a row no finite gradient can overflow,
# whatever the scale was. An `update_step` accumulates over fewer calls as a rule.
MOST_SKIPS_IN_A_ROW = 64


class StopReason(str, Enum):
    """Why a sweep ended.

    Attributes:
        sentence: what happened.

    Example:
        >>> StopReason("diverged").sentence
        'The loss rose far above its best value.'
    """

    sentence: str

    def __new__(cls, value: str, sentence: str = "") -> StopReason:
        reason = str.__new__(cls, value)
        reason._value_, reason.sentence = value, sentence
        return reason

    COMPLETED = "completed", "Every learning rate of the grid was used."
    DIVERGED = "diverged", "The loss rose far above its best value."
    NON_FINITE = "non-finite loss", "The loss became infinite or NaN."
    OUT_OF_DATA = "out of data", "The loader ended and cannot be started again."
    CALLBACK = "ended by on_step", "The on_step callback asked to stop."
    ALL_SKIPPED = "every step skipped", "The optimizer skipped step after step."


def check_diverge_th(diverge_th: float) -> None:
    """Raise `InvalidInputError` if a divergence threshold is not above 1."""
    if not (is_number(diverge_th) and diverge_th > 1):
        raise InvalidInputError(
            f"diverge_th must be a number > 1, got {diverge_th!r}; 5 is a good start, math.inf "
            "never stops"
        )


class StopCondition(Protocol):
    """Decides after each loss whether a sweep or a trial ends."""

    def update(self, loss: float) -> StopReason | None:
        """Take the loss of one step; return the reason to stop, or None to continue."""


class DivergenceStop:
    """Ends a sweep once its loss has diverged.

    The rise above the best smoothed loss is compared with the fall from the first loss to the
    best, or with the noise if there was no fall. A comparison with the best loss itself would stop
    at once on losses near or below zero, and would depend on a constant added to the loss. What is
    smoothed is the median of the last three losses, so that a single odd batch has no effect.

    Args:
        smooth_f: weight of a new loss in the smoothed one, in [0, 1).
        diverge_th: stop when the loss has risen by `diverge_th - 1` times the fall, > 1.
    """

    def __init__(self, smooth_f: float, diverge_th: float) -> None:
        self._smooth_f = smooth_f
        self._times = diverge_th - 1
        self._count = 0
        self._recent: deque[float] = deque(maxlen=3)
        self._first = self._best = 0.0
        self._smoothed: float | None = None
        self._differences = 0.0
        self._noise = 0.0

    def update(self, loss: float) -> StopReason | None:
        """Take the loss of one step; return the reason to stop, or None to continue."""
        if not math.isfinite(loss):
            return StopReason.NON_FINITE
        self._differences += abs(loss - self._recent[-1]) if self._recent else 0.0
        self._recent.append(loss)
        recent = sorted(self._recent)
        median = recent[1] if len(recent) == 3 else sum(recent) / len(recent)
        smoothed = self._smoothed = ema_step(self._smoothed, median, self._smooth_f)
        if self._count == 0:
            self._first = self._best = smoothed
        if smoothed <= self._best or self._count <= _NOISE_STEPS:
            # Only before divergence, which makes all differences large.
            self._noise = _SIGMA_PER_DIFFERENCE * self._differences / max(self._count, 1)
            self._best = min(self._best, smoothed)
        self._count += 1
        rise = smoothed - self._best
        return StopReason.DIVERGED if rise > 0 and rise > self._times * self._scale() else None

    def _scale(self) -> float:
        fall = self._first - self._best
        return max(fall, NOISE_FLOOR * self._noise, RESOLUTION * abs(self._best))

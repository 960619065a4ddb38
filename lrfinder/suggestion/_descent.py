"""The descent of a curve, analysed once: rules, diagnosis, confidence and pictures all read it."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lrfinder._errors import NoSuggestionError
from lrfinder._sweep.stopping import RESOLUTION
from lrfinder.suggestion._curve import Curve
from lrfinder.suggestion._smoothing import gaussian_smooth, median_filter

Array = npt.NDArray[np.float64]

# The peak of a cycle as a share of the rate with the lowest loss. A sweep only passes there: its
# loss falls on for some steps after the rate has become too high to stay at, and a cycle as a share
# of a longer training stays longer. Too high costs far more than too low, so the share is a half.
# Measured on the tasks of the benchmark, mean excess with 1 and 1/2: 0.24 and 0.25 at their own
# length, 1.10 and 0.35 at four times as many steps.
_PEAK = 0.5
# Fewer points than this do not show a shape.
_FEWEST_POINTS = 5
# Smoothing that finds the minimum: about a seventh of a decade at 12 steps per decade.
_WIDTH = 2.0
# The fall of a smoothed curve of pure noise stays below this many of the standard deviations that
# the smoothing leaves, in 9 of 10 sweeps of 50 to 200 steps (simulated; a test repeats it).
_SIGMAS = 6.5
# From 10 % to 90 % of a step that a Gaussian has smoothed, in its standard deviations.
_TEN_TO_NINETY = 2.563
# The curve begins flat if less than this share of its fall is done in its first decade.
_FLAT = 0.1


class Descent(NamedTuple):
    """A curve with the landmarks of its fall.

    Attributes:
        curve: what was analysed.
        lr: rates up to the last finite loss, shape `(n,)`.
        raw: losses without gaps and single outliers, shape `(n,)`.
        loss: the same, smoothed without lag, shape `(n,)`.
        minimum: index of the lowest smoothed loss.
        top: highest smoothed loss left of the minimum.
        noise: standard deviation of the raw loss around its trend.

    Example:
        >>> def lowest(descent: Descent) -> float:  # what a rule looks like
        ...     return descent.minimum_lr
    """

    curve: Curve
    lr: Array
    raw: Array
    loss: Array
    minimum: int
    top: float
    noise: float

    @property
    def bottom(self) -> float:
        """The lowest smoothed loss."""
        return float(self.loss[self.minimum])

    @property
    def fall(self) -> float:
        """How far the smoothed loss falls in all, >= 0."""
        return self.top - self.bottom

    @property
    def minimum_lr(self) -> float:
        """Rate at which the smoothed loss is lowest."""
        return float(self.lr[self.minimum])

    @property
    def is_significant(self) -> bool:
        """Whether the fall stands above the noise and above what a float32 loss resolves."""
        if self.minimum == 0:
            return False
        level = float(np.abs(self.loss[: self.minimum + 1]).max())
        noise = max(_SIGMAS * smoothed_noise(self.noise), RESOLUTION * level)
        return self.fall > noise

    @property
    def begins_flat(self) -> bool:
        """Whether less than 10 % of the fall is done in the first decade."""
        return self.minimum > 0 and bool(self.lr[self.last_above(_FLAT)] >= 10 * self.lr[0])

    @property
    def points(self) -> int:
        """Number of steps between 10 % and 90 % of the fall."""
        return self.last_above(0.9) - self.last_above(0.1)

    @property
    def own_points(self) -> float:
        """The same without what the smoothing adds to a fall that is shorter than its kernel."""
        added = _TEN_TO_NINETY * _WIDTH
        return math.sqrt(max(self.points**2 - added**2, 1.0))

    def last_above(self, share: float) -> int:
        """Return the last index left of the minimum at which a share of the fall is still to come.

        Args:
            share: of the fall that is done, in (0, 1).
        """
        above = np.flatnonzero(self.loss[: self.minimum + 1] > self.top - share * self.fall)
        return int(above[-1]) if len(above) else 0

    def peak_lr(self, lr: float) -> float:
        """Return the upper bound of a cycle: half the rate with the lowest loss, >= `lr`.

        Args:
            lr: suggested for a constant rate, > 0.
        """
        return max(lr, _PEAK * self.minimum_lr)

    def check_significant(self) -> None:
        """Raise `NoSuggestionError` if there is no descent above the noise."""
        finite = np.isfinite(self.curve.loss).sum()
        if finite < _FEWEST_POINTS:
            raise NoSuggestionError(
                f"need at least {_FEWEST_POINTS} finite points, got {finite} of "
                f"{len(self.curve.loss)}; lower start_lr and end_lr, or raise num_iter"
            )
        if self.is_significant:
            return
        first, last = self.lr[0], self.lr[-1]
        if self.minimum == 0:
            raise NoSuggestionError(
                f"expected a curve that falls, got one that only rises from its start at "
                f"lr={first:.1e}; lower start_lr"
            )
        raise NoSuggestionError(
            f"expected a descent, got a fall of {self.fall:.2g} in noise of {self.noise:.2g} "
            f"between lr={first:.1e} and {last:.1e}; raise end_lr or num_iter, use larger batches, "
            "or pass cached_batches=1"
        )


def analyze_descent(curve: Curve) -> Descent:
    """Return the landmarks of a curve, whether or not its fall stands above the noise.

    Args:
        curve: recorded values; NaN and infinity are bridged inside and cut at the end. Fewer than
            5 finite values show no shape: then there is nothing in the landmarks.

    Example:
        >>> from lrfinder import RangeTestResult, StopReason
        >>> lr = tuple(10 ** (step / 10 - 6) for step in range(61))
        >>> loss = tuple(0.3 + 2.0 / (1 + (100 * rate) ** 2) for rate in lr)
        >>> result = RangeTestResult(lr, loss, "exp", 0.05, StopReason.COMPLETED)
        >>> descent = analyze_descent(result.curve())
        >>> round(descent.top, 1), round(descent.bottom, 1), descent.minimum_lr
        (2.3, 0.3, 1.0)
    """
    finite = np.flatnonzero(np.isfinite(curve.loss))
    if len(finite) < _FEWEST_POINTS:
        nothing = np.empty(0)
        return Descent(curve, nothing, nothing, nothing, 0, math.nan, 0.0)
    steps = np.arange(finite[-1] + 1)
    loss = np.interp(steps, finite, curve.loss[finite])
    raw = median_filter(loss)
    smooth = gaussian_smooth(raw, _WIDTH)
    minimum = int(np.argmin(smooth))
    top = float(smooth[: minimum + 1].max())
    return Descent(curve, curve.lr[steps], raw, smooth, minimum, top, noise_level(loss))


def noise_level(loss: Array) -> float:
    """Return the standard deviation of the noise, from second differences, which trends leave out.

    References:
        Theo Gasser, Lothar Sroka and Christine Jennen-Steinmetz, "Residual variance and residual
        pattern in nonlinear regression", Biometrika 73 (1986), section 2.
    """
    if len(loss) < 3:
        return 0.0
    second = loss[2:] - 2 * loss[1:-1] + loss[:-2]
    median_to_sigma = 0.6745 * math.sqrt(6)  # of a normal variable; the three weights 1, -2, 1
    return float(np.median(np.abs(second)) / median_to_sigma)


def smoothed_noise(noise: float) -> float:
    """Return the standard deviation that the smoothing leaves of independent noise."""
    return noise / math.sqrt(2 * math.sqrt(math.pi) * _WIDTH)

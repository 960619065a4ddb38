"""The descent of a curve: cleaned, smoothed without lag, cut at its minimum, or refused."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lrfinder._errors import NoSuggestionError
from lrfinder._result import Curve
from lrfinder._sweep.smoothing import gaussian_smooth
from lrfinder._sweep.stopping import RESOLUTION

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


class Descent(NamedTuple):
    """A curve that falls, with the landmarks that rules refer to.

    Attributes:
        lr: rates, shape `(n,)`, evenly spaced in the logarithm (in the rate if linear).
        raw: losses without gaps and single outliers, shape `(n,)`.
        loss: smoothed without lag, shape `(n,)`.
        minimum: index of the lowest smoothed loss.
        top: smoothed loss at the highest point left of the minimum.
        noise: standard deviation of the raw loss around its trend.
    """

    lr: Array
    raw: Array
    loss: Array
    minimum: int
    top: float
    noise: float

    @property
    def fall(self) -> float:
        """How far the smoothed loss falls in all, > 0."""
        return float(self.top - self.loss[self.minimum])

    def last_above(self, share: float) -> int:
        """Return the last index left of the minimum at which a share of the fall is still to come.

        Args:
            share: of the fall that is done, in (0, 1).
        """
        above = np.flatnonzero(self.loss[: self.minimum + 1] > self.top - share * self.fall)
        return int(above[-1]) if len(above) else 0

    @property
    def significant(self) -> bool:
        """Whether the fall stands above the noise and above what a float32 loss resolves."""
        level = float(np.abs(self.loss[: self.minimum + 1]).max())
        noise = max(_SIGMAS * smoothed_noise(self.noise), RESOLUTION * level)
        return self.minimum > 0 and self.fall > noise

    @property
    def minimum_lr(self) -> float:
        """Rate at which the smoothed loss is lowest."""
        return float(self.lr[self.minimum])

    def peak_lr(self, lr: float) -> float:
        """Return the upper bound of a cycle around a rate: half the rate with the lowest loss.

        Args:
            lr: suggested for a constant rate, > 0; the bound is never below it.
        """
        return max(lr, _PEAK * self.minimum_lr)

    @property
    def points(self) -> int:
        """How many steps lie between 10 % and 90 % of the fall."""
        return self.last_above(0.9) - self.last_above(0.1)

    @property
    def own_points(self) -> float:
        """The same without what the smoothing adds to a fall that is shorter than it."""
        added = _TEN_TO_NINETY * _WIDTH
        return math.sqrt(max(self.points**2 - added**2, 1.0))


def find_descent(curve: Curve) -> Descent:
    """Return the descent of a curve.

    Args:
        curve: recorded values; NaN and infinity are bridged inside and cut at the end.

    Raises:
        NoSuggestionError: if there are too few finite points, or no descent above the noise.
    """
    descent = landmarks(curve)
    if not descent.significant:
        raise NoSuggestionError(_no_descent(descent))
    return descent


def landmarks(curve: Curve) -> Descent:
    """Return the landmarks of a curve, whether or not they stand above the noise.

    Args:
        curve: recorded values; NaN and infinity are bridged inside and cut at the end.

    Raises:
        NoSuggestionError: if there are too few finite points.
    """
    lr, loss = finite_part(curve)
    raw = despike(loss)
    smooth = gaussian_smooth(raw, _WIDTH)
    minimum = int(np.argmin(smooth))
    top = float(smooth[: minimum + 1].max())
    return Descent(lr, raw, smooth, minimum, top, noise_level(loss))


def finite_part(curve: Curve) -> tuple[Array, Array]:
    """Return rates and losses up to the last finite loss, with gaps bridged.

    Raises:
        NoSuggestionError: if fewer than 5 losses are finite.
    """
    finite = np.flatnonzero(np.isfinite(curve.loss))
    if len(finite) < _FEWEST_POINTS:
        raise NoSuggestionError(
            f"need at least {_FEWEST_POINTS} finite points, got {len(finite)} of "
            f"{len(curve.loss)}; lower start_lr and end_lr, or raise num_iter"
        )
    steps = np.arange(finite[-1] + 1)
    return curve.lr[steps], np.interp(steps, finite, curve.loss[finite])


def despike(loss: Array) -> Array:
    """Return the running median of three, which a single outlying batch cannot move.

    References:
        John W. Tukey, "Exploratory Data Analysis", 1977, chapter 7.
    """
    padded = np.concatenate((loss[:1], loss, loss[-1:]))
    return np.median(np.stack((padded[:-2], padded[1:-1], padded[2:])), axis=0)


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


def _no_descent(descent: Descent) -> str:
    first, last = descent.lr[0], descent.lr[-1]
    if descent.minimum == 0:
        return (
            f"expected a curve that falls, got one that only rises from its start at "
            f"lr={first:.1e}; lower start_lr"
        )
    return (
        f"expected a descent, got a fall of {descent.fall:.2g} in noise of {descent.noise:.2g} "
        f"between lr={first:.1e} and {last:.1e}; raise end_lr or num_iter, use larger batches, "
        "or pass cached_batches=1"
    )

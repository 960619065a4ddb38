"""The descent of a curve: cleaned, smoothed without lag, cut at its minimum, or refused."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from lrfinder._errors import NoSuggestionError
from lrfinder._result import Curve
from lrfinder._smoothing import gaussian_slope, gaussian_smooth

Array = npt.NDArray[np.float64]

# Fewer points than this do not show a shape.
_FEWEST_POINTS = 5
# A fall of fewer standard deviations of the smoothed curve is noise.
_SIGMAS = 4.0


class Descent(NamedTuple):
    """The part of a curve that falls.

    Attributes:
        lr: rates, shape `(n,)`.
        loss: smoothed loss, shape `(n,)`.
        slope: its change per step, shape `(n,)`.
        minimum: index of the lowest smoothed loss.
        noise: standard deviation of the raw loss around the smoothed one.
    """

    lr: Array
    loss: Array
    slope: Array
    minimum: int
    noise: float


def find_descent(curve: Curve, width: float) -> Descent:
    """Return the descent of a curve.

    Args:
        curve: recorded values; NaN and infinity are bridged inside and cut at the end.
        width: of the smoothing, in points, > 0.

    Raises:
        NoSuggestionError: if there are too few finite points, or no descent above the noise.
    """
    lr, raw = finite_part(curve)
    level = despike(raw)
    loss, slope = gaussian_smooth(level, width), gaussian_slope(level, width)
    minimum = int(np.argmin(loss))
    noise = noise_level(level)
    fall = float(loss[: minimum + 1].max() - loss[minimum])
    if minimum == 0 or fall <= _SIGMAS * noise / np.sqrt(2 * np.sqrt(np.pi) * width):
        raise NoSuggestionError(_no_descent(lr, minimum))
    return Descent(lr, loss, slope, minimum, noise)


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
    """Return the running median of three, which a single outlying batch cannot move."""
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
    return float(np.median(np.abs(second)) / 0.6745 / np.sqrt(6))


def _no_descent(lr: Array, minimum: int) -> str:
    if minimum == 0:
        return (
            f"expected a curve that falls, got one that only rises from its start at "
            f"lr={lr[0]:.1e}; lower start_lr"
        )
    return (
        f"expected a descent, got a curve that stays within its noise from lr={lr[0]:.1e} to "
        f"{lr[-1]:.1e}; raise end_lr or num_iter, or use larger batches"
    )

"""Smoothing without lag, for rules and pictures.

A causal average of an exponential sweep is late by `1 / smooth_f` steps, which at the usual 12
steps per decade is a factor of 4 in the learning rate. Rules therefore read a symmetric kernel.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from lrfinder._sweep.grid import Array

# Beyond this many standard deviations a Gaussian weight is below 1 %.
_REACH = 3.0
# Beyond this many it is below the resolution of a float64.
_NEGLIGIBLE = 8.5
# A kernel that is narrower than this, squared, sees a single point.
_NO_SPREAD = 1e-9


def median_filter(loss: Array) -> Array:
    """Return the running median of three, which a single outlying batch cannot move.

    References:
        John W. Tukey, "Exploratory Data Analysis", 1977, chapter 7.
    """
    padded = np.concatenate((loss[:1], loss, loss[-1:]))
    return np.median(np.stack((padded[:-2], padded[1:-1], padded[2:])), axis=0)


def gaussian_smooth(values: Sequence[float] | Array, width: float) -> Array:
    """Return a local linear fit of `values` under a Gaussian weight, which has no lag.

    A local line instead of a local mean keeps straight pieces straight up to both ends, so that
    the ends do not bend towards the inside and fake a slope. The fit is kept within the range of
    the values under it, which a line beside a jump would leave.

    Args:
        values: shape `(n,)`, finite, n >= 1, evenly spaced.
        width: standard deviation of the weight in points, > 0.

    References:
        William S. Cleveland, "Robust Locally Weighted Regression and Smoothing Scatterplots",
        JASA 74 (1979), section 2; Jianqing Fan, "Design-adaptive Nonparametric Regression",
        JASA 87 (1992), on the bias of local means at the ends.
    """
    y = np.asarray(values, dtype=np.float64)
    reach = math.ceil(_REACH * width)
    under = sliding_window_view(np.pad(y, reach, mode="edge"), 2 * reach + 1)
    return np.clip(_local_lines(y, width)[0], under.min(axis=1), under.max(axis=1))


def gaussian_slope(values: Sequence[float] | Array, width: float) -> Array:
    """Return the slope per point of the fit of `gaussian_smooth`; zero for a single point."""
    return _local_lines(np.asarray(values, dtype=np.float64), width)[1]


def _local_lines(y: Array, width: float) -> tuple[Array, Array]:
    """Return level and slope of the weighted line at each point, in n log(n) steps."""
    n = len(y)
    reach = min(n - 1, math.ceil(_NEGLIGIBLE * width))
    offset = np.arange(-reach, reach + 1, dtype=np.float64)
    weight = np.exp(-0.5 * (offset / width) ** 2)
    size = 1 << (n + 2 * reach).bit_length()

    def sums(values: Array, kernel: Array) -> Array:
        """Sum the values around each point, weighted by a kernel of their offsets."""
        product = np.fft.rfft(values, size) * np.fft.rfft(kernel[::-1], size)
        return np.fft.irfft(product, size)[reach : reach + n]

    ones, centre = np.ones(n), y.mean()
    total = sums(ones, weight)
    mean_offset = sums(ones, weight * offset) / total
    mean_y = sums(y - centre, weight) / total
    spread = sums(ones, weight * offset**2) / total - mean_offset**2
    covariance = sums(y - centre, weight * offset) / total - mean_offset * mean_y
    known = spread > _NO_SPREAD
    slope = np.divide(covariance, spread, out=np.zeros(n), where=known)
    return centre + mean_y - slope * mean_offset, slope

"""Smoothing without lag, for rules and pictures.

A causal average of an exponential sweep is late by `1 / smooth_f` steps, which at the usual 12
steps per decade is a factor of 4 in the learning rate. Rules therefore read a symmetric kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[np.float64]


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
    the ends do not bend towards the inside and fake a slope.

    Args:
        values: shape `(n,)`, finite, n >= 1, evenly spaced.
        width: standard deviation of the weight in points, > 0.

    Returns:
        Smoothed values, shape `(n,)`.

    References:
        William S. Cleveland, "Robust Locally Weighted Regression and Smoothing Scatterplots",
        JASA 74 (1979), section 2; Jianqing Fan, "Design-adaptive Nonparametric Regression",
        JASA 87 (1992), on the bias of local means at the ends.
    """
    return _local_lines(values, width)[0]


def gaussian_slope(values: Sequence[float] | Array, width: float) -> Array:
    """Return the slope of the local linear fit of `gaussian_smooth`, per point.

    Args:
        values: shape `(n,)`, finite, n >= 1, evenly spaced.
        width: standard deviation of the weight in points, > 0.

    Returns:
        Slopes, shape `(n,)`; zero where there is a single point.
    """
    return _local_lines(values, width)[1]


def _local_lines(values: Sequence[float] | Array, width: float) -> tuple[Array, Array]:
    y = np.asarray(values, dtype=np.float64)
    position = np.arange(len(y), dtype=np.float64)
    offset = position[None, :] - position[:, None]
    weight = np.exp(-0.5 * (offset / width) ** 2)
    weight /= weight.sum(axis=1, keepdims=True)
    mean_offset = (weight * offset).sum(axis=1)
    mean_y = weight @ y
    centred = offset - mean_offset[:, None]
    spread = (weight * centred**2).sum(axis=1)
    covariance = (weight * centred * (y[None, :] - mean_y[:, None])).sum(axis=1)
    slope = np.divide(covariance, spread, out=np.zeros_like(covariance), where=spread > 0)
    return mean_y - slope * mean_offset, slope

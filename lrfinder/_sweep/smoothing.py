"""Smoothing of losses: causal for the stop test and the history, without lag for rules and plots.

A causal average of a curve that is swept exponentially is late by `1 / smooth_f` steps, which at
the usual 12 steps per decade is a factor of 4 in the learning rate. Rules therefore read a
symmetric kernel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from lrfinder._errors import InvalidInputError

Array = npt.NDArray[np.float64]


def check_smooth_f(smooth_f: float) -> None:
    """Refuse a smoothing factor outside [0, 1)."""
    if not 0 <= smooth_f < 1:
        raise InvalidInputError(
            f"expected smooth_f in [0, 1), got {smooth_f!r}; 0 records the raw loss, 0.05 weighs "
            "each new loss with 5 %"
        )


def ema_step(previous: float | None, value: float, smooth_f: float) -> float:
    """Return the exponential moving average after one more value.

    Args:
        previous: the average so far; None before the first value.
        value: the new value.
        smooth_f: weight of the new value, in [0, 1); 0 turns smoothing off.
    """
    if previous is None or smooth_f == 0:
        return value
    return previous + smooth_f * (value - previous)  # in this form a constant stays itself


def ema(values: Sequence[float] | Array, smooth_f: float) -> list[float]:
    """Return the exponential moving average of `values`, starting at the first of them.

    Args:
        values: shape `(n,)`.
        smooth_f: weight of each new value, in [0, 1); 0 returns the values.

    Example:
        >>> ema([1.0, 0.0, 0.0], 0.5)
        [1.0, 0.5, 0.25]
    """
    averages: list[float] = []
    average: float | None = None
    for value in values:
        average = ema_step(average, float(value), smooth_f)
        averages.append(average)
    return averages


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

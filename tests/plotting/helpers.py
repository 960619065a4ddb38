"""Recorded-looking curves with a known shape."""

from __future__ import annotations

import numpy as np

from lrfinder import RangeTestResult, StopReason


def result(lr, loss, **fields):
    """Return a result with the given curve, completed and exponential unless told otherwise."""
    fields = {"step_mode": "exp", "smooth_f": 0.05, "stop_reason": StopReason.COMPLETED, **fields}
    return RangeTestResult(lr=tuple(map(float, lr)), loss=tuple(map(float, loss)), **fields)


def rates(points=100):
    return np.geomspace(1e-6, 1.0, points)


def descent(lr, *, centre=1e-2, top=2.3, bottom=0.3):
    """Return a smooth step down in log(lr), steepest at `centre`."""
    return bottom + (top - bottom) / (1 + (lr / centre) ** 2)


def falling(points=100, **fields):
    lr = rates(points)
    return result(lr, descent(lr), **fields)


def exploding(points=100, **fields):
    """Return a descent to 0.3 that ends in values beyond 1e9."""
    lr = rates(points)
    loss = descent(lr) + np.where(lr > 0.2, 1e9 * lr, 0.0)
    return result(lr, loss, stop_reason=StopReason.DIVERGED, **fields)


def rising(points=100):
    """Return a curve that only rises, which names no rate."""
    lr = rates(points)
    return result(lr, 2.3 + lr)

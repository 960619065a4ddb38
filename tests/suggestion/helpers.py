"""Curves of a known shape, as a range test would record them."""

import numpy as np

from lrfinder import RangeTestResult, StopReason


def result(loss, lr=None, *, step_mode="exp", stop=StopReason.COMPLETED, repeats=()):
    """A result that holds the given losses."""
    loss = np.asarray(loss, dtype=float)
    if lr is None:
        space = np.geomspace if step_mode == "exp" else np.linspace
        lr = space(1e-7, 10.0, len(loss))
    return RangeTestResult(
        lr=tuple(float(value) for value in lr),
        loss=tuple(float(value) for value in loss),
        step_mode=step_mode,
        smooth_f=0.05,
        stop_reason=stop,
        group_lrs=(tuple(float(value) for value in lr),),
        repeats=tuple(tuple(float(value) for value in row) for row in repeats),
    )


def logistic(
    points=100,
    centre=1e-3,
    width=0.35,
    top=2.3,
    bottom=0.3,
    explode_at=1.0,
    noise=0.0,
    seed=0,
):
    """A fall that is logistic in log10(lr), steepest at `centre`, exploding from `explode_at`.

    The noise is the same at every call with the same seed.
    """
    x = np.linspace(-7, 1, points)
    fall = (top - bottom) / (1 + np.exp(-(x - np.log10(centre)) / width))
    rise = np.expm1(np.clip(4 * (x - np.log10(explode_at)), 0, 12))
    return top - fall + rise + noise * np.random.default_rng(seed).normal(size=points)

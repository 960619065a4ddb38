"""The rate at the steepest fall of the curve."""

from __future__ import annotations

import numpy as np

from lrfinder._result import Curve
from lrfinder.suggestion._descent import find_descent
from lrfinder.suggestion._rule import Reading


def steepest(curve: Curve) -> Reading:
    """Return the rate at which the loss falls fastest, left of its minimum.

    References:
        Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017,
        section 3.3.
    """
    descent = find_descent(curve, width=2.0)
    slope = descent.slope
    if curve.step_mode == "linear":
        slope = slope / np.gradient(descent.lr)
    at = int(np.argmin(slope[: descent.minimum + 1]))
    return Reading(
        lr=float(descent.lr[at]),
        max_lr=float(descent.lr[descent.minimum]),
        why=(
            f"the loss falls fastest there, before its minimum at {descent.lr[descent.minimum]:.1e}"
        ),
    )

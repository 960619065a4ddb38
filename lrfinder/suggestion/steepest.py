"""The rate at the steepest fall of the curve, seen at the scale of the whole fall."""

from __future__ import annotations

import numpy as np

from lrfinder.suggestion._descent import Descent, Reading
from lrfinder.suggestion._smoothing import gaussian_slope

# Width of the slope's window as a share of the steps between 10 % and 90 % of the fall: wide
# enough that no local wiggle of a long descent outdoes the whole, narrow enough to see its centre.
_SHARE_OF_FALL = 0.25
# A fall within a step or two still needs neighbours to take a slope from.
_NARROWEST = 1.0


def steepest(descent: Descent) -> Reading:
    """Return the rate at which the loss falls fastest, left of its minimum.

    The slope is taken against log(lr) on an exponential sweep and against lr on a linear one: in
    both the points are evenly spaced, so it is the slope per step. Its window is as wide as the
    descent asks for, so the answer neither follows a wiggle of the noise nor moves when the same
    descent is swept in more steps. What rises beyond the minimum is cut at the height of the
    start, so that an explosion cannot lean into the window.

    References:
        Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017,
        section 3.3, for the descent as the range of useful rates; the window is our own.
    """
    width = max(_NARROWEST, _SHARE_OF_FALL * descent.fall_steps)
    slope = gaussian_slope(np.minimum(descent.raw, descent.top), width)
    lr = float(descent.lr[np.argmin(slope[: descent.minimum + 1])])
    why = (
        f"the loss falls fastest there, on its way from {descent.top:.3g} to "
        f"{descent.bottom:.3g} at lr={descent.minimum_lr:.1e}"
    )
    return Reading(lr, descent.peak_lr(lr), why)

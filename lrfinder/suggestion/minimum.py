"""A safe margin below the rate at which the loss is lowest."""

from __future__ import annotations

from lrfinder.suggestion._descent import Descent, Reading

# At the minimum the sweep is only passing; a training that stays there has no margin left.
_MARGIN = 4.0


def minimum(descent: Descent) -> Reading:
    """Return a quarter of the rate at which the smoothed loss is lowest.

    References:
        Leslie N. Smith, "Cyclical Learning Rates for Training Neural Networks", WACV 2017,
        section 3.3: the rate where the curve turns bounds a cycle from above, a third or a quarter
        of it from below.
    """
    lr = descent.minimum_lr / _MARGIN
    why = f"it is a quarter of {descent.minimum_lr:.1e}, where the loss is lowest"
    return Reading(lr, descent.peak_lr(lr), why)

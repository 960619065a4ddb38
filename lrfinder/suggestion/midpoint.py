"""The rate at which half of the fall is done."""

from __future__ import annotations

from lrfinder.suggestion._descent import Descent, Reading


def midpoint(descent: Descent) -> Reading:
    """Return the last rate at which half of the fall from the top to the minimum is to come.

    A long, even fall has no clear steepest point, but always a middle. On a fall that is symmetric
    in log(lr) it agrees with `steepest`.

    References:
        Half-maximum timing of a noisy edge; our own use.
    """
    lr = float(descent.lr[descent.last_above(0.5)])
    why = f"half of the fall from {descent.top:.3g} to {descent.bottom:.3g} is done there"
    return Reading(lr, descent.peak_lr(lr), why)

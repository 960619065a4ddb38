"""What a picture shows of a result, in numbers: the visible part, smoothed, and its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from lrfinder._sweep.grid import Array
from lrfinder.suggestion import Curve, Descent, analyze_descent

# Points that a picture must keep for a shape to be seen.
_FEWEST_POINTS = 5
# How far above the descent a picture reaches, in heights of the descent, when the loss explodes.
_HEADROOM = 0.5


@dataclass(frozen=True, eq=False)
class Line:
    """One recorded quantity as it is drawn.

    Attributes:
        lr: rates, shape `(n,)`.
        raw: recorded values, shape `(n,)`; NaN where they were not finite.
        smoothed: what the rules read, shape `(n,)`; NaN where there is nothing to smooth.
        band: lowest and highest smoothed value of several sweeps, shape `(2, n)`; None for one.
    """

    lr: Array
    raw: Array
    smoothed: Array
    band: Array | None = None

    def at(self, lr: float) -> float:
        """Return the smoothed value at a rate; NaN outside of the line."""
        known = np.isfinite(self.smoothed)
        if not known.any():
            return float("nan")
        return float(np.interp(lr, self.lr[known], self.smoothed[known], left=np.nan, right=np.nan))


def line_of(descent: Descent, low: float, high: float) -> Line:
    """Return the part of an analysed curve between two rates, with the band of its repeats."""
    curve = descent.curve
    visible = (curve.lr >= low) & (curve.lr <= high)
    raw = np.where(np.isfinite(curve.loss), curve.loss, np.nan)
    band = _band(curve)[:, visible] if len(curve.repeats) > 1 else None
    return Line(curve.lr[visible], raw[visible], _smoothed(descent)[visible], band)


def visible_rates(curve: Curve, skip_start: int, skip_end: int) -> tuple[float, float]:
    """Return the lowest and highest rate to draw; skips that leave too few points are ignored."""
    points = len(curve.lr)
    if points - skip_start - skip_end < _FEWEST_POINTS:
        skip_start = skip_end = 0
    kept = curve.lr[skip_start : points - skip_end]
    return (float(kept[0]), float(kept[-1])) if len(kept) else (0.0, 0.0)


def y_limits(lines: Sequence[Line]) -> tuple[float, float] | None:
    """Return the limits within which the descents are seen; None where matplotlib should choose."""
    spans = [span for line in lines if (span := _span(line)) is not None]
    if not spans:
        return None
    low, high = min(low for low, _ in spans), max(high for _, high in spans)
    margin = 0.05 * (high - low)
    return (low - margin, high + margin) if margin > 0 else None


def _smoothed(descent: Descent) -> Array:
    smoothed = np.full(len(descent.curve.lr), np.nan)
    smoothed[: len(descent.loss)] = descent.loss
    return smoothed


def _band(curve: Curve) -> Array:
    singles = [analyze_descent(single) for single in curve.singles()]
    sweeps = np.stack([_smoothed(descent) for descent in singles])
    # A rate that only some sweeps reached has no band: it would jump where one of them ends.
    return np.stack((sweeps.min(axis=0), sweeps.max(axis=0)))


def _span(line: Line) -> tuple[float, float] | None:
    """Return the lowest and the highest value to be seen of one line."""
    raw = line.raw[np.isfinite(line.raw)]
    if not len(raw):
        return None
    low = float(raw.min())
    top = low + (1 + _HEADROOM) * (_height(line, raw) - low)
    return low, min(float(raw.max()), top)


def _height(line: Line, raw: Array) -> float:
    """Return the level from which the curve falls, or the median loss if it only rises."""
    smoothed = np.where(np.isfinite(line.smoothed), line.smoothed, np.inf)
    minimum = int(np.argmin(smoothed))
    if minimum < 3:
        return float(np.median(raw))
    # One outlying batch must not press the rest of the picture flat.
    return float(np.nanquantile(line.raw[: minimum + 1], 0.95))

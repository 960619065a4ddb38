"""What a picture shows of a result, in numbers: the visible part, smoothed, and its limits."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from lrfinder._errors import NoSuggestionError
from lrfinder._result import Curve, RangeTestResult
from lrfinder._sweep.smoothing import gaussian_smooth
from lrfinder.suggestion._descent import despike, finite_part

Array = npt.NDArray[np.float64]

# Points that a picture must keep for a shape to be seen.
_FEWEST_POINTS = 5
# Width of the kernel in points: that of the rules, so that the line is what they read.
_WIDTH = 2.0
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


def training_line(result: RangeTestResult, skip_start: int = 0, skip_end: int = 0) -> Line:
    """Return the training loss with the band of its repeats.

    Args:
        result: what the range test recorded.
        skip_start: points to leave out at the start, >= 0; both skips are ignored where they
            would leave fewer than 5.
        skip_end: points to leave out at the end, >= 0.
    """
    visible = _visible(len(result), skip_start, skip_end)
    return _line(result.curve("loss"), visible)


def validation_line(result: RangeTestResult, skip_start: int = 0, skip_end: int = 0) -> Line | None:
    """Return the validation loss within the same range of rates; None where there is none."""
    if not result.val_loss:
        return None
    curve = result.curve("val_loss")
    visible = _visible(len(result), skip_start, skip_end)
    steps = np.asarray(result.val_steps)
    inside = np.flatnonzero((steps >= visible.start) & (steps < visible.stop))
    return _line(curve, slice(inside[0], inside[-1] + 1) if len(inside) else slice(0, 0))


def y_limits(lines: Sequence[Line]) -> tuple[float, float] | None:
    """Return the limits within which the descents are seen, whatever comes after them.

    Args:
        lines: all that is drawn on the axes.

    Returns:
        Bottom and top; None where the library that draws should choose.
    """
    spans = [span for line in lines if (span := _span(line)) is not None]
    if not spans:
        return None
    low, high = min(low for low, _ in spans), max(high for _, high in spans)
    margin = 0.05 * (high - low)
    return (low - margin, high + margin) if margin > 0 else None


def _visible(points: int, skip_start: int, skip_end: int) -> slice:
    if points - skip_start - skip_end < _FEWEST_POINTS:
        return slice(0, points)
    return slice(skip_start, points - skip_end)


def _line(curve: Curve, visible: slice) -> Line:
    raw = np.where(np.isfinite(curve.loss), curve.loss, np.nan)
    band = _band(curve) if len(curve.repeats) > 1 else None
    return Line(
        lr=curve.lr[visible],
        raw=raw[visible],
        smoothed=_smoothed(curve)[visible],
        band=None if band is None else band[:, visible],
    )


def _smoothed(curve: Curve) -> Array:
    smoothed = np.full(len(curve.lr), np.nan)
    try:
        _, level = finite_part(curve)
    except NoSuggestionError:
        return smoothed  # too few points for a shape: the raw ones stand alone
    smoothed[: len(level)] = gaussian_smooth(despike(level), _WIDTH)
    return smoothed


def _band(curve: Curve) -> Array:
    sweeps = np.stack([_smoothed(replace(curve, loss=losses)) for losses in curve.repeats])
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
    """Return the level from which the curve falls, or half of the points where it only rises."""
    smoothed = np.where(np.isfinite(line.smoothed), line.smoothed, np.inf)
    minimum = int(np.argmin(smoothed))
    if minimum < 3:
        return float(np.median(raw))
    # One outlying batch must not press the rest of the picture flat.
    return float(np.nanquantile(line.raw[: minimum + 1], 0.95))

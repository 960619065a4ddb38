"""The descent of a curve, analysed once: rules, diagnosis, confidence and pictures all read it."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from lrfinder._errors import NoSuggestionError
from lrfinder._sweep.grid import Array, decades
from lrfinder._sweep.stopping import (
    MOST_SKIPS_IN_A_ROW,
    NOISE_FLOOR,
    RESOLUTION,
    StopReason,
)
from lrfinder.suggestion._curve import Curve
from lrfinder.suggestion._smoothing import gaussian_smooth, median_filter

# The peak of a cycle as a share of the rate with the lowest loss. A sweep only passes there: its
# loss falls on for some steps after the rate has become too high to stay at, and a cycle as a share
# of a longer run stays longer. Too high costs far more than too low, so the share is a half.
# Measured on the tasks of the benchmark, mean excess with 1 and 1/2: 0.24 and 0.25 at their own
# length, 1.10 and 0.35 at four times as many steps.
_PEAK_OF_MINIMUM = 0.5
# Fewer points than this do not show a shape.
_FEWEST_POINTS = 5
# Smoothing that finds the minimum, in steps: about a sixth of a decade at 12 steps per decade; and
# the least share of a decade, for sweeps of thousands of steps.
_WIDTH = 2.0
_SHARE_OF_DECADE = 1 / 50
# A loss this many times the fall above the level of the start has exploded; a sweep of the default
# `diverge_th` ends after as high a rise.
_EXPLOSION = 4.0
# The highest of some smoothed values of noise lies about this many deviations above their mean.
_START_SIGMAS = 3.0
# The fall of a smoothed curve of pure noise stays below this many of the standard deviations that
# the smoothing leaves, in 9 of 10 sweeps of 50 to 200 steps (simulated; a test repeats it).
_SIGMAS = 6.5
# Where the lowest point is the last one: a local line has more noise at an end, where it has
# neighbours on one side only.
_AT_THE_END = 1.5
# From 10 % to 90 % of a step that a Gaussian has smoothed, in its standard deviations.
_TEN_TO_NINETY = 2.563
# What lets a sweep go on that was not ended by its loss.
_TO_GO_ON = {
    StopReason.OUT_OF_DATA: "pass a loader that can be iterated again",
    StopReason.CALLBACK: "let on_step end the sweep later",
    StopReason.ALL_SKIPPED: (
        "check for inf or NaN in the gradients, or train in bfloat16 or float32; an update_step "
        f"must step at least once in {MOST_SKIPS_IN_A_ROW} calls"
    ),
}
# The curve begins flat if less than this share of its fall is done in its first decade.
_FLAT = 0.1


class Descent(NamedTuple):
    """A curve and what was measured of its fall.

    Attributes:
        curve: what was analysed.
        lr: rates up to the last finite loss, or to where the loss exploded, shape `(n,)`.
        raw: losses without gaps and single outliers, capped at about one fall above the start,
            shape `(n,)`.
        loss: the same, smoothed without lag, shape `(n,)`.
        minimum: index of the lowest smoothed loss.
        top: highest smoothed loss left of the minimum, but not above the level of the start.
        noise: standard deviation of the raw loss around its trend.
        width: standard deviation of the smoothing's kernel, in steps.

    Example:
        >>> def lowest(descent: Descent) -> float:  # what a rule looks like
        ...     return descent.minimum_lr
    """

    curve: Curve
    lr: Array
    raw: Array
    loss: Array
    minimum: int
    top: float
    noise: float
    width: float

    @property
    def bottom(self) -> float:
        """The lowest smoothed loss."""
        return float(self.loss[self.minimum])

    @property
    def fall(self) -> float:
        """How far the smoothed loss falls in all, >= 0."""
        return self.top - self.bottom

    @property
    def minimum_lr(self) -> float:
        """Rate at which the smoothed loss is lowest."""
        return float(self.lr[self.minimum])

    @property
    def exploded(self) -> bool:
        """Whether the loss rose far above its start; what came after that was left out."""
        return len(self.lr) < len(self.curve.lr) and bool(
            np.isfinite(self.curve.loss[len(self.lr) :]).any()
        )

    @property
    def reaches_end(self) -> bool:
        """Whether the sweep came to its last rate, and the loss was finite and no explosion."""
        is_whole = len(self.lr) == len(self.curve.lr)
        return is_whole and self.curve.stop_reason is StopReason.COMPLETED

    @property
    def is_significant(self) -> bool:
        """Whether the fall stands above the noise and above what a float32 loss resolves."""
        return self.minimum > 0 and self.fall > self._smallest_change

    @property
    def _smallest_change(self) -> float:
        """The smallest change of the smoothed loss that is not noise."""
        return max(self._change_by_noise, RESOLUTION * self._level)

    @property
    def _level(self) -> float:
        return float(np.abs(self.loss[: self.minimum + 1]).max())

    @property
    def _change_by_noise(self) -> float:
        sigmas = _SIGMAS * (_AT_THE_END if self.minimum > len(self.loss) - 1 - self.width else 1.0)
        return sigmas * _smoothed_noise(self.noise, self.width)

    @property
    def begins_flat(self) -> bool:
        """Whether less than 10 % of the fall is done in the first decade."""
        return self.minimum > 0 and bool(self.lr[self.last_above(_FLAT)] >= 10 * self.lr[0])

    @property
    def fall_steps(self) -> int:
        """Number of steps between 10 % and 90 % of the fall."""
        return self.last_above(0.9) - self.last_above(0.1)

    @property
    def unsmoothed_fall_steps(self) -> float:
        """The same without what the smoothing adds to a fall that is shorter than its kernel."""
        added = _TEN_TO_NINETY * self.width
        return math.sqrt(max(self.fall_steps**2 - added**2, 1.0))

    def last_above(self, share: float) -> int:
        """Return the last index up to the minimum at which less than a share of the fall is done.

        Args:
            share: of the fall, in (0, 1).
        """
        above = np.flatnonzero(self.loss[: self.minimum + 1] > self.top - share * self.fall)
        return int(above[-1]) if len(above) else 0

    def peak_lr(self, lr: float) -> float:
        """Return the upper bound of a cycle: half the rate with the lowest loss, >= `lr`.

        Args:
            lr: suggested for a constant rate, > 0.
        """
        return max(lr, _PEAK_OF_MINIMUM * self.minimum_lr)

    def check_significant(self) -> None:
        """Raise `NoSuggestionError` if there is no descent above the noise."""
        finite = int(np.isfinite(self.curve.loss).sum())
        if finite < _FEWEST_POINTS:
            raise NoSuggestionError(self._why_too_few(finite))
        if not self.is_significant:
            raise NoSuggestionError(self._why_not())

    def _why_too_few(self, finite: int) -> str:
        """Return that there are too few points, with the advice that fits the cause."""
        points = len(self.curve.loss)
        if points and not finite:
            return (
                f"no loss is finite, not even at the first learning rate, {self.curve.lr[0]:.1e}; "
                "check the batches, the loss and the precision"
            )
        advice = advise_to_go_on(self.curve) or "lower start_lr and end_lr, or raise num_iter"
        if not points and self.curve.stop_reason is StopReason.ALL_SKIPPED:
            return (
                f"the optimizer skipped {MOST_SKIPS_IN_A_ROW} steps in a row at the first learning "
                f"rate; {advice}"
            )
        if finite == points < self.curve.steps:
            advice = 'lower val_every, or pass on="loss"'
        return f"need at least {_FEWEST_POINTS} finite points, got {finite} of {points}; {advice}"

    def _why_not(self) -> str:
        """Return why there is no descent, with the advice that fits the cause."""
        first, last = self.lr[0], self.lr[-1]
        span = f"from lr={first:.1e} to {last:.1e}"
        more = advise_more_points(self.curve)
        risen = np.flatnonzero(self.loss - self.loss[0] > self._smallest_change)
        rises = len(risen) > 0 or self.exploded
        if np.ptp(self.raw) == 0 and not rises:
            return (
                f"no learning rate changes the loss, {self.top:.3g}, {span}; check that it depends "
                "on the parameters in the optimizer, or raise end_lr"
            )
        # Less than one unit in the last place is rounding by the smoothing.
        if self.fall > max(self._change_by_noise, RESOLUTION / 8 * self._level):
            return (
                f"the loss falls by {self.fall:.2g}, {span}, which float32 hardly resolves in a "
                f"loss of {self.top:.3g}; raise end_lr, or leave out of the loss what no parameter "
                "changes"
            )
        if not rises:
            advice = advise_to_go_on(self.curve) or (
                f"raise end_lr, {more}, use larger batches, or pass cached_batches=1"
            )
            return (
                f"the loss shows no descent, only noise: it falls by {self.fall:.2g} where its "
                f"noise is {self.noise:.2g}, {span}; {advice}"
            )
        begin = self.lr[risen[0]] if len(risen) else last
        if begin <= 10 * first:
            return (
                f"the loss only rises, from the first learning rates on (lr={first:.1e}); lower "
                "start_lr, or, if something else changes the loss, such as the opponent of a GAN "
                "or the data of a policy, read another quantity with on="
            )
        return (
            f"the loss does not fall before it rises at lr={begin:.1e}; {more} for more points "
            "below that rate, or use larger batches"
        )


def advise_to_go_on(curve: Curve) -> str | None:
    """Return what lets a sweep go on that was not ended by its loss; None for another."""
    return _TO_GO_ON.get(curve.stop_reason)


def advise_more_points(curve: Curve) -> str:
    """Return what gives a curve more points in the same range."""
    has_every_step = len(curve.lr) == curve.steps  # unlike a validation that runs now and then
    return "raise num_iter" if has_every_step else "lower val_every"


class Reading(NamedTuple):
    """What a rule reads off a descent.

    Attributes:
        lr: learning rate, > 0.
        max_lr: upper bound for a cyclic schedule, >= `lr`.
        why: what the rule saw.
    """

    lr: float
    max_lr: float
    why: str


Rule = Callable[[Descent], Reading]


def analyze_descent(curve: Curve) -> Descent:
    """Measure the fall of a curve, whether or not it stands above the noise.

    Args:
        curve: recorded values; NaN and infinity are bridged inside and cut at the end. Fewer than
            5 finite values show no shape: then the arrays of the descent are empty.

    Example:
        >>> from lrfinder import RangeTestResult, StopReason
        >>> lr = tuple(10 ** (step / 10 - 6) for step in range(61))
        >>> loss = tuple(0.3 + 2.0 / (1 + (100 * rate) ** 2) for rate in lr)
        >>> result = RangeTestResult(lr, loss, "exp", 0.05, StopReason.COMPLETED)
        >>> descent = analyze_descent(result.curve())
        >>> round(descent.top, 1), round(descent.bottom, 1), descent.minimum_lr
        (2.3, 0.3, 1.0)
    """
    finite = np.flatnonzero(np.isfinite(curve.loss))
    if len(finite) < _FEWEST_POINTS:
        nothing = np.empty(0)
        return Descent(curve, nothing, nothing, nothing, 0, math.nan, 0.0, _WIDTH)
    steps = np.arange(finite[-1] + 1)
    loss = np.interp(steps, finite, curve.loss[finite])
    raw = median_filter(loss)
    end = _explosion(raw)
    loss, raw = loss[:end], raw[:end]
    wide = decades(curve.lr[0], curve.lr[-1]) if curve.step_mode == "exp" else 1.0
    width = max(_WIDTH, _SHARE_OF_DECADE * len(curve.lr) / max(wide, 1.0))
    noise = noise_level(loss)
    start = _start_level(raw)
    # A rise must not lean into the window of the smoothing: it counts up to twice the fall.
    raw = np.minimum(raw, start + max(start - float(raw.min()), _START_SIGMAS * noise))
    smooth = gaussian_smooth(raw, width)
    minimum = int(np.argmin(smooth))
    # A bump before the fall is no part of it: the fall begins at the level of the start.
    ceiling = max(float(smooth[0]), start) + _START_SIGMAS * _smoothed_noise(noise, width)
    top = min(float(smooth[: minimum + 1].max()), ceiling)
    return Descent(curve, curve.lr[:end], raw, smooth, minimum, top, noise, width)


def _explosion(raw: Array) -> int:
    """Return the number of points before the loss first rises far above the level of its start.

    Far is what ends a sweep: several times the whole fall, or the noise where there is none. What
    comes after that is no descent, and how high the loss rises does not count.
    """
    start = _start_level(raw)
    fall = start - float(raw.min())
    far = start + _EXPLOSION * max(fall, NOISE_FLOOR * noise_level(raw), RESOLUTION * abs(start))
    beyond = np.flatnonzero(raw > far)
    return max(int(beyond[0]), _FEWEST_POINTS) if len(beyond) else len(raw)


def _start_level(raw: Array) -> float:
    """Return the level of the loss in the first tenth of a sweep."""
    return float(np.median(raw[: max(_FEWEST_POINTS, len(raw) // 10)]))


def noise_level(loss: Array) -> float:
    """Return the standard deviation of the noise, from second differences, which trends leave out.

    References:
        Theo Gasser, Lothar Sroka and Christine Jennen-Steinmetz, "Residual variance and residual
        pattern in nonlinear regression", Biometrika 73 (1986), section 2.
    """
    if len(loss) < 3:
        return 0.0
    second = loss[2:] - 2 * loss[1:-1] + loss[:-2]
    median_to_sigma = 0.6745 * math.sqrt(6)  # of a normal variable; the three weights 1, -2, 1
    return float(np.median(np.abs(second)) / median_to_sigma)


def _smoothed_noise(noise: float, width: float) -> float:
    """Return the standard deviation that the smoothing leaves of independent noise."""
    return noise / math.sqrt(2 * math.sqrt(math.pi) * width)

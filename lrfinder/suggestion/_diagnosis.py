"""What a curve looks like, in words, and what to do about it; and how far to trust its rules."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

import numpy as np

from lrfinder._errors import NoSuggestionError
from lrfinder._sweep.stopping import StopReason
from lrfinder.suggestion._curve import Curve
from lrfinder.suggestion._descent import Descent, advise_to_go_on

# A descent over fewer steps than this rests on a handful of batches.
_FEWEST_STEPS = 5
# Where a tenth of the fall is done within this share of the steps, its beginning was not seen.
_BEGINNING = 0.05
# Noise above this share of the fall moves the steepest point by more than the descent is wide.
_MOST_NOISE = 0.25
# Sound rules read one curve within this factor of each other; beyond its square they do not
# describe the same descent.
DISAGREEMENT = 4.0


class Diagnosis(str, Enum):
    """What can be wrong with a curve or with trials; `sentence` says it in words.

    Example:
        >>> Diagnosis.NOISY.sentence
        'From step to step the loss varies by a large part of its fall.'
    """

    NO_DESCENT = "no descent"
    FALLS_FROM_THE_START = "falls from the start"
    MINIMUM_AT_THE_END = "minimum at the end"
    NEVER_DIVERGED = "never diverged"
    FEW_STEPS = "too few steps in the descent"
    NOISY = "noisy descent"
    NON_FINITE = "non-finite loss"
    OUT_OF_DATA = "out of data"
    BEST_TRIAL_AT_THE_EDGE = "best trial at the edge"
    TRIALS_ALIKE = "trials within their noise"
    PLATEAU = "plateau"
    REPEATED_DATA = "repeated data"
    OVERFITTING = "overfitting"
    SWEEP_AND_TRIALS_DISAGREE = "sweep and trials disagree"

    @property
    def sentence(self) -> str:
        """What it means, in words."""
        return _SENTENCES[self]


_SENTENCES = {
    Diagnosis.NO_DESCENT: "The loss does not fall by more than its noise at any rate.",
    Diagnosis.FALLS_FROM_THE_START: "The loss already falls at the first rates.",
    Diagnosis.MINIMUM_AT_THE_END: "The loss is lowest at the highest rate.",
    Diagnosis.NEVER_DIVERGED: "The loss does not rise again after its minimum.",
    Diagnosis.FEW_STEPS: "The whole fall takes only a few steps.",
    Diagnosis.NOISY: "From step to step the loss varies by a large part of its fall.",
    Diagnosis.NON_FINITE: "The loss became infinite or NaN.",
    Diagnosis.OUT_OF_DATA: "The loader ended before the sweep did.",
    Diagnosis.BEST_TRIAL_AT_THE_EDGE: "The best trial is the one at the lowest or highest rate.",
    Diagnosis.TRIALS_ALIKE: "The trials beside the best one differ from it by less than noise.",
    Diagnosis.PLATEAU: "No trial lowered the loss by more than it varies from batch to batch.",
    Diagnosis.REPEATED_DATA: "A trial goes through the training data several times.",
    Diagnosis.OVERFITTING: "In the best trial, the validation loss rises again.",
    Diagnosis.SWEEP_AND_TRIALS_DISAGREE: "The best trial is far from the descent of the sweep.",
}


class Finding(NamedTuple):
    """One thing that a reader of a curve should know.

    Attributes:
        diagnosis: what it is; `diagnosis.sentence` says it in words.
        advice: what to do, with numbers.
        doubtful: whether it lowers the confidence.

    Example:
        >>> print(Finding(Diagnosis.NEVER_DIVERGED, "Raise end_lr.", doubtful=False))
        The loss does not rise again after its minimum. Raise end_lr.
    """

    diagnosis: Diagnosis
    advice: str
    doubtful: bool

    def __str__(self) -> str:
        return f"{self.diagnosis.sentence} {self.advice}"


class Confidence(str, Enum):
    """How far a suggestion can be trusted.

    Each doubtful finding lowers it by one step. So do rules whose rates differ by more than a
    factor of 4; more than 16 lowers it by two.

    Example:
        >>> Confidence("low") is Confidence.LOW
        True
    """

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"


def diagnose(descent: Descent) -> tuple[Finding, ...]:
    """Return what a reader of a curve should know; nothing if the curve is as it should be."""
    stopped = _stop_findings(descent.curve)
    try:
        descent.check_significant()
    except NoSuggestionError as error:
        return (*stopped, Finding(Diagnosis.NO_DESCENT, _sentence(str(error)), doubtful=True))
    return (*stopped, *_end_findings(descent), *_fall_findings(descent))


def confidence(findings: Sequence[Finding], rates: Sequence[float]) -> Confidence:
    """Return how far to trust a suggestion, from its findings and the rates of several rules."""
    doubts = sum(finding.doubtful for finding in findings)
    if len(rates) > 1:
        factor = max(rates) / min(rates)
        doubts += (factor > DISAGREEMENT) + (factor > DISAGREEMENT**2)
    return list(Confidence)[min(doubts, 2)]


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def advise_lower_start(curve: Curve) -> str:
    """Return what shows the beginning of a descent that the sweep does not reach down to."""
    if curve.step_mode == "linear":  # its second rate is the step between two of them
        return f"lower end_lr to {curve.lr[-1] / 10:.0e} for smaller steps, or sweep exponentially"
    return f"lower start_lr to {curve.lr[0] / 1000:.0e}, or pass start_lr=None"


def advise_higher_end(curve: Curve) -> str:
    """Return what shows the end of a descent that goes on beyond the sweep."""
    if curve.step_mode == "linear":
        return f"raise end_lr to {curve.lr[-1] * 10:.0e}"
    return f"raise end_lr to {curve.lr[-1] * 100:.0e}, or pass end_lr=None"


def _stop_findings(curve: Curve) -> Iterator[Finding]:
    last = f"{curve.lr[-1]:.1e}" if len(curve.lr) else "the first rate"
    if curve.stop_reason is StopReason.NON_FINITE and np.isfinite(curve.loss).any():
        yield Finding(Diagnosis.NON_FINITE, f"Keep the rate well below {last}.", doubtful=False)
    if curve.stop_reason is StopReason.OUT_OF_DATA:
        yield Finding(
            Diagnosis.OUT_OF_DATA,
            f"The sweep ended at {last}; {advise_to_go_on(curve)}.",
            doubtful=True,
        )


def _end_findings(descent: Descent) -> Iterator[Finding]:
    last = len(descent.lr) - 1
    if descent.last_above(0.1) <= max(1, _BEGINNING * last):
        yield Finding(
            Diagnosis.FALLS_FROM_THE_START,
            _sentence(advise_lower_start(descent.curve)),
            doubtful=True,
        )
    if not descent.reaches_end:
        return
    if descent.minimum >= last - 1:
        yield Finding(
            Diagnosis.MINIMUM_AT_THE_END,
            _sentence(advise_higher_end(descent.curve)),
            doubtful=True,
        )
    elif descent.loss[-1] - descent.bottom < 0.1 * descent.fall:
        yield Finding(
            Diagnosis.NEVER_DIVERGED,
            f"Raise end_lr above {descent.lr[-1]:.0e} to see where training breaks down.",
            doubtful=False,
        )


def _fall_findings(descent: Descent) -> Iterator[Finding]:
    if descent.unsmoothed_fall_steps < _FEWEST_STEPS:
        times = math.ceil(_FEWEST_STEPS / descent.unsmoothed_fall_steps)
        is_sparse = len(descent.curve.lr) < descent.curve.steps
        more = "Lower val_every" if is_sparse else f"Take {times} times as many steps (num_iter)"
        yield Finding(
            Diagnosis.FEW_STEPS,
            f"{more}, or narrow the range.",
            doubtful=True,
        )
    share = descent.noise / descent.fall
    if share > _MOST_NOISE:
        # Averaging over k times the samples takes the square root of k off the noise.
        times = math.ceil((share / _MOST_NOISE) ** 2)
        yield Finding(
            Diagnosis.NOISY,
            f"Use {times} times the batch size or num_iter, repeats={times}, or cached_batches=1.",
            doubtful=True,
        )

"""From a result and the name of a rule to a suggestion."""

from __future__ import annotations

import math
from collections.abc import Iterator

from lrfinder._errors import InvalidInputError, NoSuggestionError
from lrfinder._result import Curve, RangeTestResult
from lrfinder.suggestion._diagnosis import confidence, diagnose
from lrfinder.suggestion._rule import Reading, Rule
from lrfinder.suggestion._suggestion import Suggestion
from lrfinder.suggestion.midpoint import midpoint
from lrfinder.suggestion.minimum import minimum
from lrfinder.suggestion.steepest import steepest

METHODS: dict[str, Rule] = {
    "steepest": steepest,
    "midpoint": midpoint,
    "minimum": minimum,
}
"""Every rule by its name; a new one is a file and a line here."""

# The rules whose agreement says how sure a suggestion is.
_WITNESSES: tuple[Rule, ...] = (steepest, midpoint, minimum)
# Lower bound of a cycle as a share of the upper one: Smith 2017, section 3.3.
_CYCLE = 1 / 4


def suggest(
    result: RangeTestResult,
    method: str = "steepest",
    *,
    on: str | None = None,
    maximize: bool = False,
) -> Suggestion:
    """Return the learning rate that a rule reads off a result; see `RangeTestResult.suggest`.

    Example:
        >>> from lrfinder import StopReason
        >>> lr = tuple(10 ** (step / 10 - 6) for step in range(61))
        >>> loss = tuple(0.3 + 2.0 / (1 + (100 * rate) ** 2) for rate in lr)
        >>> result = RangeTestResult(
        ...     lr, loss, step_mode="exp", smooth_f=0.05, stop_reason=StopReason.COMPLETED)
        >>> suggest(result, "minimum").lr
        0.25
    """
    if method not in METHODS:
        raise InvalidInputError(f"expected one of {', '.join(METHODS)}, got method={method!r}")
    curve = result.curve(on, maximize=maximize)
    reading = METHODS[method](curve)
    lrs, max_lrs = _repeated(METHODS[method], curve) or ([reading.lr], [reading.max_lr])
    lr, max_lr = _geometric_mean(lrs), _geometric_mean(max_lrs)
    findings = diagnose(result, on=on, maximize=maximize)
    return Suggestion(
        lr=lr,
        method=method,
        why=f"{reading.why} (of minus {on or 'the loss'})" if maximize else reading.why,
        min_lr=min(lr, max_lr * _CYCLE),
        max_lr=max_lr,
        lrs=result.lrs_at(lr),
        interval=(min(lrs), max(lrs)),
        confidence=confidence(findings, [witness.lr for witness in _witnesses(curve)]),
        findings=findings,
        batch_size=result.batch_size,
    )


def _repeated(rule: Rule, curve: Curve) -> tuple[list[float], list[float]] | None:
    """Read each of several sweeps; None if there was one, or if the rule refuses each alone."""
    if len(curve.repeats) < 2:
        return None
    readings = list(_answers([rule], [curve.single(k) for k in range(len(curve.repeats))]))
    return ([r.lr for r in readings], [r.max_lr for r in readings]) if readings else None


def _witnesses(curve: Curve) -> Iterator[Reading]:
    return _answers(list(_WITNESSES), [curve])


def _answers(rules: list[Rule], curves: list[Curve]) -> Iterator[Reading]:
    for curve in curves:
        for rule in rules:
            try:
                yield rule(curve)
            except NoSuggestionError:
                continue


def _geometric_mean(values: list[float]) -> float:
    if len(values) == 1:
        return values[0]
    return math.exp(math.fsum(map(math.log, values)) / len(values))

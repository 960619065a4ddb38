"""From a curve and the name of a rule to a suggestion."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence

from lrfinder._errors import InvalidInputError, NoSuggestionError
from lrfinder.suggestion._curve import Curve
from lrfinder.suggestion._descent import (
    Descent,
    Reading,
    Rule,
    advise_more_points,
    advise_to_go_on,
    analyze_descent,
)
from lrfinder.suggestion._diagnosis import (
    advise_higher_end,
    advise_lower_start,
    confidence,
    diagnose,
)
from lrfinder.suggestion._suggestion import Suggestion
from lrfinder.suggestion.midpoint import midpoint
from lrfinder.suggestion.minimum import minimum
from lrfinder.suggestion.steepest import steepest

METHODS: dict[str, Rule] = {"steepest": steepest, "midpoint": midpoint, "minimum": minimum}
"""Every rule by its name; a new one is a file and a line here."""

# The rules whose agreement says how sure a suggestion is.
_REFERENCE_RULES: tuple[Rule, ...] = (steepest, midpoint, minimum)
# Lower bound of a cycle as a share of the upper one: Smith 2017, section 3.3.
MIN_OF_MAX_LR = 1 / 4


def suggest(descent: Descent, method: str = "steepest") -> Suggestion:
    """Return what the rule of this name reads off a curve; raise if it names no rate."""
    if method not in METHODS:
        raise InvalidInputError(
            f"method must be one of {', '.join(map(repr, METHODS))}, got {method!r}"
        )
    descent.check_significant()
    rule, curve = METHODS[method], descent.curve
    reading = rule(descent)
    _check_inside(reading.lr, descent)
    repeated = list(_readings_of_repeats(rule, curve)) or [reading]
    lr = _geometric_mean([each.lr for each in repeated])
    max_lr = _geometric_mean([each.max_lr for each in repeated])
    findings = diagnose(descent)
    return Suggestion(
        lr=lr,
        method=method,
        why=reading.why,
        min_lr=min(lr, max_lr * MIN_OF_MAX_LR),
        max_lr=max_lr,
        lrs=curve.lrs_at(lr),
        interval=(min(each.lr for each in repeated), max(each.lr for each in repeated)),
        confidence=confidence(findings, [rule(descent).lr for rule in _REFERENCE_RULES]),
        findings=findings,
        batch_size=curve.batch_size,
    )


def _check_inside(lr: float, descent: Descent) -> None:
    """Raise `NoSuggestionError` if a rate lies at an end of what was swept, or beyond it."""
    first, last = float(descent.lr[0]), float(descent.lr[-1])
    if lr <= first:
        raise NoSuggestionError(
            f"the descent begins before the first learning rate, {first:.1e}; "
            f"{advise_lower_start(descent.curve)}"
        )
    if lr < last:
        return
    if descent.reaches_end:
        raise NoSuggestionError(
            f"the descent goes on beyond the last learning rate, {last:.1e}; "
            f"{advise_higher_end(descent.curve)}"
        )
    goes_on = None if descent.exploded else advise_to_go_on(descent.curve)
    raise NoSuggestionError(
        f"the loss falls until lr={last:.1e}, where it breaks down or the sweep ends; "
        f"{goes_on or f'{advise_more_points(descent.curve)} for more points below that rate'}"
    )


def _readings_of_repeats(rule: Rule, curve: Curve) -> Iterator[Reading]:
    """Read each of several sweeps alone; one that shows no descent is left out."""
    for single in curve.singles() if len(curve.repeats) > 1 else ():
        try:
            descent = analyze_descent(single)
            descent.check_significant()
            yield rule(descent)
        except NoSuggestionError:
            continue


def _geometric_mean(values: Sequence[float]) -> float:
    if len(values) == 1:
        return values[0]
    return math.exp(math.fsum(map(math.log, values)) / len(values))

"""From a result and the name of a rule to a suggestion."""

from __future__ import annotations

from lrfinder._errors import InvalidInputError
from lrfinder._result import RangeTestResult
from lrfinder.suggestion._rule import Rule
from lrfinder.suggestion._suggestion import Suggestion
from lrfinder.suggestion.steepest import steepest

METHODS: dict[str, Rule] = {"steepest": steepest}


def suggest(
    result: RangeTestResult, method: str = "steepest", *, on: str | None, maximize: bool
) -> Suggestion:
    """Return the learning rate that a rule reads off a result; see `RangeTestResult.suggest`."""
    if method not in METHODS:
        raise InvalidInputError(f"expected one of {', '.join(METHODS)}, got method={method!r}")
    reading = METHODS[method](result.curve(on, maximize=maximize))
    return Suggestion(
        lr=reading.lr,
        method=method,
        why=reading.why,
        min_lr=reading.lr / 10,
        max_lr=reading.max_lr,
        lrs=result.lrs_at(reading.lr),
    )

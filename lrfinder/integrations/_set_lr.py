"""`set_lr=True`: writing a rate to the framework, or saying why it stays."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from torch.optim import Optimizer

from lrfinder._distributed.rank import is_rank_zero
from lrfinder._errors import InvalidInputError, NoSuggestionError, warn
from lrfinder._result import RangeTestResult
from lrfinder._sweep.grid import END_LR, START_LR, group_grid
from lrfinder._sweep.open_range import resolve_range
from lrfinder.suggestion import Suggestion


def warn_unchanged(reason: NoSuggestionError) -> None:
    """Warn, on the main process, that there is no rate to write."""
    if is_rank_zero():
        warn(f"the learning rate was not changed, because none was found: {reason}")


def suggest_or_warn(result: RangeTestResult) -> Suggestion | None:
    """Return what a curve suggests; if that is nothing, warn that the rate stays."""
    try:
        return result.suggest()
    except NoSuggestionError as reason:
        warn_unchanged(reason)
        return None


def check_one_factor(
    optimizer: Optimizer, rates: Sequence[float], options: Mapping[str, Any], advice: str
) -> None:
    """Raise `InvalidInputError` if a sweep gives rates that no factor makes of others.

    Args:
        optimizer: the one to sweep.
        rates: what `set_lr` would multiply by the factor, one rate for each parameter group.
        options: those of the sweep; read are `start_lr`, `end_lr` and `groups`.
        advice: what to do instead.
    """
    bounds = options.get("start_lr", START_LR), options.get("end_lr", END_LR)
    span = resolve_range(*bounds, num_iter=2, steps_per_decade=None, step_mode="exp")
    ends = span.start_lr, span.end_lr
    grid = group_grid(optimizer, *ends, num_iter=2, step_mode="exp", groups=options.get("groups"))
    for swept in grid.group_lrs.tolist():
        if not _are_proportional(rates, swept):
            raise InvalidInputError(
                "set_lr=True multiplies the rates of all parameter groups by one factor, which "
                f"cannot make {_listed(swept)} of {_listed(rates)}; {advice}"
            )


def _are_proportional(rates: Sequence[float], others: Sequence[float]) -> bool:
    """Return whether a factor > 0 makes the one list of the other; a frozen group stays at 0."""
    pairs = [pair for pair in zip(rates, others, strict=True) if any(pair)]
    if not pairs or not all(all(pair) for pair in pairs):
        return False
    factors = [other / rate for rate, other in pairs]
    return math.isclose(min(factors), max(factors), rel_tol=1e-6)


def _listed(rates: Sequence[float]) -> str:
    return f"[{', '.join(f'{rate:g}' for rate in rates)}]"

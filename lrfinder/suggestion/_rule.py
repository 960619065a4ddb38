"""What every rule has in common: a descent in, a reading out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lrfinder.suggestion._descent import Descent


class Reading(NamedTuple):
    """What a rule reads off a curve.

    Attributes:
        lr: learning rate, > 0.
        max_lr: upper bound for a cyclic schedule, >= `lr`.
        why: what the rule saw.
    """

    lr: float
    max_lr: float
    why: str


Rule = Callable[[Descent], Reading]

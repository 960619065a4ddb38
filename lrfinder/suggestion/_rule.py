"""What every rule has in common: a curve in, a reading out."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from lrfinder._result import Curve


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


Rule = Callable[[Curve], Reading]

"""Rules that read a learning rate off a recorded curve, one per file."""

from __future__ import annotations

from lrfinder.suggestion._suggest import METHODS, suggest
from lrfinder.suggestion._suggestion import Suggestion

__all__ = ["METHODS", "Suggestion", "suggest"]

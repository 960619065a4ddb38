"""Rules that read a learning rate off a recorded curve, one per file."""

from lrfinder.suggestion._diagnosis import Confidence, Diagnosis, Finding, diagnose
from lrfinder.suggestion._suggest import METHODS, suggest
from lrfinder.suggestion._suggestion import Suggestion

__all__ = [
    "METHODS",
    "Confidence",
    "Diagnosis",
    "Finding",
    "Suggestion",
    "diagnose",
    "suggest",
]

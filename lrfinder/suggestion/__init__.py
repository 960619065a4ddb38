"""From a recorded curve to a learning rate.

`analyze_descent` finds the fall of a curve once; each rule is a file that reads one rate off it;
`diagnose` says what is wrong with a curve, and `Suggestion` holds the answer. May import `_sweep`
and what lies below. Read `_curve.py`, `_descent.py`, a rule such as `steepest.py`, `_suggest.py`.
"""

from lrfinder.suggestion._curve import Curve
from lrfinder.suggestion._descent import Descent, analyze_descent
from lrfinder.suggestion._diagnosis import Confidence, Diagnosis, Finding
from lrfinder.suggestion._suggest import METHODS
from lrfinder.suggestion._suggestion import Suggestion

__all__ = [
    "METHODS",
    "Confidence",
    "Curve",
    "Descent",
    "Diagnosis",
    "Finding",
    "Suggestion",
    "analyze_descent",
]

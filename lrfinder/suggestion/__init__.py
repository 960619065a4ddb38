"""From a recorded curve to a learning rate.

`analyze_descent` finds the fall of a `Curve`. Each rule in `METHODS` reads one rate off it, and
`Suggestion` holds the answer.
"""

# Read `_curve.py`, `_descent.py`, a rule such as `steepest.py`, `_suggest.py`; `_diagnosis.py` says
# what is wrong with a curve. The folder may import `_sweep` and what lies below.

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

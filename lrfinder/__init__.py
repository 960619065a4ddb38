r"""The learning-rate range test for PyTorch: exact, cheap, and measured.

```
schedule (rates)    step (batch -> loss)
       \               /
        sweep: the one loop        inside  snapshot: everything it may change, put back
               |
        result: frozen, raw numbers, why it stopped
          /            |              \
   suggestion        plot            export (JSON, CSV, TensorBoard)
       |
  schedules: from a suggestion to torch.optim.lr_scheduler
```
"""

from lrfinder._errors import (
    InvalidInputError,
    LRFinderError,
    LRFinderWarning,
    MissingExtraError,
    NoResultError,
    NoSuggestionError,
    ResultFileError,
    SnapshotError,
    SweepError,
)
from lrfinder._finder import LRFinder
from lrfinder._recommend import Recommendation
from lrfinder._result import RangeTestResult, plot
from lrfinder._snapshot.snapshot import preserve_state
from lrfinder._sweep.stopping import StopReason
from lrfinder._version import __version__
from lrfinder.suggestion import Confidence, Diagnosis, Finding, Suggestion

__all__ = [
    "Confidence",
    "Diagnosis",
    "Finding",
    "InvalidInputError",
    "LRFinder",
    "LRFinderError",
    "LRFinderWarning",
    "MissingExtraError",
    "NoResultError",
    "NoSuggestionError",
    "RangeTestResult",
    "Recommendation",
    "ResultFileError",
    "SnapshotError",
    "StopReason",
    "Suggestion",
    "SweepError",
    "__version__",
    "plot",
    "preserve_state",
]

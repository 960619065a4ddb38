"""The learning rate for a PyTorch model, found before training.

```
cli, integrations    the command, and one file per framework
_finder              LRFinder: checks its arguments and calls the parts that do the work
_recommend           trials around the descent of a sweep, and the recommended rate
_result              RangeTestResult: the numbers, and methods for all that reads them
schedules            from a suggestion to a scheduler of torch
_plotting, _export   pictures; JSON, CSV, data frame, TensorBoard
suggestion           from a curve to a rate: descent, rules, diagnosis
_sweep               the loop: learning-rate grid, step, loss, validation, stop
_distributed         the same on several processes; sharded models
_snapshot            capture and restore of everything that a sweep may change
_errors              every error and warning
```

A line imports only lines below it. The public names are those of `__all__`.
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
from lrfinder._recommend import Recommendation, Trial
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
    "Trial",
    "__version__",
    "plot",
    "preserve_state",
]

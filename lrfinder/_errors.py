"""Every error and warning that the library raises; the command adds its own in `cli/`.

```
LRFinderError
├── InvalidInputError (also ValueError): what was passed in cannot work; nothing is left changed
├── ResultFileError   (also ValueError): a saved result cannot be read
├── SnapshotError     (also RuntimeError): the state could not be stored, and nothing was changed;
│                                          or its file was cut short before it was restored
├── NoSuggestionError (also RuntimeError): the curve names no rate, with the reason
├── NoResultError     (also RuntimeError): a curve was asked for before any range test
├── MissingExtraError (also ImportError): a package that one feature needs is not installed
└── SweepError        (also RuntimeError): another process ended the sweep

LRFinderWarning (a UserWarning): the sweep worked, but its reader should know something
```
"""

from __future__ import annotations

import inspect
import warnings


class LRFinderError(Exception):
    """Base of every error that this library raises on purpose.

    Example:
        >>> from lrfinder import RangeTestResult
        >>> try:
        ...     RangeTestResult.load(__file__)
        ... except LRFinderError as error:
        ...     print(type(error).__name__)
        ResultFileError
    """


class InvalidInputError(LRFinderError, ValueError):
    """An argument cannot work, or what a function or the loader returned.

    Arguments are refused before the model is touched. What only a step can show, such as a loss
    that is no scalar, ends the sweep, and everything is restored.

    Example:
        >>> import torch
        >>> from lrfinder import LRFinder
        >>> model = torch.nn.Linear(2, 1)
        >>> finder = LRFinder(model, torch.optim.SGD(model.parameters()), torch.nn.MSELoss())
        >>> try:
        ...     finder.range_test([], num_iter=1)
        ... except InvalidInputError as error:
        ...     print(error)
        num_iter must be a whole number >= 2, got 1; 100 is a good start
    """


class ResultFileError(LRFinderError, ValueError):
    """A file is not a complete range-test result of a format version that can be read.

    Example:
        >>> import os
        >>> from lrfinder import RangeTestResult
        >>> try:
        ...     RangeTestResult.load(os.devnull)
        ... except ResultFileError:
        ...     print("not a result")
        not a result
    """


class SnapshotError(LRFinderError, RuntimeError):
    """The state could not be stored or restored.

    If it could not be stored, no sweep began and nothing was changed. If the snapshot's file was
    cut short later, some values are not restored.

    Example:
        >>> import pathlib, torch
        >>> from lrfinder import preserve_state
        >>> try:
        ...     with preserve_state(torch.nn.Linear(2, 1), snapshot=pathlib.Path("no/such/folder")):
        ...         pass
        ... except SnapshotError:
        ...     print("nothing was touched")
        nothing was touched
    """


class NoSuggestionError(LRFinderError, RuntimeError):
    """The recorded curve does not name a learning rate; the message says why.

    Example:
        >>> from lrfinder import RangeTestResult, StopReason
        >>> result = RangeTestResult(
        ...     lr=(0.1, 1.0), loss=(2.3, 9.9), step_mode="exp", smooth_f=0.05,
        ...     stop_reason=StopReason.DIVERGED)
        >>> try:
        ...     result.suggest()
        ... except NoSuggestionError as error:
        ...     print(error)
        need at least 5 finite points, got 2 of 2; lower start_lr and end_lr, or raise num_iter
    """


class NoResultError(LRFinderError, RuntimeError):
    """A curve was asked for before `range_test` had recorded one.

    Example:
        >>> import torch
        >>> from lrfinder import LRFinder
        >>> model = torch.nn.Linear(2, 1)
        >>> finder = LRFinder(model, torch.optim.SGD(model.parameters()), torch.nn.MSELoss())
        >>> finder.suggest()
        Traceback (most recent call last):
        lrfinder._errors.NoResultError: there is no range test yet; call range_test(loader) first
    """


class MissingExtraError(LRFinderError, ImportError):
    """A package that only this feature needs is not installed; the message names its extra.

    Example:
        >>> from lrfinder import RangeTestResult
        >>> def table(result):
        ...     try:
        ...         return result.to_frame()
        ...     except MissingExtraError:
        ...         return result.to_dict()
    """


class SweepError(LRFinderError, RuntimeError):
    """The sweep was ended by another process of the group; the message names its rank.

    Example:
        >>> def sweep(finder, loader):
        ...     try:
        ...         return finder.range_test(loader)
        ...     except SweepError as error:
        ...         print(error)  # this process has its state back, as the others do
    """


class OutOfDataError(Exception):
    """The loader ended and gives nothing when it is started again; never leaves the library."""


class LRFinderWarning(UserWarning):
    """Something the reader of a result should know; the result itself is valid.

    Example:
        >>> import warnings
        >>> warnings.simplefilter("error", LRFinderWarning)  # for those who want to stop there
    """


def warn(message: str) -> None:
    """Issue an `LRFinderWarning` that points at the line outside this package that led here."""
    frame, level = inspect.currentframe(), 1
    while frame is not None and frame.f_globals.get("__name__", "").split(".")[0] == "lrfinder":
        frame, level = frame.f_back, level + 1
    warnings.warn(message, LRFinderWarning, stacklevel=level)


def missing_extra(package: str, extra: str) -> MissingExtraError:
    """Return the error that says how to install an optional package.

    Args:
        package: name under which it is imported.
        extra: the extra of this library that installs it.
    """
    return MissingExtraError(f'{package} is not installed; run `pip install "lrfinder[{extra}]"`')

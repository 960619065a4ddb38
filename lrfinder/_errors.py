"""Every error and warning of the library, in one tree.

```
LRFinderError
├── InvalidInputError (also ValueError): what was passed in cannot work; nothing was touched
├── ResultFileError   (also ValueError): a saved result cannot be read
├── SnapshotError     (also RuntimeError): the state could not be stored; nothing was changed
├── NoSuggestionError (also RuntimeError): the curve names no rate, with the reason
├── NoResultError     (also RuntimeError): a curve was asked for before any range test
├── MissingExtraError (also ImportError): a package that one feature needs is not installed
└── SweepError        (also RuntimeError): another process ended the sweep

LRFinderWarning (a UserWarning): the sweep worked, but its reader should know something
```
"""


class LRFinderError(Exception):
    """Base of every error that this library raises on purpose."""


class InvalidInputError(LRFinderError, ValueError):
    """An argument cannot work; it was refused before the model was touched."""


class ResultFileError(LRFinderError, ValueError):
    """A file is not a complete range-test result of a format version that can be read."""


class SnapshotError(LRFinderError, RuntimeError):
    """The state could not be stored, so the sweep was not begun."""


class NoSuggestionError(LRFinderError, RuntimeError):
    """The recorded curve does not name a learning rate; the message says why."""


class NoResultError(LRFinderError, RuntimeError):
    """A curve was asked for before `range_test` had recorded one."""


class MissingExtraError(LRFinderError, ImportError):
    """A package that only this feature needs is not installed; the message names its extra."""


class SweepError(LRFinderError, RuntimeError):
    """The sweep was ended by another process of the group; the message names its rank."""


class LRFinderWarning(UserWarning):
    """Something the reader of a result should know; the result itself is valid."""

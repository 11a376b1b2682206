"""The exceptions that batchup raises, each also the built-in one that a caller would expect.

::

    BatchUpError
    |-- InvalidTypeError    (TypeError)            an argument of the wrong kind
    |-- InvalidValueError   (ValueError)           an argument of the right kind that cannot be used
    |   |-- IndexRangeError     (IndexError)       a sample index outside the data
    |   |-- UnknownIdError      (KeyError)         an id that a file does not have
    |   |-- LengthError                            arrays that should be equally long and are not
    |   `-- StateError                             a state that belongs to something else, or is damaged
    |-- TooManyErrorsError  (RuntimeError)         more samples failed than `max_errors` allows
    |-- WorkerError         (RuntimeError)         a worker of a pool died at its task, or cannot be started
    |   `-- WorkerTimeoutError  (TimeoutError)     a task took longer than the pool's timeout
    |-- FileFormatError     (OSError)              a file that is damaged, or not what it should be
    |   `-- ChecksumError                            data in a file that are not what was written
    |-- FileBusyError       (BlockingIOError)      a file that somebody else is writing
    |-- FetchError          (OSError)              a file that could not be got from where it should be
    |-- SharedMemoryError   (MemoryError)          there is no room for memory that processes share
    |-- UnsupportedError    (NotImplementedError)  what this object cannot do
    `-- MissingExtraError   (ImportError)          an optional dependency is not installed
"""

from __future__ import annotations

__all__ = [
    "BatchUpError",
    "ChecksumError",
    "FetchError",
    "FileBusyError",
    "FileFormatError",
    "IndexRangeError",
    "InvalidTypeError",
    "InvalidValueError",
    "LengthError",
    "MissingExtraError",
    "SharedMemoryError",
    "StateError",
    "TooManyErrorsError",
    "UnknownIdError",
    "UnsupportedError",
    "WorkerError",
    "WorkerTimeoutError",
]


class BatchUpError(Exception):
    """The base of all exceptions that batchup raises itself."""


class InvalidTypeError(BatchUpError, TypeError):
    """An argument, or what a user's function returned, is of the wrong kind."""


class InvalidValueError(BatchUpError, ValueError):
    """An argument, or what a user's function returned, is of the right kind but cannot be used."""


class IndexRangeError(InvalidValueError, IndexError):
    """A sample index lies outside the data."""


class UnknownIdError(InvalidValueError, KeyError):
    """An id of a source that a file does not have."""

    __str__ = Exception.__str__  # a KeyError shows its message in quotes


class LengthError(InvalidValueError):
    """Arrays that should be equally long are not."""


class StateError(InvalidValueError):
    """A state was taken from something else, or is damaged."""


class TooManyErrorsError(BatchUpError, RuntimeError):
    """More samples failed than `max_errors` allows."""


class WorkerError(BatchUpError, RuntimeError):
    """A worker of a pool died at its task, or cannot be started.

    Attributes
    ----------
    batch : int
        Which batch of those that it was given together it was at.
    """

    batch = 0


class WorkerTimeoutError(WorkerError, TimeoutError):
    """A task took longer than the pool's timeout."""


class FileFormatError(BatchUpError, OSError):
    """A file is damaged, or is not what it should be."""


class ChecksumError(FileFormatError):
    """Data in a file are not what was written."""


class FileBusyError(BatchUpError, BlockingIOError):
    """A file is being written by somebody else."""


class FetchError(BatchUpError, OSError):
    """A file could not be got from where it should be; the message says where to put it by hand."""


class SharedMemoryError(BatchUpError, MemoryError):
    """There is no room for memory that processes share."""


class UnsupportedError(BatchUpError, NotImplementedError):
    """The object cannot do what was asked of it."""


class MissingExtraError(BatchUpError, ImportError):
    """An optional dependency is not installed; the message names the command that installs it."""

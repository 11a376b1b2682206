"""How fast batches are made: whether to hand them to others at all, how many at once, how far ahead."""

from __future__ import annotations

from typing import Any

from batchup._numbers import whole_number
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.work_pool.chunks import Figures

MOST_AHEAD = 256  # batches, however many bytes there are for them
TRIALS = 16  # batches until their pace is known
RECENT = 0.1  # weight of the latest ones in it
UNITS = {"B": 1, **{f"{p}{i}B": b**n for n, p in enumerate("KMGT", 1) for i, b in (("", 1000), ("i", 1024))}}


class Pace:
    """The seconds and bytes that batches of one size take.

    Attributes
    ----------
    batches : int
        How many were made and measured.
    seconds, computing : float
        What one takes, and how much of that it does not wait for anything.
    bytes : int
        The largest so far.
    """

    def __init__(self) -> None:
        self.batches = 0
        self.seconds = self.computing = 0.0
        self.bytes = 0

    def note(self, figures: Figures, batches: int, size: int) -> None:
        """Take note of batches that were made."""
        # the first ones also load modules, open files, warm caches
        weight = 1.0 if self.batches < TRIALS // 2 else RECENT
        self.seconds += (figures.seconds / batches - self.seconds) * weight
        self.computing += (figures.computing / batches - self.computing) * weight
        self.batches += batches
        self.bytes = max(self.bytes, size // batches)

    @property
    def known(self) -> bool:
        """Whether enough were measured to go by."""
        return self.batches >= TRIALS


class Buffer:
    """How many batches are made ahead: a number of them, or as many as so many bytes hold.

    Parameters
    ----------
    size : int or str
        A number of batches, or bytes as text, such as ``'512MiB'``.
    what : str
        The name of the argument, for errors.

    Examples
    --------
    >>> Buffer('1KiB', 'prefetch').batches(100)
    10
    """

    def __init__(self, size: Any, what: str) -> None:
        self._batches, self._bytes = None, None
        if isinstance(size, str):
            self._bytes = as_bytes(size, what)
        else:
            self._batches = whole_number(size, what, 1)

    @property
    def in_bytes(self) -> bool:
        """Whether bytes were named, and not a number of batches."""
        return self._bytes is not None

    def batches(self, batch_bytes: int) -> int:
        """Return how many batches of so many bytes to make ahead; 0 bytes: that is not known yet."""
        if self._batches is not None:
            return self._batches
        assert self._bytes is not None
        return max(1, min(MOST_AHEAD, self._bytes // batch_bytes)) if batch_bytes else 2


def as_bytes(size: Any, what: str) -> int:
    """Return a number of bytes that may be given as text.

    >>> as_bytes('1.5KiB', 'memory')
    1536
    """
    if not isinstance(size, str):
        return whole_number(size, what, 1)
    number = size.strip().rstrip("BKMGTikmgtb")
    unit = size.strip()[len(number) :].strip()
    unit = next((known for known in UNITS if known.lower() == unit.lower()), "")
    try:
        amount = float(number)
    except ValueError:
        unit, amount = "", 0.0
    if not unit or not 1 <= amount * UNITS[unit] < 2**62:
        raise InvalidValueError(f"{what}, as text, is a number and a unit of bytes, such as '512MiB', got {size!r}")
    return int(amount * UNITS[unit])


def checked_seconds(timeout: Any) -> float | None:
    """Return a timeout in seconds; None is none."""
    if timeout is None:
        return None
    if isinstance(timeout, bool) or not hasattr(timeout, "__float__") or isinstance(timeout, str):
        raise InvalidTypeError(f"timeout must be a number of seconds or None, got {timeout!r}")
    if not 0 < float(timeout) < float("inf"):
        raise InvalidValueError(f"timeout must be a positive number of seconds, got {timeout!r}")
    return float(timeout)

"""What a pool hands out for work that it was given: the result, once there is one."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Any

from batchup.errors import StateError

# Ctrl-C that comes at the very moment when a thread begins to wait does not wake it; so it looks up every so many
# seconds
ATTENTIVE = 0.5


class Ticket:
    """The result of a piece of work that somebody else does."""

    __slots__ = ("_error", "_open", "_process", "_tell", "_unsettled", "_value", "cancelled")

    def __init__(self) -> None:
        self._process = os.getpid()
        self._open = threading.Lock()
        self._open.acquire()
        self._unsettled = threading.Lock()  # taken by whoever comes first with a result
        self._value: Any = None
        self._error: BaseException | None = None
        self._tell: Callable[[], None] | None = None
        self.cancelled = False

    def when_done(self, tell: Callable[[], None]) -> None:
        """Have a function called, by whoever does the work, when it is done; now, if it is. It may be called twice."""
        self._tell = tell
        if not self._open.locked():
            tell()

    def succeed(self, value: Any) -> None:
        """Hand over the result."""
        if self._unsettled.acquire(blocking=False):
            self._value = value
            self._settle()

    def fail(self, error: BaseException) -> None:
        """Hand over what went wrong."""
        if self._unsettled.acquire(blocking=False):
            self._error = error
            self._settle()

    def _settle(self) -> None:
        self._open.release()
        if self._tell is not None:
            self._tell()

    def wait(self, seconds: float = -1) -> bool:
        """Wait until the work is done, for so many seconds at most; return whether it is."""
        while not self._open.acquire(timeout=ATTENTIVE if seconds < 0 else seconds):
            if seconds >= 0:
                return False
        self._open.release()
        return True

    def result(self) -> Any:
        """Wait for the result and return it, or raise what went wrong; to be called once."""
        check_process(self._process)
        self.wait()
        try:
            if self._error is not None:
                raise self._error
            return self._value
        finally:
            self._value = self._error = None

    def cancel(self) -> None:
        """Say that nobody will ask for the result."""
        self.cancelled = True


def check_process(process: int) -> None:
    """Raise if this is a copy that was forked off the process to which a pool belongs: its workers are not here."""
    if os.getpid() != process:
        raise StateError("a pool serves the process that made it alone: make one in the forked process")

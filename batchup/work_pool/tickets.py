"""What a pool hands out for work that it was given: the result, once there is one."""

from __future__ import annotations

import threading
from typing import Any


class Ticket:
    """The result of a piece of work that somebody else does."""

    __slots__ = ("_error", "_open", "_value", "cancelled")

    def __init__(self) -> None:
        self._open = threading.Lock()
        self._open.acquire()
        self._value: Any = None
        self._error: BaseException | None = None
        self.cancelled = False

    def succeed(self, value: Any) -> None:
        """Hand over the result."""
        if self._open.locked():
            self._value = value
            self._open.release()

    def fail(self, error: BaseException) -> None:
        """Hand over what went wrong."""
        if self._open.locked():
            self._error = error
            self._open.release()

    def wait(self, seconds: float = -1) -> bool:
        """Wait until the work is done, for so many seconds at most; return whether it is."""
        if not self._open.acquire(timeout=seconds):
            return False
        self._open.release()
        return True

    def result(self) -> Any:
        """Wait for the result and return it, or raise what went wrong; to be called once."""
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

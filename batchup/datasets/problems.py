"""What may go wrong at an address: for now, or for good."""

from __future__ import annotations

from batchup.remote.problems import TransientError

__all__ = ["NoRoomError", "PermanentError", "ShorterError", "TransientError"]


class PermanentError(Exception):
    """An address will not give the file, however often it is asked.

    Parameters
    ----------
    told : str
        What happened.
    status : int, optional
        What HTTP calls it.
    """

    def __init__(self, told: str, status: int | None = None) -> None:
        super().__init__(told)
        self.status = status


class ShorterError(TransientError):
    """An address has less than what has come already: one of the two is wrong."""


class NoRoomError(PermanentError):
    """There is no room for what an address would give."""

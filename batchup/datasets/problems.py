"""What may go wrong at an address: for now, or for good."""

from __future__ import annotations


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


class TransientError(Exception):
    """An address may give the file later.

    Parameters
    ----------
    told : str
        What happened.
    wait : float, optional
        After how many seconds to ask again, as the server wishes.
    """

    def __init__(self, told: str, wait: float | None = None) -> None:
        super().__init__(told)
        self.wait = wait


class ShorterError(TransientError):
    """An address has less than what has come already: one of the two is wrong."""


class NoRoomError(PermanentError):
    """There is no room for what an address would give."""

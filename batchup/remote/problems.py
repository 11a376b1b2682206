"""What may go wrong at an address: for now, or for good."""

from __future__ import annotations

import errno
import logging
import random
import re
import time
from threading import Event

from batchup.errors import FetchError, InvalidValueError

WAIT = 0.25  # seconds before the second try, twice as many before the third ...
LONGEST = 30.0  # ... but no more than that
PATIENCE = 120.0  # seconds without progress, after which it is given up
PROGRESS = 2**16  # bytes that must have come for it to count as such
LONG = 1.0  # seconds of waiting of which somebody may want to know

logger = logging.getLogger("batchup")
_chance = random.SystemRandom()  # so that those who failed together do not come again together


class TransientError(Exception):
    """An address may give what was asked for later.

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


class Tries:
    """How often something has been asked for in vain, and when to ask again.

    Parameters
    ----------
    name : str
        What is asked for, for messages.
    retries : int
        How often to ask again without any progress.
    closed : Event
        Ends the waiting.
    """

    def __init__(self, name: str, retries: int, closed: Event) -> None:
        self._name = name
        self._retries = retries
        self._closed = closed
        self._failed = 0
        self._best = 0
        self._since = time.monotonic()

    def failed(self, problem: TransientError, done: int) -> None:
        """Wait until it is time to ask again; `done` is how many bytes have come so far.

        Raises
        ------
        FetchError
            If it is not to be asked again.
        """
        if done >= self._best + PROGRESS:
            self._best, self._failed, self._since = done, 0, time.monotonic()
        self._failed += 1
        wait = min(LONGEST, WAIT * 2 ** (self._failed - 1)) * _chance.uniform(0.5, 1)
        if problem.wait is not None:
            wait += problem.wait
        waited = time.monotonic() - self._since
        if self._failed > self._retries or waited + wait > PATIENCE:
            times = f", {self._failed} times in {waited:.0f} s" if self._failed > 1 else ""
            raise FetchError(f"{self._name}: {problem}{times}: try again when the server is well, or with more retries")
        if wait >= LONG:
            logger.warning(
                "%s: %s; to be asked again in %.0f s (%d of %d)", self._name, problem, wait, self._failed, self._retries
            )
        if self._closed.wait(wait):
            raise closed_error(self._name)


def closed_error(name: str) -> InvalidValueError:
    """Return what to raise when a closed file is read."""
    return InvalidValueError(f"{name} is closed: read from it before, or open it again")


def seconds_of(retry_after: str) -> float | None:
    """Return for how long a server wants to be left alone; None if it does not say.

    >>> seconds_of("7"), seconds_of("Wed, 21 Oct 2015 07:28:00 GMT"), seconds_of("soon")
    (7.0, 0.0, None)
    """
    text = retry_after.strip()
    if re.fullmatch(r"\d{1,6}", text, re.ASCII):
        return float(text)
    from email.utils import parsedate_to_datetime

    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (TypeError, ValueError):
        return None


def meaning_of(error: BaseException, seconds: float) -> str:
    """Return what is at the bottom of an error of a connection that libraries have wrapped again and again."""
    text = f"{type(error).__name__}: {error}"
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, text):
            return meaning.format(seconds)
    code = errno.errorcode.get(getattr(error, "errno", None) or 0)
    return f"{type(error).__name__}{f' ({code})' if code else ''}"


_MEANINGS = (
    (r"NameResolution|getaddrinfo|Name or service|nodename", "its name cannot be resolved"),
    (r"Connection refused|ConnectionRefused", "the connection was refused"),
    (r"EndpointConnection|ClientConnector|[Cc]annot connect", "no connection can be made"),
    (r"Network is unreachable|No route to host", "the network is unreachable"),
    (r"ConnectTimeout|connect timeout", "no connection within {:g} s"),
    (r"Read timed out|ReadTimeout|TimeoutError|timed out", "stalled: nothing came within {:g} s"),
    (r"IncompleteRead", "the connection ended before all had come"),
    (r"RemoteDisconnected|Connection aborted|[Rr]eset by peer|ConnectionReset|Broken pipe", "the connection was cut"),
)

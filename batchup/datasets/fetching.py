"""A file got from the first of several addresses that gives it: resumed, tried again, and verified."""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Sequence
from urllib.parse import urlsplit, urlunsplit

from batchup.config import is_offline
from batchup.datasets.partial import NO_ROOM, PartialFile
from batchup.datasets.problems import NoRoomError, PermanentError, ShorterError, TransientError
from batchup.datasets.transfer import SLOW_BYTES, is_remote
from batchup.errors import FetchError

PATIENCE = 25.0  # seconds without a byte from anywhere, after which it is given up
SHARE = 5.0  # seconds of that for an address, at least, when it is asked first
TRIES = 3  # at an address, without any progress there
WAIT = 0.5  # seconds before the second try, and twice as many before the third

logger = logging.getLogger("batchup")


def fetch(path: str, addresses: Sequence[str], sha256: str | None = None) -> bool:
    """Get a file from the first of several addresses that gives it, unless somebody else has just done so.

    With a digest, bytes that came before are kept as ``<path>.partial``, also from one program to the next, and only
    the rest is asked for, of whichever address. The file has its name when all of it is there, and verified.

    Parameters
    ----------
    path : str
        The name that it will have.
    addresses : sequence of str
        Where it may lie: addresses (http, https) or paths, in the order in which they are tried.
    sha256 : str, optional
        What it must be, as a hex digest.

    Returns
    -------
    bool
        Whether it was fetched, and is verified; False if it is there.

    Raises
    ------
    FetchError
        If none gives it; the message says what each did. Nothing is waited for longer than half a minute.
    OSError
        If there is no room for it.
    """
    partial = PartialFile(path, None if sha256 is None else sha256.lower())
    try:
        if os.path.exists(path):
            return False
        _Fetch(partial, addresses).run()
        return True
    except OSError as error:
        if error.errno in NO_ROOM and not isinstance(error, FetchError):
            raise partial.without_room() from None
        raise
    finally:
        partial.leave()


class _Address:
    """One of the places where a file may lie, and how it went there.

    Parameters
    ----------
    address : str
        The place.
    """

    def __init__(self, address: str) -> None:
        self.address = address
        self.asked = False
        self.tries = 0  # without any progress
        self.ready = 0.0  # when to ask again
        self.mismatched = False  # with bytes from elsewhere
        self.no_room = False
        self.told: list[str] = []

    def failed(self, problem: TransientError, progressed: bool) -> bool:
        """Note that it gave not all, and when to ask again; return whether to."""
        self.tries = 1 if progressed else self.tries + 1
        self.told.append(str(problem))
        wait = WAIT * 2 ** (self.tries - 1) if problem.wait is None else max(WAIT, problem.wait)
        self.ready = time.monotonic() + wait
        return self.tries < TRIES

    def __str__(self) -> str:
        kinds = list(dict.fromkeys(self.told)) or ["not asked any more"]
        times = f" ({len(self.told)} times)" if len(self.told) > 1 else ""
        return f"{without_password(self.address)}: {'; '.join(kinds)}{times}"


class _Fetch:
    """The way of a file from the first of several addresses that gives it.

    Parameters
    ----------
    partial : PartialFile
        What has come of it.
    addresses : sequence of str
        Where it may lie.
    """

    def __init__(self, partial: PartialFile, addresses: Sequence[str]) -> None:
        self._partial = partial
        self._all = [_Address(address) for address in addresses]
        self._left = list(self._all)
        if is_offline():
            for one in self._all:
                if is_remote(one.address):
                    one.told.append("not asked, since BATCHUP_OFFLINE=1")
                    self._left.remove(one)
        self._have_patience()

    def run(self) -> None:
        """Ask one address after the other, again if need be, until the file is there."""
        while self._left:
            pause = max(0.0, min(one.ready for one in self._left) - time.monotonic())
            if time.monotonic() + pause > self._deadline:
                break
            time.sleep(pause)
            ready = [one for one in self._left if one.ready <= time.monotonic()] or self._left
            one = min(ready, key=lambda one: (one.asked, one.mismatched))  # or else in order
            if self._ask(one):
                self._partial.take()
                return
            logger.info("%s", one)
        if self._all and all(one.no_room for one in self._all):
            raise self._partial.without_room()
        raise FetchError("\n".join(map(str, self._all)) or "there is no address to fetch it from")

    def _ask(self, one: _Address) -> bool:
        """Ask an address for what is missing; return whether the file is there, all of it, and right."""
        partial, furthest = self._partial, self._partial.furthest
        try:
            partial.receive(one.address, self._share(one))
            if partial.is_right():
                return True
            if partial.came == partial.size or one.mismatched:
                raise PermanentError(partial.reject())
            one.mismatched = True
            partial.restart()  # what was there before may be of something else
            self._have_patience()
        except ShorterError as problem:
            one.told.append(str(problem))
            one.ready = time.monotonic() + WAIT
            if one.mismatched:
                partial.restart()
            one.mismatched = True  # others may have more, and are asked first
        except PermanentError as problem:
            one.no_room = isinstance(problem, NoRoomError)
            one.told.append(str(problem))
            self._left.remove(one)
            if partial.came >= SLOW_BYTES:
                self._have_patience()
        except TransientError as problem:
            if partial.verifies and partial.is_right():
                return True  # whatever the server says its length is
            progressed = partial.furthest >= furthest + SLOW_BYTES
            if not one.failed(problem, progressed):
                self._left.remove(one)
            if progressed:
                self._have_patience()
        return False

    def _have_patience(self) -> None:
        """Begin to wait anew, since something has come."""
        self._deadline = time.monotonic() + PATIENCE

    def _share(self, one: _Address) -> float:
        """Return how many seconds an address has to begin: at first, no more than leaves some to the others."""
        left = self._deadline - time.monotonic()
        waiting = sum(not other.asked for other in self._left)
        share = left if one.asked else min(left, max(SHARE, left / waiting))
        one.asked = True
        return share


def without_password(address: str) -> str:
    """Return an address as it may be shown.

    >>> without_password("https://me:secret@mirror.org:81/a"), without_password("/a@b")
    ('https://mirror.org:81/a', '/a@b')
    """
    if is_remote(address):
        with contextlib.suppress(ValueError):  # an address that is none
            parts = urlsplit(address)
            return urlunsplit(parts._replace(netloc=parts.netloc.rpartition("@")[2]))
    return address

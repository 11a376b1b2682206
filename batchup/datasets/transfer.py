"""One answer to one request for a file: what it says of itself, and its bytes, which come in a thread of their own."""

from __future__ import annotations

import os
import re
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import suppress
from time import monotonic
from typing import Any, NamedTuple, Protocol

from batchup._extras import required
from batchup.datasets.problems import PermanentError, TransientError

CONNECT = 5.0  # seconds until a server must have taken a connection
STALL = 10.0  # seconds in which something must have come
SLOW = 25.0  # seconds in which so many bytes must have come:
SLOW_BYTES = 2**17
_READ = 2**17  # bytes that are read at a time: of a connection that stalls, those of the last time are lost
_WAITING = 2**21  # bytes that may have been read, and not been taken yet


class Head(NamedTuple):
    """What is known of an answer before its bytes come."""

    start: int  # the place in the file of the first byte
    end: int | None  # the place behind the last one, as far as that is said
    total: int | None  # bytes of the whole file, as far as that is said
    ends: bool = True  # whether it is seen where the last byte lacks
    content_type: str = ""  # as HTTP calls it: text/html
    validator: str | None = None  # by which the server knows this version of the file again


class Transfer(Protocol):
    """The bytes of a file, or of its end."""

    def head(self) -> Head:
        """Wait for the answer, and return what it says of itself."""

    def __iter__(self) -> Iterator[bytes]:
        """Yield the bytes in pieces, as they come."""

    def close(self) -> None:
        """Take no more of them."""


def transfer_of(address: str, start: int, validator: str | None, patience: float) -> Transfer:
    """Begin to get a file from an address, or from a path of this machine.

    Parameters
    ----------
    address : str
        Where it lies.
    start : int
        The first byte that is wanted; another may come.
    validator : str, optional
        The version of the file that the bytes before `start` are of; None if that does not matter.
    patience : float
        Seconds to wait for an answer, at most.

    Raises
    ------
    MissingExtraError
        If what fetches addresses is not installed.
    """
    if is_remote(address):
        return RemoteTransfer(address, start, validator, patience)
    return LocalTransfer(address.removeprefix("file://"), start)


def is_remote(address: str) -> bool:
    """Return whether an address is one of a network, and no path of this machine.

    >>> is_remote("http://mirror/mnist"), is_remote("/shared/mnist"), is_remote("file:///shared/mnist")
    (True, False, False)
    """
    return "://" in address and not address.startswith("file://")


class LocalTransfer:
    """The bytes of a file of this machine.

    Parameters
    ----------
    path : str
        Where it lies.
    start : int
        The first byte that is wanted.
    """

    def __init__(self, path: str, start: int) -> None:
        self._path = os.path.expanduser(path)
        self._start = start
        self._left = 0  # bytes to give: a file may grow meanwhile
        self._file: Any = None

    def head(self) -> Head:
        try:
            if os.path.exists(self._path) and not os.path.isfile(self._path):
                raise PermanentError("is no file")
            self._file = open(self._path, "rb", buffering=0)  # noqa: SIM115  it is closed by `close`
        except OSError as error:
            raise PermanentError(str(error.strerror or error)) from None
        self._left = os.fstat(self._file.fileno()).st_size
        head = Head(self._start if self._start <= self._left else 0, self._left, self._left)
        self._file.seek(head.start)
        self._left -= head.start
        return head

    def __iter__(self) -> Iterator[bytes]:
        while self._left and (piece := self._file.read(min(self._left, 2**20))):
            self._left -= len(piece)
            yield piece

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


class RemoteTransfer:
    """The bytes of a file of another machine, as pooch fetches them.

    pooch, with requests, knows proxies, redirects, certificates and passwords; the rest is done here, since it neither
    resumes nor tries other addresses. A thread fetches while who asked for them writes and hashes; it is let go if it
    hangs.

    Parameters
    ----------
    url : str
        Where it lies.
    start, validator, patience
        As for `transfer_of`.
    """

    def __init__(self, url: str, start: int, validator: str | None, patience: float) -> None:
        self._pooch = required("pooch", "datasets", "fetching data sets")
        self._url = url
        self._start = start
        self._validator = validator
        self._until = monotonic() + patience
        self._queue = _ByteQueue()
        self._answered = False
        self._thread = threading.Thread(target=self._fetch, name=f"batchup fetches {url}", daemon=True)
        self._thread.start()

    def head(self) -> Head:
        answer = self._next(min(self._until - monotonic(), CONNECT + STALL))
        if not isinstance(answer, _Answer):
            raise TransientError("the connection ended without an answer")
        headers = answer.headers
        if answer.status == 206:
            start, end, total = _range_of(headers.get("Content-Range", ""))
        elif answer.status == 200:
            start, end, total = 0, _length_of(headers), _length_of(headers)
        else:
            raise PermanentError(f"answered {answer.status} {answer.reason} instead of the file")
        ends = total is not None or (answer.status == 200 and "chunked" in headers.get("Transfer-Encoding", "").lower())
        content_type = headers.get("Content-Type", "").partition(";")[0].strip().lower()
        tag = headers.get("ETag", "")
        return Head(start, end, total, ends, content_type, tag if tag.startswith('"') else None)

    def __iter__(self) -> Iterator[bytes]:
        came, until = 0, min(self._until, monotonic() + SLOW)
        while True:
            piece = self._next(until - monotonic())
            if piece is None:
                return
            yield piece
            came += len(piece)
            if came >= SLOW_BYTES:
                came, until = 0, monotonic() + SLOW

    def close(self) -> None:
        self._queue.close()

    def _next(self, seconds: float) -> Any:
        """Return what the thread hands over next: its answer, a piece, or None at the end."""
        try:
            message = self._queue.take(max(0.0, seconds))
        except TimeoutError:
            told = f"stalled: next to nothing came within {SLOW:.0f} s" if self._answered else "no answer"
            raise TransientError(told) from None
        if isinstance(message, Exception):
            raise message
        return message

    def _fetch(self) -> None:
        """Be the thread."""
        headers = {"Accept-Encoding": "identity"}
        if self._start:
            headers["Range"] = f"bytes={self._start}-"
        if self._start and self._validator is not None:
            headers["If-Range"] = self._validator
        downloader = self._pooch.HTTPDownloader(
            chunk_size=_READ, timeout=(CONNECT, STALL), headers=headers, hooks={"response": self._answer}
        )
        try:
            downloader(self._url, self._queue, None)
            self._queue.put(None)
        except _Closed:
            pass
        except Exception as error:  # noqa: BLE001  whatever libraries raise over a connection
            with suppress(_Closed):
                self._queue.put(problem_of(error, self._answered))

    def _answer(self, response: Any, **_: Any) -> None:
        if response.is_redirect or response.status_code >= 400:
            return  # another answer follows, or pooch raises
        response.raw.headers.pop("Content-Encoding", None)  # what lies there compressed is wanted as it lies there
        response.raw.enforce_content_length = False  # which would keep back what came before a connection ended
        self._answered = True
        self._queue.put(_Answer(response.status_code, response.reason, response.headers))


class _ByteQueue:
    """What one thread hands to another: bytes, of which so many may wait, and other things.

    To pooch, it is the file that it writes to.
    """

    def __init__(self) -> None:
        self._condition = threading.Condition()
        self._things: deque[Any] = deque()
        self._bytes = 0
        self._closed = False

    def put(self, thing: Any) -> None:
        """Hand something over; wait while too many bytes do."""
        with self._condition:
            self._condition.wait_for(lambda: self._bytes < _WAITING or self._closed)
            if self._closed:
                raise _Closed
            self._things.append(thing)
            self._bytes += len(thing) if isinstance(thing, bytes) else 0
            self._condition.notify()

    write = put

    def flush(self) -> None:
        """Do nothing."""

    def take(self, seconds: float) -> Any:
        """Return the next thing; TimeoutError if none comes."""
        with self._condition:
            if not self._condition.wait_for(lambda: self._things, seconds):
                raise TimeoutError
            thing = self._things.popleft()
            self._bytes -= len(thing) if isinstance(thing, bytes) else 0
            self._condition.notify()
            return thing

    def close(self) -> None:
        """Take nothing any more, and let nobody wait."""
        with self._condition:
            self._closed = True
            self._condition.notify_all()


class _Closed(Exception):  # noqa: N818  nobody sees it
    """Ends the thread of a transfer that nobody reads from any more."""


class _Answer(NamedTuple):
    status: int
    reason: str
    headers: Mapping[str, str]


def problem_of(error: Exception, answered: bool) -> Exception:
    """Return what an error of the libraries below, before an answer or after it, means to whoever asks again."""
    response = getattr(error, "response", None)
    if response is not None:
        said = f"answered {response.status_code} {response.reason}"
        if response.status_code in (408, 425, 429) or response.status_code >= 500:
            wait = _seconds(response.headers.get("Retry-After", ""))
            return TransientError(said if wait is None else f"{said}, come again after {wait:.0f} s", wait)
        return PermanentError(said, response.status_code)
    if isinstance(error, ValueError):  # an address that is none, say
        return PermanentError(f"cannot be fetched: {error}")
    return TransientError(_root_of(error, answered))


def _root_of(error: BaseException, answered: bool) -> str:
    """Return what is at the bottom of an error that libraries have wrapped again and again."""
    text = str(error)
    if re.search(r"Read timed out|ReadTimeout", text):
        return f"stalled: nothing came within {STALL:.0f} s" if answered else f"no answer within {STALL:.0f} s"
    for pattern, meaning in _MEANINGS:
        if re.search(pattern, text):
            return meaning
    return f"{type(error).__name__}: {text[:200]}"


_MEANINGS = (
    (r"NameResolution|getaddrinfo|Name or service|nodename|Temporary failure in name", "its name cannot be resolved"),
    (r"Connection refused", "the connection was refused"),
    (r"Network is unreachable|No route to host", "the network is unreachable"),
    (r"ConnectTimeout|connect timeout", f"no connection within {CONNECT:.0f} s"),
    (r"IncompleteRead", "the connection ended before the file did"),
    (r"RemoteDisconnected|Connection aborted|reset by peer", "the connection was cut"),
    (r"CERTIFICATE_VERIFY_FAILED|CertificateError", "its certificate cannot be verified"),
)


def _seconds(retry_after: str) -> float | None:
    return float(retry_after) if retry_after.strip().isdecimal() else None


def _range_of(text: str) -> tuple[int, int | None, int | None]:
    """Return the place, the end and the whole length that a Content-Range tells."""
    told = re.fullmatch(r"\s*bytes\s+(\d{1,18})-(\d{1,18})/(\d{1,18}|\*)\s*", text)
    if told is None:
        raise PermanentError(f"answered with a part of the file that it does not name (Content-Range: {text!r:.80})")
    return int(told[1]), int(told[2]) + 1, None if told[3] == "*" else int(told[3])


def _length_of(headers: Mapping[str, str]) -> int | None:
    text = headers.get("Content-Length", "").strip()
    return int(text) if re.fullmatch(r"\d{1,18}", text, re.ASCII) else None

"""Files on the web: parts of them are asked for by HTTP, each answer is looked at before its bytes are believed."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator, Mapping
from threading import Lock
from typing import Any
from urllib.parse import urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

from batchup._extras import required
from batchup.errors import FetchError, InvalidValueError
from batchup.remote.addresses import WEB, scheme_of, shown, user_of
from batchup.remote.answers import at_end, taker
from batchup.remote.filling import Filling
from batchup.remote.identity import Identity, changed_error, identity_in, length_in, part_in
from batchup.remote.problems import TransientError, meaning_of, seconds_of

CONNECT = 5.0  # seconds until a server must have taken a connection
CONNECTIONS = 8  # that are kept for the next request
WHOLE = 16 * 2**20  # bytes of a file that is fetched whole from a server that gives no parts
REDIRECTS = 10
SLOW, SLOW_BYTES = 25.0, 2**17  # seconds in which so many bytes must have come
_READ = 2**20  # bytes that are taken from a connection at a time, at most
_MOVED = (301, 302, 303, 307, 308)
_LATER = (408, 425, 429)
_NEVER = (501, 505)
_HINTS = {
    401: "give credentials, as headers={'Authorization': ...} or in the address",
    403: "look whether the credentials allow it, or the signature has expired",
    404: "look whether the address is right, and the file is still there",
    410: "it has been removed for good",
}


class WebAccess:
    """A file on the web.

    Parameters
    ----------
    address : str
        Where it is.
    headers : mapping
        What to send with each request; only to where the address is, and to nobody that it leads to.
    timeout : float
        Seconds in which something must have come.
    """

    def __init__(self, address: str, headers: Mapping[str, str], timeout: float) -> None:
        self._urllib3 = required("urllib3", "remote", "http://")
        self._address = self._target = _without_user(address)
        self._headers = dict(headers)
        user = user_of(address)
        if user is not None and "authorization" not in {name.lower() for name in headers}:
            made = self._urllib3.make_headers(basic_auth=":".join(user))
            self._headers["Authorization"] = made["authorization"]
        self._timeout = self._urllib3.Timeout(connect=min(CONNECT, timeout), read=timeout)
        self._seconds = timeout
        self._name = shown(address)
        self._whole: bytes | None = None
        self.forget()

    def forget(self) -> None:
        """Begin anew, as in a process that was forked: connections belong to the process that made them."""
        self._lock = Lock()
        self._pools: dict[str, tuple[Any, bool]] = {}
        self._answers: set[Any] = set()

    def close(self) -> None:
        """Cut all connections; who waits at one gets an error."""
        with self._lock:
            answers, pools = list(self._answers), [pool for pool, _ in self._pools.values()]
            self._pools = {}
        for answer in answers:
            with contextlib.suppress(AttributeError, OSError, ValueError):  # urllib3 < 2.3; it has ended meanwhile
                answer.shutdown()
        for pool in pools:
            pool.close()

    def open(self) -> Identity:
        """Return what is there now.

        Raises
        ------
        TransientError, FetchError
            If it cannot be told, for now or for good.
        """
        self._whole = None
        with self._answer({"Range": "bytes=0-0"}) as answer:
            if answer.status == 206:
                part = part_in(answer.headers)
                if part is None or part.identity is None:
                    raise FetchError(f"{self._name}: the server does not say how large the file is: copy it here first")
                self._read(answer, 1)
                self._end(answer)
                return part.identity
            if answer.status == 416:  # nothing has no first byte
                return identity_in(answer.headers, 0)
            if answer.status == 412:
                raise FetchError(f"{self._name}: answered 412 to a request without a condition")
            self._whole = self._all_of(answer)
            return identity_in(answer.headers, len(self._whole))

    def receive(self, start: int, filling: Filling, expected: Identity) -> Iterator[None]:
        """Get the bytes from `start` on, as many as are still wanted, piece by piece; of the expected version only.

        Raises
        ------
        TransientError
            If not all of them came.
        FetchError
            If they will not come.
        FileFormatError
            If the file has changed.
        """
        size = filling.size - filling.done
        if self._whole is not None:
            filling.put(self._whole[start : start + size])
            yield
            return
        with self._answer({"Range": f"bytes={start}-{start + size - 1}", **_only_if(expected)}) as answer:
            if answer.status in (412, 416):
                raise changed_error(self._name)
            if answer.status == 200:
                raise self._without_parts(answer, expected)
            part = part_in(answer.headers)
            if part is None or part.start != start or part.stop > start + size:
                raise FetchError(f"{self._name}: the server gave another part of the file than it was asked for")
            told = part.identity or identity_in(answer.headers, expected.size)
            if not told.is_of(expected):
                raise changed_error(self._name)
            yield from self._pieces(answer, part.stop - start, filling)

    def _without_parts(self, answer: Any, expected: Identity) -> Exception:
        size = length_in(answer.headers)
        if size is not None and not identity_in(answer.headers, size).is_of(expected):
            return changed_error(self._name)
        return TransientError("the server gave all of the file instead of a part")  # as it has not done before

    def _pieces(self, answer: Any, size: int, filling: Filling) -> Iterator[None]:
        """Get so many bytes of an answer; an error if there are less, or next to nothing comes."""
        take = taker(answer)
        came, until = 0, time.monotonic() + SLOW
        while size:
            with self._explained():
                count = take(filling.empty()[: min(size, _READ)])
            if not count:
                raise TransientError("the connection ended before all had come")
            filling.add(count)
            size -= count
            came += count
            yield
            if came >= SLOW_BYTES:
                came, until = 0, time.monotonic() + SLOW
            elif time.monotonic() > until and size:
                raise TransientError(f"stalled: next to nothing came within {SLOW:.0f} s")
        self._end(answer)

    def _all_of(self, answer: Any) -> bytes:
        """Return what a server that gives no parts gives instead, if it is not too much."""
        size = length_in(answer.headers)
        told = f"{self._name}: the server gives no parts of files (it ignores Range), and of that one"
        if size is None and "chunked" not in answer.headers.get("Transfer-Encoding", "").lower():
            raise FetchError(f"{told} it does not say how large it is: copy it here first, and open the copy")
        pieces, came = [], 0
        while size is None or came < size:
            if came > WHOLE or (size or 0) > WHOLE:
                raise FetchError(f"{told} there are more than {WHOLE >> 20} MiB: copy it here first, and open the copy")
            piece = self._read(answer, _READ)
            if not piece:
                break
            pieces.append(piece)
            came += len(piece)
        if size is not None and came != size:
            raise TransientError("the connection ended before all had come")
        return b"".join(pieces)

    def _read(self, answer: Any, size: int) -> bytes:
        with self._explained():
            return answer.read1(size) or b""

    def _end(self, answer: Any) -> None:
        """Have the connection used again, if the answer is at its end."""
        with self._explained():
            if at_end(answer):
                answer.release_conn()

    @contextlib.contextmanager
    def _answer(self, headers: dict[str, str]) -> Iterator[Any]:
        """Ask, and have the answer until the block ends, if it is one with a file or tells that there is none such."""
        answer = self._asked(headers)
        with self._lock:
            self._answers.add(answer)
        try:
            self._check_status(answer)
            yield answer
        finally:
            with self._lock:
                self._answers.discard(answer)
            answer.close()  # and the connection, unless it has been let go

    def _asked(self, headers: dict[str, str]) -> Any:
        """Ask where the file was last; if it is there no more, ask where it was said to be."""
        answer = self._followed(self._target, headers)
        if answer.status in (400, 401, 403, 404, 410) and self._target != self._address:
            answer.close()
            answer = self._followed(self._address, headers)
        return answer

    def _followed(self, url: str, headers: dict[str, str]) -> Any:
        for _ in range(REDIRECTS):
            answer = self._request(url, headers)
            if answer.status not in _MOVED:
                self._target = url
                return answer
            location = answer.headers.get("Location", "")
            answer.close()
            url = self._next(url, location)
        raise FetchError(f"{self._name} leads from one address to the next, more than {REDIRECTS} times")

    def _next(self, url: str, location: str) -> str:
        found = urljoin(url, location) if location else ""
        if scheme_of(found) not in WEB:
            raise FetchError(f"{self._name} leads to {shown(found) or 'nowhere'}, which is no address of the web")
        if url.startswith("https:") and not found.lower().startswith("https:"):
            raise FetchError(f"{self._name} leads from https to http, {shown(found)}: that is not followed")
        return _without_user(found)

    def _request(self, url: str, headers: dict[str, str]) -> Any:
        parts = urlsplit(url)
        sent = {"Accept-Encoding": "identity", "User-Agent": "batchup", **headers}
        if _origin(url) == _origin(self._address):
            sent = {**self._headers, **sent}
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        with self._explained():
            pool, whole_url = self._pool(url)
            return pool.urlopen(
                "GET",
                url if whole_url else target,
                headers=sent,
                retries=False,
                redirect=False,
                assert_same_host=False,
                timeout=self._timeout,
                preload_content=False,
                decode_content=False,
            )

    def _pool(self, url: str) -> tuple[Any, bool]:
        """Return the connections to a host, and whether they have to be told the whole URL, as a proxy has."""
        origin = _origin(url)
        with self._lock:
            if origin not in self._pools:
                self._pools[origin] = self._new_pool(url)
            return self._pools[origin]

    def _new_pool(self, url: str) -> tuple[Any, bool]:
        parts = urlsplit(url)
        proxy = getproxies().get(parts.scheme)
        options = {"maxsize": CONNECTIONS, "block": False}
        if proxy is None or proxy_bypass(parts.hostname or ""):
            return self._urllib3.connection_from_url(url, **options), False
        proxy = proxy if "://" in proxy else f"http://{proxy}"
        user = user_of(proxy)
        known = self._urllib3.make_headers(proxy_basic_auth=":".join(user)) if user else None
        manager = self._urllib3.ProxyManager(_without_user(proxy), proxy_headers=known, **options)
        return manager.connection_from_url(url), parts.scheme == "http"

    def _check_status(self, answer: Any) -> None:
        status = answer.status
        if status in (200, 206, 412, 416):
            return
        said = f"answered {status} {answer.reason or ''}".rstrip()
        if status in _LATER or (status >= 500 and status not in _NEVER):
            wait = seconds_of(answer.headers.get("Retry-After", ""))
            raise TransientError(said if wait is None else f"{said}, come again after {wait:.0f} s", wait)
        raise FetchError(f"{self._name}: {said}: {_HINTS.get(status, 'look whether the address is right')}")

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn errors of connections into ours."""
        exceptions = self._urllib3.exceptions
        try:
            yield
        except (exceptions.LocationValueError, UnicodeError) as error:
            raise InvalidValueError(f"{self._name} is no address of the web ({type(error).__name__})") from None
        except (exceptions.HTTPError, OSError, ValueError) as error:
            if "CERTIFICATE" in str(error) or "CertificateError" in type(error).__name__:
                raise FetchError(f"{self._name}: the certificate of the server cannot be verified") from None
            raise TransientError(meaning_of(error, self._seconds)) from None


def _only_if(expected: Identity) -> dict[str, str]:
    """Return headers by which a server gives nothing of another version."""
    if expected.strong:
        return {"If-Match": str(expected.etag)}
    return {} if expected.modified is None else {"If-Unmodified-Since": expected.modified}


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.lower()}"


def _without_user(url: str) -> str:
    parts = urlsplit(url)
    return parts._replace(netloc=parts.netloc.rpartition("@")[2], fragment="").geturl()

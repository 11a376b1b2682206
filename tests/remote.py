"""A web server on loopback that gives parts of files, and can be told to fail in every way; bytes to be served."""

from __future__ import annotations

import contextlib
import hashlib
import http.server
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

Fault = Callable[[Any, bytes], bool]


class Asked(NamedTuple):
    """What was asked for."""

    path: str
    range: str | None
    headers: dict[str, str]


class Server:
    """Serves files of memory, and parts of them.

    Attributes
    ----------
    files : dict
        Contents by path, without a slash in front.
    faults : list
        What is to be done at the next requests, instead of the usual, or before it: each is called with the handler
        and the contents, and returns whether the usual answer follows.
    asked : list of Asked
        The requests so far.
    connections : int
        How many there have been so far.
    etags, dates : bool
        Whether the server says by what a version is known.
    """

    def __init__(self, port: int = 0, **files: bytes) -> None:
        self.files = files
        self.faults: list[Fault | None] = []
        self.asked: list[Asked] = []
        self.etags = self.dates = True
        self.ended = threading.Event()
        self.lock = threading.Lock()
        self.connections = 0
        self._server = _Quiet(("127.0.0.1", port), _handler(self))
        self._server.daemon_threads = True
        self.port = self._server.server_port
        self.url = f"http://127.0.0.1:{self.port}/"

    def next_fault(self) -> Fault | None:
        with self.lock:
            return self.faults.pop(0) if self.faults else None

    def etag_of(self, data: bytes) -> str:
        return f'"{hashlib.sha256(data).hexdigest()[:16]}"'

    def date_of(self, data: bytes) -> str:
        seconds = int(hashlib.sha256(data).hexdigest()[:4], 16)
        return f"Wed, 01 Jan 2020 {seconds // 3600 % 24:02}:{seconds // 60 % 60:02}:{seconds % 60:02} GMT"

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        """Answer until the block ends."""
        thread = threading.Thread(target=self._server.serve_forever, args=(0.02,))
        thread.start()
        try:
            yield self
        finally:
            self.ended.set()
            self._server.shutdown()
            self._server.server_close()
            thread.join()


class _Quiet(http.server.ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of those who have gone."""


def _handler(server: Server) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        disable_nagle_algorithm = True
        timeout = 60  # so that no thread outlives its test by much
        ended = server.ended
        of = server
        ranges = True

        def setup(self) -> None:
            super().setup()
            with server.lock:
                server.connections += 1

        def do_GET(self) -> None:
            path = self.path.lstrip("/").partition("?")[0]
            self.ranges = True
            server.asked.append(Asked(self.path.lstrip("/"), self.headers["Range"], dict(self.headers)))
            fault = server.next_fault()
            if fault is not None and not fault(self, server.files.get(path, b"")):
                return
            if path not in server.files:
                self.say(404)
                return
            self.answer(server.files[path])

        def say(self, status: int, **headers: str) -> None:
            self.send_response(status)
            for name, value in {"Content-Length": "0", **headers}.items():
                self.send_header(name.replace("_", "-"), value)
            self.end_headers()

        def answer(self, data: bytes, most: int | None = None, like: bytes | None = None, **headers: str) -> None:
            """Give what was asked for, but stop after `most` bytes; say that it is `like` another file."""
            told = data if like is None else like
            etag, date = server.etag_of(told), server.date_of(told)
            sent: dict[str, str] = {}
            if server.etags:
                sent["ETag"] = etag
                if self.headers["If-Match"] not in (None, etag):
                    self.say(412)
                    return
            if server.dates:
                sent["Last-Modified"] = date
            found = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"] or "")
            status, part = 200, data
            if found and self.ranges:
                start, stop = int(found[1]), int(found[2]) + 1
                if start >= len(data):
                    self.say(416, Content_Range=f"bytes */{len(data)}")
                    return
                status, part = 206, data[start:stop]
                sent["Content-Range"] = f"bytes {start}-{start + len(part) - 1}/{len(data)}"
            self.send_response(status)
            for name, value in {"Content-Length": str(len(part)), **sent, **headers}.items():
                if value:
                    self.send_header(name.replace("_", "-"), value)
            self.end_headers()
            self.wfile.write(part[:most])
            self.wfile.flush()

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


# what may be done otherwise


def cut(after: int = 0) -> Fault:
    """Give some bytes of what was asked for, and end the connection."""

    def fault(handler: Any, data: bytes) -> bool:
        handler.answer(data, most=after)
        handler.close_connection = True
        return False

    return fault


def reset(after: int = 0) -> Fault:
    """Give some bytes, and break the connection."""

    def fault(handler: Any, data: bytes) -> bool:
        handler.answer(data, most=after)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        handler.connection.close()
        handler.close_connection = True
        return False

    return fault


def hang_up(handler: Any, data: bytes) -> bool:
    """End the connection without an answer."""
    handler.close_connection = True
    return False


def stall(after: int = 0) -> Fault:
    """Give some bytes, and then no more, while the connection stays."""

    def fault(handler: Any, data: bytes) -> bool:
        handler.answer(data, most=after)
        handler.ended.wait(60)
        handler.close_connection = True
        return False

    return fault


def mute(handler: Any, data: bytes) -> bool:
    """Take the request, and say nothing."""
    handler.ended.wait(60)
    handler.close_connection = True
    return False


def say(status: int, **headers: str) -> Fault:
    """Answer with a status, and without the file."""

    def fault(handler: Any, data: bytes) -> bool:
        handler.say(status, **headers)
        return False

    return fault


def late(seconds: float) -> Fault:
    """Give what was asked for, after a while."""

    def fault(handler: Any, data: bytes) -> bool:
        handler.ended.wait(seconds)
        return True

    return fault


def without_parts(handler: Any, data: bytes) -> bool:
    """Give all of the file, whatever part was asked for."""
    handler.ranges = False
    return True


def another_part(start: int, stop: int) -> Fault:
    """Give a part of the file that may not be what was asked for, and say so."""

    def fault(handler: Any, data: bytes) -> bool:
        handler.send_response(206)
        handler.send_header("Content-Range", f"bytes {start}-{stop - 1}/{len(data)}")
        handler.send_header("ETag", handler.of.etag_of(data))
        handler.send_header("Content-Length", str(stop - start))
        handler.end_headers()
        handler.wfile.write(data[start:stop])
        return False

    return fault


def in_chunks(handler: Any, data: bytes) -> bool:
    """Give what was asked for in chunks, whose length is not known before."""
    start, stop = (int(part) for part in handler.headers["Range"].removeprefix("bytes=").split("-"))
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {start}-{stop}/{len(data)}")
    handler.send_header("ETag", handler.of.etag_of(data))
    handler.send_header("Transfer-Encoding", "chunked")
    handler.end_headers()
    for place in range(start, stop + 1, 10_000):
        part = data[place : min(stop + 1, place + 10_000)]
        handler.wfile.write(b"%x\r\n%b\r\n" % (len(part), part))
    handler.wfile.write(b"0\r\n\r\n")
    return False


def damaged(handler: Any, data: bytes) -> bool:
    """Give other bytes than there are, and say that they are right."""
    handler.answer(bytes(byte ^ 1 for byte in data), like=data)
    return False


def changed(path: str, data: bytes, after: int | None = None) -> Fault:
    """Have another file from now on, perhaps after the first bytes of the old one, which end there."""

    def fault(handler: Any, old: bytes) -> bool:
        if after is not None:
            handler.answer(old, most=after)
            handler.close_connection = True
        handler.of.files[path] = data
        return after is None

    return fault


def numbers(size: int, seed: int = 0) -> bytes:
    """Return bytes that differ from place to place."""
    return np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8).tobytes()

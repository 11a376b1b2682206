"""A real HTTP server on loopback that can stall, cut, lie and refuse."""

from __future__ import annotations

import contextlib
import http.server
import re
import threading
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple


class Request(NamedTuple):
    """What was asked for."""

    path: str
    range: str | None
    if_range: str | None


class Server:
    """Serves files of memory, each by a behaviour.

    Parameters
    ----------
    files : dict
        Contents by path, without a slash in front.

    Attributes
    ----------
    url : str
        What stands before the paths.
    requests : list of Request
        What was asked for, in order.
    behaviours : dict
        What is to be done otherwise: functions by path, or by the beginning of one, called with the handler and the
        contents; they return whether the usual answer follows.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files = files
        self.requests: list[Request] = []
        self.behaviours: dict[str, Callable[[Any, bytes], bool]] = {}
        self.ended = threading.Event()
        self._server = _Quiet(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_port}/"

    def behave(self, behaviour: Callable[[Any, bytes], bool], path: str = "", times: int | None = None) -> None:
        """Behave so at paths that begin so, for the first so many requests."""
        left = [times]

        def limited(handler: Any, data: bytes) -> bool:
            if left[0] is not None:
                if left[0] == 0:
                    return True
                left[0] -= 1
            return behaviour(handler, data)

        self.behaviours[path] = limited

    def _handler(self) -> type[http.server.BaseHTTPRequestHandler]:
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            ranges = True  # whether parts are given
            ended = server.ended

            def do_GET(self) -> None:
                path = self.path.lstrip("/")
                server.requests.append(Request(path, self.headers["Range"], self.headers["If-Range"]))
                data = server.files.get(path)
                for beginning, behaviour in server.behaviours.items():
                    if path.startswith(beginning) and not behaviour(self, data or b""):
                        return
                if data is None:
                    self.send_error(404)
                    return
                self.answer(data)

            def answer(self, data: bytes, length: int | None = None, most: int | None = None, **headers: str) -> None:
                """Give a file, or the part that was asked for; say another length, or stop after so many bytes."""
                start = self._start(data)
                if start and start >= len(data):
                    self.send_response(416)
                    self.send_header("Content-Length", "0")
                    self.end_headers()
                    return
                part = data[start:]
                self.send_response(206 if start else 200)
                if start:
                    self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
                self.send_header("Content-Length", str(len(part) if length is None else length))
                self.send_header("ETag", '"1"')
                for name, value in headers.items():
                    self.send_header(name.replace("_", "-"), value)
                self.end_headers()
                self.wfile.write(part[:most])
                self.wfile.flush()

            def _start(self, data: bytes) -> int:
                told = re.fullmatch(r"bytes=(\d+)-", self.headers["Range"] or "")
                if told is None or not self.ranges or self.headers["If-Range"] not in (None, '"1"'):
                    return 0
                return int(told[1])

            def log_message(self, *_: Any) -> None:
                pass

        return Handler

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


def stall(after: int = 0) -> Callable[[Any, bytes], bool]:
    """Give some bytes, and then no more, while the connection stays."""

    def behaviour(handler: Any, data: bytes) -> bool:
        handler.answer(data, most=after)
        handler.ended.wait(60)
        handler.close_connection = True
        return False

    return behaviour


def mute(handler: Any, data: bytes) -> bool:
    """Take the connection, and say nothing."""
    handler.ended.wait(60)
    handler.close_connection = True
    return False


def cut(after: int) -> Callable[[Any, bytes], bool]:
    """Give some bytes of what was asked for, and end the connection."""

    def behaviour(handler: Any, data: bytes) -> bool:
        handler.answer(data, most=after)
        handler.close_connection = True
        return False

    return behaviour


def page(handler: Any, data: bytes) -> bool:
    """Give a web page, as those do who want one to log in."""
    text = b"<!DOCTYPE html><html><body>Sign in to go on</body></html>"
    handler.ranges = False
    handler.answer(text, Content_Type="text/html; charset=utf-8")
    return False


def redirect(to: str) -> Callable[[Any, bytes], bool]:
    """Send whoever asks elsewhere."""

    def behaviour(handler: Any, data: bytes) -> bool:
        handler.send_response(302)
        handler.send_header("Location", to)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return False

    return behaviour


def lie(more: int) -> Callable[[Any, bytes], bool]:
    """Say a length that is larger or smaller than the file's."""

    def behaviour(handler: Any, data: bytes) -> bool:
        handler.answer(data, length=len(data) + more, most=len(data) + min(more, 0))
        handler.close_connection = True
        return False

    return behaviour


def refuse(status: int, **headers: str) -> Callable[[Any, bytes], bool]:
    """Answer with a status, and without the file."""

    def behaviour(handler: Any, data: bytes) -> bool:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return False

    return behaviour


def whole(handler: Any, data: bytes) -> bool:
    """Give no parts of files."""
    handler.ranges = False
    return True


def encoded(handler: Any, data: bytes) -> bool:
    """Say of a file that is compressed that it was compressed for the way."""
    handler.answer(data, Content_Encoding="gzip")
    return False


def another_part(handler: Any, data: bytes) -> bool:
    """Give the end of a file, whatever was asked for."""
    start = len(data) // 2
    handler.send_response(206)
    handler.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
    handler.send_header("Content-Length", str(len(data) - start))
    handler.end_headers()
    handler.wfile.write(data[start:])
    return False


def plain(status: int, data: bytes, *, most: int | None = None, **headers: str) -> Callable[[Any, bytes], bool]:
    """Answer with a status, with just these headers and bytes, and end the connection."""

    def behaviour(handler: Any, _: bytes) -> bool:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Connection", "close")
        handler.end_headers()
        handler.wfile.write(data[:most])
        handler.close_connection = True
        return False

    return behaviour

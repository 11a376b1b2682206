"""Serve the files of a folder: `python static_server.py <ip> <folder>`.

The port is the one line that is printed. Files are sent by sendfile, so that hardly anything is done here.
"""

from __future__ import annotations

import functools
import sys
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


class Handler(SimpleHTTPRequestHandler):
    """Sends files without looking at them."""

    def copyfile(self, source: Any, outputfile: Any) -> None:
        """Let the kernel copy."""
        self.connection.sendfile(source)

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


def main(address: str, folder: str) -> None:
    """Serve until the process is ended."""
    server = ThreadingHTTPServer((address, 0), functools.partial(Handler, directory=folder))
    print(server.server_port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:])

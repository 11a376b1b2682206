"""Servers on loopback that are programs of their own, which can be killed and started again."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Sequence
from pathlib import Path

import pytest


def free_port() -> int:
    """Return the number of a port that nobody listens at."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class Program:
    """A server.

    Parameters
    ----------
    command : sequence of str
        What starts it.
    port : int
        Where it is going to listen.
    log : Path
        Where what it says is kept.
    """

    def __init__(self, command: Sequence[str], port: int, log: Path) -> None:
        self._command = command
        self._port = port
        self._log = log

    def start(self) -> None:
        """Start it, and wait until it listens."""
        with open(self._log, "ab") as file:
            self._process = subprocess.Popen(self._command, stdout=file, stderr=file)
        until = time.monotonic() + 30
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self._port), 1).close()
                return
            except OSError:
                if self._process.poll() is not None:
                    break
                time.sleep(0.01)
        self.kill()
        pytest.fail(f"{self._command[0]} does not start: {self._log.read_text()}")

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

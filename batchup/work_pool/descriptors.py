"""File descriptors sent from process to process, beside the messages of a connection."""

from __future__ import annotations

import os
import socket
from multiprocessing.connection import Connection


def send_descriptor(connection: Connection, descriptor: int) -> None:
    """Send a file descriptor; whoever receives next on this connection must be ready for it."""
    with socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as line:
        socket.send_fds(line, [b"d"], [descriptor])


def receive_descriptor(connection: Connection) -> int:
    """Receive a file descriptor; an EOFError if the sender has gone."""
    with socket.fromfd(connection.fileno(), socket.AF_UNIX, socket.SOCK_STREAM) as line:
        _, descriptors, _, _ = socket.recv_fds(line, 1, 1)
    if not descriptors:
        raise EOFError
    os.set_inheritable(descriptors[0], False)
    return descriptors[0]

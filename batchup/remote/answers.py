"""The bytes of answers of a web server, read straight into the memory where they belong."""

from __future__ import annotations

import functools
import http.client
import io
from collections.abc import Callable
from typing import Any


def taker(answer: Any) -> Callable[[memoryview], int]:
    """Return what reads some bytes of an answer of urllib3, those that are there, into memory; 0 at its end.

    The answer of the standard library, which urllib3 has inside, lets them come there straight away; urllib3 itself
    would copy them twice.
    """
    inside = getattr(answer, "_fp", None)
    file = getattr(inside, "fp", None)
    length = getattr(inside, "length", None)
    if not isinstance(inside, http.client.HTTPResponse) or not isinstance(file, io.BufferedReader) or length is None:
        return functools.partial(_take, answer)
    left = int(length)

    def take(room: memoryview) -> int:
        nonlocal left
        count = file.readinto1(room[:left])
        inside.length = left = left - count
        return count

    return take


def _take(answer: Any, room: memoryview) -> int:
    data = answer.read1(len(room)) or b""
    room[: len(data)] = data
    return len(data)


def at_end(answer: Any) -> bool:
    """Return whether nothing more comes of an answer, so that its connection can be used again."""
    inside = getattr(answer, "_fp", None)
    if isinstance(inside, http.client.HTTPResponse) and inside.length == 0:
        inside.read()  # nothing, by which it knows that it is at its end
        return True
    return not answer.read1(1)

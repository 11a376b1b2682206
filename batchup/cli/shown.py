"""Values, sizes and tables, as people read them, and as JSON can hold them."""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

WIDEST = 40  # characters of a cell
FIRST = 3  # elements of an array that are shown


def rounded(size: int) -> str:
    """Return a number of bytes, rounded.

    >>> rounded(999), rounded(52_100_000)
    ('999 bytes', '52.1 MB')
    """
    for unit, bytes_ in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if size >= bytes_:
            return f"{size / bytes_:.1f} {unit}"
    return f"{size} bytes"


def size_of(path: str) -> int | None:
    """Return how many bytes a file takes, or all files of a folder; None if that cannot be told."""
    try:
        if not os.path.isdir(path):
            return os.stat(path).st_size
        return sum(os.stat(os.path.join(folder, name)).st_size for folder, _, names in os.walk(path) for name in names)
    except OSError:
        return None


def plain(value: Any) -> Any:
    """Return a value as JSON can hold it: arrays as lists, bytes as base64, what is no finite number as null.

    >>> plain({"x": np.array([1.0, np.nan]), "y": b"ab", "z": np.int8(3)})
    {'x': [1.0, None], 'y': 'YWI=', 'z': 3}
    >>> plain(np.array([86_400_000_000], "m8[us]"))
    ['86400000000 microseconds']
    """
    if isinstance(value, dict):
        return {str(name): plain(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    if isinstance(value, (np.ndarray, np.generic)):
        if value.dtype.kind in "mM":
            return [plain(part) for part in np.asarray(value)] if value.ndim else str(value)
        wide = value.dtype.kind in "fc" and value.dtype.itemsize > (8 if value.dtype.kind == "f" else 16)
        return plain(
            np.asarray(value).astype(complex if value.dtype.kind == "c" else float).tolist() if wide else value.tolist()
        )
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, complex):
        return [plain(value.real), plain(value.imag)]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def print_json(value: Any, indent: int | None = 2) -> None:
    """Print a value as JSON."""
    print(json.dumps(plain(value), indent=indent, ensure_ascii=False, allow_nan=False))


def cell(value: Any) -> str:
    r"""Return a value in few characters.

    >>> cell(np.zeros((28, 28), np.uint8)), cell("one\ntwo"), cell(np.float32(0.1)), cell({"min": 1, "max": 2})
    ('uint8 (28, 28): 0 0 0 ...', 'one\\ntwo', '0.1', 'min 1, max 2')
    """
    if isinstance(value, dict):
        return ", ".join(f"{name} {cell(part)}" for name, part in value.items())
    if isinstance(value, np.ndarray) and value.ndim:
        parts = [str(part) for part in value.ravel()[:FIRST]]
        more = " ..." if value.size > FIRST else ""
        return _short(f"{value.dtype} {value.shape}: {' '.join(parts)}{more}")
    if isinstance(value, bytes):
        return f"{len(value)} bytes"
    if isinstance(value, float):
        return f"{value:g}"
    return _short("".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(value)))


def table_of(rows: Iterable[Sequence[str]], indent: str = "") -> str:
    """Return rows of cells as lines, whose columns are below one another.

    >>> print(table_of([["x", "label"], ["0.25", "1"]]))
    x     label
    0.25  1
    """
    lines = [list(row) for row in rows]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    shown = ("  ".join(part.ljust(width) for part, width in zip(line, widths, strict=True)) for line in lines)
    return "\n".join(indent + line.rstrip() for line in shown)


def _short(text: str) -> str:
    return text if len(text) <= WIDEST else text[: WIDEST - 3] + "..."

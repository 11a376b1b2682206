"""Arguments of commands: numbers, sizes, names and what they are to be."""

from __future__ import annotations

import argparse
import json
from typing import Any


def size(text: str) -> tuple[int, int]:
    """Return the width and height of ``224x224``."""
    width, _, height = text.partition("x")
    if not (width.isdecimal() and height.isdecimal() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f"must be WIDTHxHEIGHT in pixels, like 224x224, got {text!r}")
    return int(width), int(height)


def natural(text: str) -> int:
    """Return a whole number of at least 0."""
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 0, got {text!r}")
    return int(text)


def positive(text: str) -> int:
    """Return a whole number of at least 1."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"must be a whole number of at least 1, got {text!r}")
    return int(text)


def names(text: str) -> list[str]:
    """Return the names of columns, between which there are commas."""
    return [name.strip() for name in text.split(",")]


def shares(text: str) -> list[float]:
    """Return shares, between which there are commas."""
    try:
        return [float(share) for share in text.split(",")]
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be numbers such as 0.8,0.2, got {text!r}") from None


def named(text: str) -> tuple[str, str]:
    """Return a name and what is behind the equals sign."""
    name, equals, value = text.rpartition("=")
    if not (name and equals and value):
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, got {text!r}")
    return name, value


def option(text: str) -> tuple[str, Any]:
    """Return the name of an option and its value, which is a text unless it is JSON.

    >>> option("rows=3"), option("encoding=latin-1")
    (('rows', 3), ('encoding', 'latin-1'))
    """
    name, value = named(text)
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value

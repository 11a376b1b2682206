"""Numbers that users pass in, checked where they enter."""

from __future__ import annotations

import numbers
from typing import Any

from batchup.errors import InvalidTypeError, InvalidValueError


def whole_number(value: Any, what: str, least: int = 0) -> int:
    """Return `value` as an int; an error unless it is an integer (not a bool) of at least `least`."""
    if not isinstance(value, numbers.Real) or isinstance(value, bool):
        raise InvalidTypeError(f"{what} must be an integer, got {value!r}")
    if not isinstance(value, numbers.Integral) or value < least:
        raise InvalidValueError(f"{what} must be an integer of at least {least}, got {value!r}")
    return int(value)

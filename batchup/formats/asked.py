"""Dtypes that users ask for where a file does not tell them, and what is made of texts and numbers for that."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import InvalidTypeError, InvalidValueError

KINDS = "biufUM"  # of dtypes
_TIME = re.compile(r"|NaT|-?\d[\d-]*([T ][\d:.]*)?")


def asked_dtypes(dtypes: Any, lengths: bool = False) -> dict[str, np.dtype[Any]]:
    """Return the dtypes that a user names, checked.

    Parameters
    ----------
    dtypes : mapping of str to dtype, or None
        By the names of columns.
    lengths : bool, default False
        Whether texts may have a length.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If one is none, or is not of numbers, bools, texts or times.

    Examples
    --------
    >>> asked_dtypes({"x": "float32", "t": "datetime64[s]"})
    {'x': dtype('float32'), 't': dtype('<M8[s]')}
    """
    if dtypes is None:
        return {}
    if not isinstance(dtypes, Mapping):
        raise InvalidTypeError(f'dtypes must be a dict such as {{"x": "float32"}}, got {dtypes!r:.60}')
    return {name: _asked(name, dtype, lengths) for name, dtype in dtypes.items()}


def dtype_of(asked: Any, name: str) -> np.dtype[Any]:
    """Return what a user calls the dtype of a column as a dtype; an InvalidTypeError if it is none."""
    try:
        dtype: np.dtype[Any] = np.dtype(asked)
    except (TypeError, ValueError, SyntaxError):
        raise InvalidTypeError(
            f"dtypes: column {name!r}: {asked!r:.60} is no dtype of NumPy, such as 'float32' or 'U16'"
        ) from None
    return dtype


def _asked(name: str, asked: Any, lengths: bool) -> np.dtype[Any]:
    dtype = dtype_of(asked, name)
    wanted = "a dtype of bools, integers, floats up to float64, 'U' for texts, or datetime64 with a unit"
    if (
        dtype.kind not in KINDS
        or (dtype.kind == "f" and dtype.itemsize > 8)
        or (dtype.kind == "U" and dtype.itemsize and not lengths)
        or (dtype.kind == "M" and np.datetime_data(dtype)[0] == "generic")
    ):
        raise InvalidValueError(f"dtypes: column {name!r}: wanted {wanted}, got {asked!r:.60}")
    return dtype


def is_plain_number(dtype: np.dtype[Any]) -> bool:
    """Return whether all values of a dtype can be written as decimals, and read, without loss."""
    return dtype.kind in "biu" or (dtype.kind == "f" and dtype.itemsize <= 8)


def is_time(dtype: np.dtype[Any]) -> bool:
    """Return whether values are points in time, of some unit."""
    return dtype.kind == "M" and np.datetime_data(dtype)[0] != "generic"


def time_texts(values: NDArray[Any]) -> list[Any]:
    """Return points in time as ISO 8601 writes them, in nested lists.

    >>> time_texts(np.array(["2024-02-29", "NaT"], "M8[h]"))
    ['2024-02-29T00', 'NaT']
    """
    texts: list[Any] = np.datetime_as_string(values.astype(values.dtype.newbyteorder("="))).tolist()
    return texts


def times_of(texts: Sequence[str], dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the points in time that texts stand for; none at all for those that are empty.

    Raises
    ------
    ValueError
        If one is none, or none of that unit.

    Examples
    --------
    >>> times_of(["2024-02-29", ""], np.dtype("M8[h]"))
    array(['2024-02-29T00',           'NaT'], dtype='datetime64[h]')
    """
    for text in texts:  # NumPy takes "now", too, and counts what has a time zone in UTC
        if not _TIME.fullmatch(text):
            raise ValueError(f"{text!r:.60} is no time such as 2024-02-29T12:00, without a time zone")
    try:
        exact = np.array(texts, "M8") if len(texts) else np.empty(0, dtype)
    except ValueError:
        raise ValueError(f"{texts[0]!r:.60} is no time that there is") from None
    found = exact.astype(dtype.newbyteorder("="))  # NumPy goes wrong with others
    differ = (found.astype(exact.dtype) != exact) & ~np.isnat(exact)
    if differ.any():
        raise ValueError(f"{texts[int(differ.argmax())]!r:.60} is finer than {dtype}, or beyond it")
    return found.astype(dtype, copy=False)

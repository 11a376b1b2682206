"""Sequences of different lengths laid out as a rectangle, many at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup.errors import InvalidValueError, LengthError

SIDES = ("right", "left")
MOST_VOID = 2**31 - 1  # bytes that NumPy takes as one element
FEW = 16  # columns with places to fill
_FIRST = np.arange(4096)


@dataclass(frozen=True)
class Padding:
    """How to lay out sequences as a rectangle.

    Attributes
    ----------
    value : scalar or array-like
        What fills the places without an element; broadcast to the shape of an element.
    side : str
        At which end of a sequence they are: ``'right'`` or ``'left'``.
    pad_to : int
        The width is a multiple of this.
    to : int or None
        The width, if it is fixed; None is that of the longest sequence.
    """

    value: Any = 0
    side: str = "right"
    pad_to: int = 1
    to: int | None = None

    def __post_init__(self) -> None:
        if self.side not in SIDES:
            raise InvalidValueError(f"side must be 'right' or 'left', got {self.side!r}")
        whole_number(self.pad_to, "pad_to", 1)
        if self.to is not None:
            whole_number(self.to, "to")
            if self.to % self.pad_to:
                raise InvalidValueError(f"to={self.to} is no multiple of pad_to={self.pad_to}")

    def check(self, dtype: np.dtype[Any], inner_shape: tuple[int, ...]) -> None:
        """Raise unless elements of a dtype and a shape can hold the padding value."""
        try:
            given = np.broadcast_to(self.value, inner_shape)
            fits = _holds(dtype, given)
        except (TypeError, ValueError, OverflowError):  # NumPy cannot convert it at all
            fits = False
        if not fits:
            raise InvalidValueError(f"elements of {dtype} and shape {inner_shape} cannot hold the value {self.value!r}")

    def width(self, lengths: NDArray[Any]) -> int:
        """Return the width of the rectangle of sequences of these lengths."""
        longest = lengths.item(lengths.argmax()) if len(lengths) else 0  # faster than the maximum
        if self.to is not None:
            if longest > self.to:
                raise LengthError(
                    f"to={self.to} is less than the longest sequence: number {int(lengths.argmax())} has {longest}"
                )
            return self.to
        return longest if self.pad_to == 1 else -(-longest // self.pad_to) * self.pad_to

    def widths(self, lengths: NDArray[Any]) -> NDArray[Any]:
        """Return how many places each of some sequences takes in a rectangle that it decides on."""
        if self.to is not None:
            self.width(lengths)  # raises if one is longer
            return np.full_like(lengths, self.to)
        return lengths if self.pad_to == 1 else -(-lengths // self.pad_to) * self.pad_to

    def mask(self, lengths: NDArray[Any], width: int) -> NDArray[np.bool_]:
        """Return which places of the rectangle hold an element."""
        columns = np.arange(width)
        real: NDArray[np.bool_] = (
            columns < lengths[:, None] if self.side == "right" else columns >= width - lengths[:, None]
        )
        return real

    def fill(self, rows: NDArray[Any], lengths: NDArray[Any], width: int) -> None:
        """Write the value to the places of a rectangle, with at least one row, that hold no element."""
        shortest = lengths.item(lengths.argmin())
        if shortest == width:
            return
        right = self.side == "right"
        start, stop = (shortest, width) if right else (0, width - shortest)
        tail = rows[:, start:stop]
        if stop - start <= FEW:  # NumPy goes through many rows faster than through few columns
            columns = _numbers(start, stop)[:, None]
            empty = columns >= lengths if right else columns < width - lengths
            tail.swapaxes(0, 1)[empty] = self.value
            return
        empty = _numbers(start, stop) >= lengths[:, None] if right else _numbers(start, stop) < width - lengths[:, None]
        if rows.ndim > 2:
            empty = empty.reshape(*empty.shape, *(1,) * (rows.ndim - 2))
        np.copyto(tail, self.value, "unsafe", empty)


def _holds(dtype: np.dtype[Any], given: NDArray[Any]) -> bool:
    """Return whether elements of a dtype can hold values; NumPy's errors pass."""
    if given.dtype.kind == "c" and dtype.kind != "c":
        return False
    with np.errstate(all="ignore"):
        held = given.astype(dtype)
        return bool(np.all((held == given) | _may_round(given, held, dtype)))


def _may_round(given: NDArray[Any], held: NDArray[Any], dtype: np.dtype[Any]) -> Any:
    """Return where a value is not held as it is, but as near as can be: a fraction, or what is no number."""
    if dtype.kind in "mM":
        return np.isnat(held) & np.isnat(given) if given.dtype.kind in "mM" else False
    if dtype.kind not in "fc" or given.dtype.kind not in "biufc":
        return False
    return np.isnan(given) | (np.isfinite(held) & (np.abs(held - given) <= np.abs(given) * np.finfo(dtype).eps))


def _numbers(start: int, stop: int) -> NDArray[np.intp]:
    """Return the numbers between two."""
    return _FIRST[start:stop] if stop <= len(_FIRST) else np.arange(start, stop)


class Windows:
    """Stretches of one length, from anywhere in some memory.

    Parameters
    ----------
    base : ndarray of uint8, shape (bytes,)
        The memory.
    size : int
        Bytes of a stretch, at least 1.
    """

    def __init__(self, base: NDArray[np.uint8], size: int) -> None:
        self._base = base
        self._size = size
        self._cells: NDArray[Any] | None = None
        if size <= min(len(base), MOST_VOID):
            self._cells = np.ndarray((len(base) - size + 1,), f"V{size}", base, 0, (1,))

    def at(self, starts: NDArray[np.int64]) -> NDArray[Any]:
        """Return the stretches from some places on, as elements of a void type.

        What lies behind the end of the memory may be anything.

        >>> Windows(np.arange(9, dtype=np.uint8), 3).at(np.array([5, 0])).view(np.uint8).reshape(2, 3)
        array([[5, 6, 7],
               [0, 1, 2]], dtype=uint8)
        """
        try:
            if self._cells is not None:
                return self._cells[starts]
        except IndexError:
            pass  # the last ones reach over the end
        return self.at_the_edge(starts)

    def at_the_edge(self, starts: NDArray[np.int64]) -> NDArray[np.uint8]:
        """Return the same as rows of bytes, also from places before the memory begins."""
        base, size = self._base, self._size
        room = len(base) - size
        if self._cells is None:
            rows, outside = np.zeros((len(starts), size), np.uint8), np.arange(len(starts))
        else:
            rows = self._cells[np.clip(starts, 0, room)].view(np.uint8).reshape(len(starts), size)
            outside = np.flatnonzero((starts < 0) | (starts > room))
        for row in outside.tolist():
            start = int(starts[row])
            first, last = max(0, start), min(len(base), start + size)
            if first < last:
                rows[row, first - start : last - start] = base[first:last]
        return rows

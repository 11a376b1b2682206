"""Rows on their way into a file, laid out as they will lie there."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import InvalidValueError
from batchup.hypersequence.checksums import checksums_of
from batchup.hypersequence.format import Field, Format

BLOCK = 8 * 2**20  # bytes of records that are written at once


class Block:
    """Room for some records.

    Parameters
    ----------
    layout : Format
        What a record is made of.

    Attributes
    ----------
    room : int
        Number of rows that it can hold.
    no_inputs : int
        How many arrays of a row are inputs.
    """

    def __init__(self, layout: Format) -> None:
        self.no_inputs = layout.no_inputs
        self._size, self._record_bytes = layout.batch_size, layout.record_bytes
        records = max(1, BLOCK // layout.record_bytes)
        self.room = records * layout.batch_size
        self._bytes = np.empty(records * layout.record_bytes, np.uint8)
        self._views: list[NDArray[Any]] = []
        for number, field in enumerate(layout.fields):
            shape = (records, layout.batch_size, *field.shape)
            strides = (layout.record_bytes, *field.strides)
            offset = layout.layout(number).offset
            self._views.append(np.ndarray(shape, field.dtype, self._bytes.data, offset, strides))
        self._expected = [(field.dtype, field.shape) for field in layout.fields]

    def put(self, row: tuple[Any, ...], place: int) -> bool:
        """Put a row into its place; return False if it is not like the others, or not made of arrays."""
        if len(row) != len(self._expected):
            return False
        for values, (dtype, shape) in zip(row, self._expected, strict=True):
            if not (isinstance(values, (np.ndarray, np.generic)) and values.dtype == dtype and values.shape == shape):
                return False
        record, within = divmod(place, self._size)
        for values, view in zip(row, self._views, strict=True):
            view[record, within] = values
        return True

    def put_rows(self, arrays: list[NDArray[Any]], start: int, place: int) -> int:
        """Put rows from the `start`-th one on into places from `place` on, as many as go in one go; return how many."""
        length = len(arrays[0]) - start
        record, within = divmod(place, self._size)
        whole = 0 if within else min(length, self.room - place) // self._size
        count = whole * self._size or min(length, self._size - within)
        for values, view in zip(arrays, self._views, strict=True):
            rows = values[start : start + count]
            if whole:
                view[record : record + whole] = rows.reshape(whole, self._size, *rows.shape[1:])
            else:
                view[record, within : within + count] = rows
        return count

    def records(self, count: int) -> memoryview:
        """Return the first records, as they will lie in the file."""
        return self._bytes[: count * self._record_bytes].data

    def tail(self, count: int) -> memoryview:
        """Return the first rows, as they will lie in the file if they make no record."""
        return memoryview(b"".join([view[0, :count].tobytes() for view in self._views]))

    def shift(self, count: int) -> None:
        """Move the record behind the first ones to the beginning."""
        size = self._record_bytes
        self._bytes[:size] = self._bytes[count * size : (count + 1) * size]


class Summing:
    """Checksums of records, made by a thread while they are written."""

    def __init__(self, data: memoryview, record_bytes: int) -> None:
        self._data = data
        self._record_bytes = record_bytes
        self._sums: list[int] = []
        self._thread: threading.Thread | None = threading.Thread(target=self._run, name="batchup checksums")
        try:
            self._thread.start()
        except RuntimeError:  # no more threads can be started
            self._thread = None

    def result(self) -> list[int]:
        """Return the checksums."""
        if self._thread is not None:
            self._thread.join()
        if len(self._sums) * self._record_bytes < len(self._data):
            self._run()
        return self._sums

    def _run(self) -> None:
        self._sums = checksums_of(self._data, self._record_bytes)


def check_rows(fields: tuple[Field, ...], no_inputs: int, arrays: Sequence[Any], shapes: list[Any], row: str) -> None:
    """Raise unless arrays, of which these are the shapes of a row, are like the fields."""
    for number, (field, values, shape) in enumerate(zip(fields, arrays, shapes, strict=True)):
        if values.dtype != field.dtype or tuple(shape) != field.shape:
            raise InvalidValueError(
                f"{row}: {label(number, no_inputs)} must be {field}, got {values.dtype} of shape {tuple(shape)}"
            )


def label(number: int, no_inputs: int) -> str:
    """Return what users call a field."""
    return f"input {number}" if number < no_inputs else f"output {number - no_inputs}"

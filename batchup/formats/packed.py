"""Texts, bytes and arrays of one shape, kept as sequences of their bytes or elements, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np

from batchup.columns import Ragged, SequenceColumn
from batchup.errors import FileFormatError, InvalidValueError
from batchup.formats.restored import RestoredColumn
from batchup.formats.table import objects


class BytesColumn(RestoredColumn):
    """Bytes, or texts, of any length, which are kept as sequences.

    Parameters
    ----------
    stored : SequenceColumn
        Of unsigned integers of 8 bits.
    text : bool, default False
        Whether they are texts, as UTF-8.

    Examples
    --------
    >>> BytesColumn(packed([b"to", b"", b"be"]))[[2, 0]]
    array([b'be', b'to'], dtype=object)
    """

    def __init__(self, stored: SequenceColumn, text: bool = False) -> None:
        super().__init__(stored, np.dtype(object))
        self._text = text

    def _restored(self, stored: Ragged) -> Any:
        data = stored.values.tobytes()
        parts = [data[start:stop] for start, stop in pairwise(stored.offsets.tolist())]
        if not self._text:
            return objects(parts)
        try:
            return objects([part.decode() for part in parts])
        except UnicodeDecodeError as error:
            raise FileFormatError(f"a text is damaged: {error}") from None


class FixedColumn(RestoredColumn):
    """Arrays of one shape, which are kept as sequences.

    Parameters
    ----------
    stored : SequenceColumn
        Of as many elements each.
    dtype : numpy.dtype
        Of the elements.
    shape : tuple of int
        Of a sample.

    Examples
    --------
    >>> FixedColumn(Ragged.of([[1, 2, 3, 4], [5, 6, 7, 8]]), np.dtype("i8"), (2, 2))[1]
    array([[5, 6],
           [7, 8]])
    """

    def __init__(self, stored: SequenceColumn, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        super().__init__(stored, dtype, shape)
        self.resident = stored.resident

    def _restored(self, stored: Ragged) -> Any:
        return stored.values.reshape(len(stored), *self.sample_shape)


def packed(parts: Sequence[bytes]) -> Ragged:
    """Return bytes as sequences of numbers.

    >>> packed([b"to", b"", b"be"]).tolist()
    [[116, 111], [], [98, 101]]
    """
    offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    return Ragged(np.frombuffer(b"".join(parts), np.uint8), offsets)


def utf8(values: Sequence[str], name: str, first: int) -> list[bytes]:
    """Return texts as UTF-8; they are the values of a column from a row on.

    Raises
    ------
    InvalidValueError
        If one holds half of a character, naming its row.
    """
    encoded = []
    for number, value in enumerate(values, first):
        try:
            encoded.append(value.encode())
        except UnicodeEncodeError as error:
            raise InvalidValueError(f"row {number}: {name!r} cannot be written as UTF-8: {error}") from None
    return encoded

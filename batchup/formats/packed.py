"""Texts, bytes and arrays of one shape, kept as sequences of their bytes or elements, as columns."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import Indices
from batchup.columns import OwnColumn, Ragged, SequenceColumn
from batchup.columns.abstract import samples_at
from batchup.errors import FileFormatError, InvalidValueError
from batchup.formats.table import objects


class BytesColumn(OwnColumn):
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

    takes_out = cheap = resident = views = False
    window = 0
    dtype = np.dtype(object)
    sample_shape: tuple[int, ...] = ()

    def __init__(self, stored: SequenceColumn, text: bool = False) -> None:
        self._stored = stored
        self._text = text

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows."""
        return (len(self),)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, index: Any) -> Any:
        return samples_at(self, index)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        ragged = self._stored.gather(indices)
        data = ragged.values.tobytes()
        parts = [data[start:stop] for start, stop in pairwise(ragged.offsets.tolist())]
        if not self._text:
            return objects(parts)
        try:
            return objects([part.decode() for part in parts])
        except UnicodeDecodeError as error:
            raise FileFormatError(f"a text is damaged: {error}") from None

    def view(self, indices: slice) -> Any:
        return self.gather(indices)

    def expect(self, indices: Indices) -> bool:
        return self._stored.expect(indices)


class FixedColumn(OwnColumn):
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

    takes_out = cheap = views = False
    window = 0

    def __init__(self, stored: SequenceColumn, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._stored = stored
        self.dtype = dtype
        self.sample_shape = shape
        self.resident = stored.resident

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of rows, and shape of one."""
        return (len(self), *self.sample_shape)

    def __len__(self) -> int:
        return len(self._stored)

    def __getitem__(self, index: Any) -> Any:
        return samples_at(self, index)

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> NDArray[Any]:
        ragged = self._stored.gather(indices)
        rows: NDArray[Any] = ragged.values.reshape(len(ragged), *self.sample_shape)
        if out is None:
            return rows
        out[...] = rows
        return out

    def view(self, indices: slice) -> NDArray[Any]:
        return self.gather(indices)

    def expect(self, indices: Indices) -> bool:
        return self._stored.expect(indices)


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

"""What HDF5 holds as something else, as columns: texts, bytes, dates, and sequences of different lengths."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._hdf5 import checked_dataset
from batchup._indices import Indices
from batchup.columns import Ragged, SequenceColumn, as_column
from batchup.columns.datasets import reduced
from batchup.errors import FileFormatError
from batchup.formats.restored import RestoredColumn
from batchup.formats.table import objects
from batchup.sequences.hdf5_file import mapped_values, numbers

VALUES, OFFSETS = "values", "offsets"


class Hdf5Values(RestoredColumn):
    """The rows of a dataset as what they stand for; pickled as the place of the dataset.

    Parameters
    ----------
    dataset : h5py.Dataset
        What is stored.
    dtype : numpy.dtype
        Of what it stands for; object for texts.
    """

    def __init__(self, dataset: Any, dtype: np.dtype[Any]) -> None:
        super().__init__(as_column(dataset), dtype, tuple(dataset.shape[1:]))
        self._dataset = dataset
        self.window = self._stored.window

    def __reduce__(self) -> Any:
        return _again, (type(self), reduced(self._dataset), self.dtype)

    def _restored(self, stored: NDArray[Any]) -> NDArray[Any]:
        """Return what stored values of the same size stand for: dates, or numbers that have names."""
        restored: NDArray[Any] = stored.view(self.dtype)
        return restored


class Hdf5Strings(Hdf5Values):
    """Texts of a fixed size, stored as UTF-8."""

    def _restored(self, stored: NDArray[Any]) -> NDArray[Any]:
        plain: NDArray[Any] = stored.astype(stored.dtype.str)
        rows: NDArray[Any]
        with contextlib.suppress(UnicodeDecodeError):
            rows = plain.astype(self.dtype)  # which takes ASCII only, many times as fast
            return rows
        try:
            rows = np.char.decode(plain, "utf-8").astype(self.dtype).reshape(plain.shape)
        except UnicodeDecodeError as error:
            raise FileFormatError(f"{self._dataset.name} holds texts that are no UTF-8: {error}") from None
        return rows


class Hdf5Texts(Hdf5Values):
    """Texts of any length."""

    def _restored(self, stored: NDArray[Any]) -> NDArray[Any]:
        values = stored.tolist()
        try:
            texts: NDArray[Any] = objects([value.decode() for value in values])
        except UnicodeDecodeError as error:
            raise FileFormatError(f"{self._dataset.name} holds a text that is no UTF-8: {error}") from None
        return texts


class Hdf5Lists(SequenceColumn):
    """Sequences that HDF5 keeps one by one: a dataset of variable length."""

    def __init__(self, dataset: Any, dtype: np.dtype[Any]) -> None:
        self._dataset = dataset
        self._stored = as_column(dataset)
        self._dtype = dtype
        self._inner_shape = ()

    @property
    def resident(self) -> bool:
        return False

    def __len__(self) -> int:
        return len(self._stored)

    def lent(self, indices: Indices) -> Ragged:
        parts = list(self._stored.gather(indices))
        offsets = np.cumsum([0, *map(len, parts)], dtype=np.int64)
        return Ragged(np.concatenate([np.empty(0, self._dtype), *parts], dtype=self._dtype), offsets)

    def lengths_at(self, indices: Indices) -> NDArray[Any]:
        return np.array([len(part) for part in self._stored.gather(indices)], np.int64)

    def __reduce__(self) -> Any:
        return _again, (type(self), reduced(self._dataset), self._dtype)


class Hdf5Ragged(SequenceColumn):
    """Sequences that are parts of one dataset.

    Parameters
    ----------
    values : h5py.Dataset
        Their elements, one behind the other.
    offsets : ndarray of int64
        Where each begins, and the last one ends.
    """

    def __init__(self, values: Any, offsets: NDArray[np.int64]) -> None:
        self._dataset = values
        self._stored = as_column(values)
        self._offsets = offsets
        self._dtype = values.dtype
        self._inner_shape = tuple(values.shape[1:])

    @property
    def resident(self) -> bool:
        return False

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def lent(self, indices: Indices) -> Ragged:
        starts, lengths = self._offsets[:-1][indices], self.lengths_at(indices)
        offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
        places: Indices = slice(int(starts[0]), int(starts[0] + offsets[-1])) if len(starts) else slice(0, 0)
        if not isinstance(indices, slice):
            places = np.repeat(starts - offsets[:-1], lengths) + np.arange(offsets[-1])
        return Ragged(self._stored.gather(places), offsets)

    def lengths_at(self, indices: Indices) -> NDArray[Any]:
        lengths: NDArray[np.int64] = (
            np.diff(self._offsets)[indices]
            if not isinstance(indices, slice)
            else np.diff(self._offsets[indices.start : indices.stop + 1])
        )
        return lengths

    def __reduce__(self) -> Any:
        return _again, (type(self), reduced(self._dataset), self._offsets)


def ragged_column(file: Any, key: str, path: str) -> SequenceColumn:
    """Return the sequences of a group: a dataset of all values, and one of where each sequence begins.

    Raises
    ------
    FileFormatError
        If they do not go together.
    """
    values = numbers(checked_dataset(file, f"{key}/{VALUES}", path), path)
    stored = numbers(checked_dataset(file, f"{key}/{OFFSETS}", path), path)
    if stored.dtype.kind not in "iu" or stored.ndim != 1 or not len(stored):
        raise FileFormatError(f"{path} is damaged: {key}/{OFFSETS} are no offsets")
    offsets = stored[()].astype(np.int64, copy=False)
    if offsets[0] != 0 or (np.diff(offsets) < 0).any() or offsets[-1] != len(values):
        raise FileFormatError(
            f"{path} is damaged: {key}/{OFFSETS} must ascend from 0 to {len(values)}, the number of {key}/{VALUES}"
        )
    memory = mapped_values(values, path) if values.file.driver == "sec2" else None
    if memory is None:
        return Hdf5Ragged(values, offsets)
    starts = offsets[:-1] * (memory.nbytes // len(values))
    rebuilt: tuple[Callable[..., Any], Any] = (_again, (Hdf5Ragged, reduced(values), offsets))
    return Ragged.over(memory, starts, np.diff(offsets), values.dtype, values.shape[1:], rebuilt)


def _again(kind: Any, place: tuple[Callable[..., Any], tuple[Any, ...]], argument: Any) -> Any:
    """Return a column of a dataset that was sent."""
    function, arguments = place
    return kind(function(*arguments), argument)

"""What users bring: array-likes, samplers and data sources that batchup did not write."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from batchup.data_source import AbstractDataSource, RandomAccessDataSource
from batchup.sampling import AbstractSampler


class Wrapped:
    """An array-like over an array; the derived classes restrict what it takes."""

    def __init__(self, array: np.ndarray[Any, Any]) -> None:
        self.array = array

    def __len__(self) -> int:
        return len(self.array)


class Everything(Wrapped):
    """Takes an int, a slice or an integer array."""

    def __getitem__(self, index: Any) -> Any:
        return self.array[index].copy()


class IntsOnly(Wrapped):
    """Takes nothing but one Python int."""

    def __getitem__(self, index: Any) -> Any:
        if type(index) is not int:
            raise TypeError(f"an int, not {type(index).__name__}")
        return self.array[index]


class ArraysOnly(Wrapped):
    """Takes nothing but a contiguous array of intp."""

    def __getitem__(self, index: Any) -> Any:
        assert isinstance(index, np.ndarray)
        assert index.dtype == np.intp
        assert index.ndim == 1
        assert index.flags.c_contiguous
        return self.array[index]


class Increasing(Wrapped):
    """Takes integer arrays as h5py does: strictly increasing ones only."""

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, np.ndarray) and (np.diff(index) <= 0).any():
            raise TypeError("indexing elements must be in increasing order")
        return self.array[index].copy()


class Gathers(Wrapped):
    """Has `gather`, but does not tell its dtype or shape: it must never be given `out`."""

    def gather(self, indices: np.ndarray[Any, Any]) -> Any:
        assert isinstance(indices, np.ndarray)
        return self.array[indices]

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("gather takes precedence")


class GathersInto(Wrapped):
    """Has `gather` with `out`, and tells its dtype and shape; returns the buffer, or nothing."""

    def __init__(self, array: np.ndarray[Any, Any], returns: bool = True) -> None:
        super().__init__(array)
        self.dtype, self.shape = array.dtype, array.shape
        self.returns = returns
        self.given = 0

    def gather(self, indices: np.ndarray[Any, Any], out: np.ndarray[Any, Any] | None = None) -> Any:
        if out is None:
            return self.array[indices]
        assert out.shape == (len(indices), *self.shape[1:])
        assert out.dtype == self.dtype
        assert out.flags.c_contiguous
        self.given += 1
        out[...] = self.array[indices]
        return out if self.returns else None

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("gather takes precedence")


class Backwards(AbstractSampler):
    """All samples from the last to the first, with indices that count from the end; shuffled by permutation."""

    def __init__(self, length: int) -> None:
        self.length = length

    def num_indices_generated(self) -> int:
        return self.length

    def in_order_indices_batch_iterator(self, batch_size: int) -> Iterator[Any]:
        for start in range(0, self.length, batch_size):
            yield [-1 - i for i in range(start, min(start + batch_size, self.length))]

    def shuffled_indices_batch_iterator(self, batch_size: int, shuffle_rng: Any) -> Iterator[Any]:
        order = shuffle_rng.permutation(self.length)
        for start in range(0, self.length, batch_size):
            yield order[start : start + batch_size].astype(np.int32)


class Squares(RandomAccessDataSource):
    """Samples that are computed: i -> (i, i * i)."""

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        return indices.copy(), indices**2


class Countdown(AbstractDataSource):
    """Batches that cannot be read by index: `start - 1` down to 0; takes `shuffle`, to reverse them."""

    def __init__(self, start: int, known: bool = True) -> None:
        self.start = start
        self.known = known

    def num_samples(self, **kwargs: Any) -> int | None:
        return self.start if self.known else None

    def batch_iterator(self, batch_size: int, shuffle: Any = None, **kwargs: Any) -> Iterator[Any]:
        numbers = np.arange(self.start)[::-1]
        if shuffle is not None:
            numbers = shuffle.permutation(numbers)
        for begin in range(0, self.start, batch_size):
            yield (numbers[begin : begin + batch_size].copy(),)


def batches_of_nine(batch_size: int, shuffle: Any = None, **kwargs: Any) -> Iterator[Any]:
    """Yield the batches of 0 .. 8; for a `CallableDataSource`."""
    numbers = np.arange(9) if shuffle is None else shuffle.permutation(9)
    for begin in range(0, 9, batch_size):
        yield (numbers[begin : begin + batch_size].copy(),)


def nine(**kwargs: Any) -> int:
    """Return 9; the `num_samples_fn` that goes with `batches_of_nine`."""
    return 9


def halves(*columns: Any) -> Any:
    """Return every column divided by 2; for a map."""
    return tuple(column / 2 for column in columns)


def add_ten(a: Any, b: Any) -> Any:
    """Write into the batch that it is given, as the augmentation of the README does."""
    a += 10
    return {"a": a, "b": b}


def opened(path: str) -> Any:
    """Return the columns of a file of numbers; for a `ShardDataSource`."""
    numbers = np.load(path)
    return {"a": numbers, "b": numbers % 7}

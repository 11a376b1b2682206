"""Batches of inputs and outputs in an order that can be shuffled, divided, and cut into batches of another size."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import checked_indices
from batchup._numbers import whole_number
from batchup.data_source import ArrayDataSource
from batchup.errors import IndexRangeError, InvalidTypeError, InvalidValueError
from batchup.sampling import BlockShuffleSampler

TOLD = 8  # batches that are told at once, as many ahead of those that are read


class HyperSequence(ABC):
    """Batches by number: `len`, square brackets and loops give ``(inputs, outputs)``.

    Each of the two is one array, or a tuple of arrays if there are several (or none).
    """

    def __init__(self, numbers: NDArray[np.intp]) -> None:
        self._numbers = numbers  # of the batches of this sequence, in its order

    def __len__(self) -> int:
        return len(self._numbers)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        numbers = self._numbers
        if not isinstance(index, (int, np.integer)):
            raise InvalidTypeError(f"batches are read by one int, got {type(index).__name__}")
        try:
            number = numbers.item(index)
        except (IndexError, OverflowError):
            raise IndexRangeError(f"batch {index} is out of range for {len(numbers)} batches") from None
        arrays = self._arrays(number)
        split = self.no_inputs()
        if split == 1 and len(arrays) == 2:
            return arrays[0], arrays[1]
        inputs, outputs = tuple(arrays[:split]), tuple(arrays[split:])
        return inputs[0] if len(inputs) == 1 else inputs, outputs[0] if len(outputs) == 1 else outputs

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        for index in range(len(self)):
            if index % TOLD == 0:
                ahead = self._numbers[index + TOLD if index else 0 : index + 2 * TOLD]
                self._tell(ahead)
            yield self[index]

    @abstractmethod
    def no_inputs(self) -> int:
        """Return how many inputs there are."""

    @abstractmethod
    def no_outputs(self) -> int:
        """Return how many outputs there are."""

    @abstractmethod
    def batch_size(self) -> int:
        """Return the number of rows in a batch; the last rows may make a shorter one."""

    @abstractmethod
    def dtypes(self) -> tuple[tuple[np.dtype[Any], ...], tuple[np.dtype[Any], ...]]:
        """Return the dtypes of the inputs, and those of the outputs.

        Returns
        -------
        tuple of two tuples of dtype
            Each with the `shape` of a row, and the `base` dtype of its elements.
        """

    @abstractmethod
    def user_meta(self) -> dict[str, Any]:
        """Return what whoever wrote the file stored with the data."""

    def data_source(self, by: str = "sample", *, as_dict: bool = False, **kwargs: Any) -> ArrayDataSource:
        """Return a data source over the rows, as they are ordered now.

        Parameters
        ----------
        by : {'sample', 'batch'}, default 'sample'
            What a shuffled order shuffles: all rows; or the native batches, whose rows stay together, which is far
            faster for small rows, and on slow storage.
        as_dict : bool, default False
            Whether batches are dicts, by the `names` of the file.
        **kwargs
            As for `ArrayDataSource`. With ``by='batch'``, and for a part of a file, `indices` and `sampler` are given.

        Returns
        -------
        ArrayDataSource
        """
        if by not in ("sample", "batch"):
            raise InvalidValueError(f"by must be 'sample' or 'batch', got {by!r}")
        rows, total = self._chosen_rows(keep_batches=by == "batch"), self._total_rows
        if rows is not None or by == "batch":
            for name in ("indices", "sampler"):
                if name in kwargs:
                    raise InvalidTypeError(f"{name}= is given by the part of the file, or by='batch': leave it out")
        if by == "batch":
            size, repeats = self._native_batch_size, kwargs.pop("repeats", 1)
            kwargs["sampler"] = BlockShuffleSampler(total, size, window=0, repeats=repeats, indices=rows)
        elif rows is not None:
            kwargs["indices"] = rows
        columns = self._columns
        return ArrayDataSource(columns if as_dict else list(columns.values()), **kwargs)

    def shuffle(self, rng: Any = None) -> None:
        """Put the batches into a random order.

        Parameters
        ----------
        rng : int, Generator or RandomState, optional
            Where chance comes from; fresh entropy by default.
        """
        if not hasattr(rng, "shuffle"):
            if rng is not None:
                whole_number(rng, "rng")
            rng = np.random.default_rng(rng)
        numbers = self._numbers.copy()
        rng.shuffle(numbers)
        self._numbers = numbers

    def split(self, *shares: float) -> tuple[HyperSequenceView, ...]:
        """Divide the batches, as they are ordered now, into one part for each share, and one for the rest.

        The batches of a part are evenly spaced through those that the parts before have left.

        Parameters
        ----------
        *shares : float
            Which share of the batches each part gets; together less than 1.

        Returns
        -------
        tuple of HyperSequenceView
            One more than there are shares.

        Raises
        ------
        ValueError
            If a part would be empty.

        Examples
        --------
        >>> import numpy as np
        >>> from batchup import hypersequence as hs
        >>> with hs.HyperSequenceWriter("hundred.hsq", batch_size=10) as writer:
        ...     writer.extend(inputs=np.arange(100))
        >>> train, validation = hs.HyperSequenceFile("hundred.hsq").split(0.8)
        >>> len(train), len(validation), validation[0][0]
        (8, 2, array([20, 21, 22, 23, 24, 25, 26, 27, 28, 29]))
        """
        count = len(self)
        if not all(isinstance(share, (int, float, np.number)) and math.isfinite(share) for share in shares):
            raise InvalidTypeError(f"shares must be numbers, got {shares}")
        sizes = [round(count * float(share)) for share in shares]
        if not shares or min(sizes) < 1 or sum(sizes) >= count:
            raise InvalidValueError(
                f"shares must leave no part empty, and something for the rest: {shares} of {count} batches are {sizes}"
            )
        parts, left = [], np.arange(count)
        for size in sizes:
            chosen = np.zeros(len(left), bool)
            chosen[np.round(np.linspace(0, len(left) - 1, size)).astype(np.intp)] = True
            parts.append(left[chosen])
            left = left[~chosen]
        return tuple(HyperSequenceView(self, part) for part in (*parts, left))

    def rebatch(self, new_batch_size: int) -> HyperSequence:
        """Return the same rows, as they are ordered now, in batches of another size; the last one may be short.

        Parameters
        ----------
        new_batch_size : int
            Rows in a batch. A divisor of the batch size is fastest: nothing is copied then.
        """
        return _Rebatched(self, whole_number(new_batch_size, "new_batch_size", 1))

    def as_keras(self, *args: Any, **kwargs: Any) -> Any:
        """Return a `KerasSequence` over these batches, for `model.fit`; takes what that takes."""
        from batchup.hypersequence.keras_sequence import KerasSequence

        return KerasSequence(self, *args, **kwargs)

    @property
    @abstractmethod
    def _columns(self) -> dict[str, Any]:
        """The columns of the file that the batches come from, by name."""

    @property
    @abstractmethod
    def _native_batch_size(self) -> int:
        """Number of rows that lie together in that file."""

    @property
    @abstractmethod
    def _total_rows(self) -> int:
        """Number of rows in that file."""

    def _chosen_rows(self, keep_batches: bool) -> NDArray[np.intp] | None:
        """Return the rows of these batches, the short one at the end if they are to stay together; None if all."""
        numbers = np.sort(self._numbers) if keep_batches else self._numbers
        return self._row_numbers(numbers)

    @abstractmethod
    def _arrays(self, number: int, rows: slice | None = None) -> list[NDArray[Any]]:
        """Return the inputs and outputs of the batch with this number, or some of its rows."""

    @abstractmethod
    def _tell(self, numbers: NDArray[np.intp]) -> None:
        """Take note that the batches with these numbers will be read soon."""

    @abstractmethod
    def _row_numbers(self, numbers: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return which rows of the file are in the batches with these numbers."""

    @abstractmethod
    def _row_counts(self, numbers: NDArray[np.intp]) -> NDArray[np.intp]:
        """Return how many rows the batches with these numbers have."""


class _Child(HyperSequence):
    """A sequence of what is in another one."""

    def __init__(self, parent: HyperSequence, numbers: NDArray[np.intp]) -> None:
        super().__init__(numbers)
        self._parent = parent

    def no_inputs(self) -> int:
        return self._parent.no_inputs()

    def no_outputs(self) -> int:
        return self._parent.no_outputs()

    def batch_size(self) -> int:
        return self._parent.batch_size()

    def dtypes(self) -> tuple[tuple[np.dtype[Any], ...], tuple[np.dtype[Any], ...]]:
        return self._parent.dtypes()

    def user_meta(self) -> dict[str, Any]:
        return self._parent.user_meta()

    @property
    def _columns(self) -> dict[str, Any]:
        return self._parent._columns

    @property
    def _native_batch_size(self) -> int:
        return self._parent._native_batch_size

    @property
    def _total_rows(self) -> int:
        return self._parent._total_rows


class HyperSequenceView(_Child):
    """Some of the batches of another sequence, in an order of its own.

    Parameters
    ----------
    hyperseq : HyperSequence
        The other one.
    indices : array-like of int, optional
        Which of its batches, as they are ordered now; all by default.
    """

    def __init__(self, hyperseq: HyperSequence, indices: Any = None) -> None:
        numbers = hyperseq._numbers
        super().__init__(
            hyperseq, numbers.copy() if indices is None else numbers[checked_indices(indices, len(numbers))]
        )

    def _arrays(self, number: int, rows: slice | None = None) -> list[NDArray[Any]]:
        return self._parent._arrays(number, rows)

    def _tell(self, numbers: NDArray[np.intp]) -> None:
        self._parent._tell(numbers)

    def _row_numbers(self, numbers: NDArray[np.intp]) -> NDArray[np.intp]:
        return self._parent._row_numbers(numbers)

    def _row_counts(self, numbers: NDArray[np.intp]) -> NDArray[np.intp]:
        return self._parent._row_counts(numbers)


class _Rebatched(_Child):
    """The rows of another sequence, as it is ordered now, in batches of another size."""

    def __init__(self, parent: HyperSequence, size: int) -> None:
        self._size = size
        self._source = parent._numbers
        self._ends = np.cumsum(parent._row_counts(self._source))
        self._all = int(self._ends[-1]) if len(self._ends) else 0
        super().__init__(parent, np.arange(-(-self._all // size)))

    def batch_size(self) -> int:
        return self._size

    def _arrays(self, number: int, rows: slice | None = None) -> list[NDArray[Any]]:
        start, stop = number * self._size, min(self._all, (number + 1) * self._size)
        if rows is not None:
            start, stop = start + rows.start, min(stop, start + rows.stop)
        place = int(np.searchsorted(self._ends, start, "right"))
        pieces = []
        while start < stop:
            begin, end = int(self._ends[place - 1]) if place else 0, int(self._ends[place])
            part = None if start == begin and stop >= end else slice(start - begin, min(stop, end) - begin)
            pieces.append(self._parent._arrays(int(self._source[place]), part))
            start, place = end, place + 1
        return pieces[0] if len(pieces) == 1 else [_joined(parts) for parts in zip(*pieces, strict=True)]

    def _tell(self, numbers: NDArray[np.intp]) -> None:
        firsts = np.searchsorted(self._ends, numbers * self._size, "right")
        lasts = np.searchsorted(self._ends, (numbers + 1) * self._size, "left")
        places = [np.arange(first, last + 1) for first, last in zip(firsts, lasts, strict=True)]
        if places:
            wanted = np.unique(np.concatenate(places))
            self._parent._tell(self._source[wanted[wanted < len(self._source)]])

    def _row_numbers(self, numbers: NDArray[np.intp]) -> NDArray[np.intp]:
        rows = self._parent._row_numbers(self._source)
        return np.concatenate([rows[:0], *(rows[n * self._size : (n + 1) * self._size] for n in numbers.tolist())])

    def _row_counts(self, numbers: NDArray[np.intp]) -> NDArray[np.intp]:
        return np.minimum(self._all, (numbers + 1) * self._size) - numbers * self._size


def _joined(parts: tuple[NDArray[Any], ...]) -> NDArray[Any]:
    """Join arrays, in the byte order that they have."""
    return np.concatenate(parts, dtype=parts[0].dtype)

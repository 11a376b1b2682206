"""Batches of inputs and outputs in an order that can be shuffled, divided, and cut into batches of another size."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import check_range, checked_indices
from batchup.data_source import ArrayDataSource
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.sampling.order import whole_number


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
        try:
            arrays = self._arrays(numbers.item(index))
        except (IndexError, TypeError):
            if not isinstance(index, (int, np.integer)):
                raise InvalidTypeError(f"batches are read by one int, got {type(index).__name__}") from None
            check_range(int(index), int(index), len(numbers), "batch")
            raise
        split = self.no_inputs()
        if split == 1 and len(arrays) == 2:
            return arrays[0], arrays[1]
        inputs, outputs = tuple(arrays[:split]), tuple(arrays[split:])
        return inputs[0] if len(inputs) == 1 else inputs, outputs[0] if len(outputs) == 1 else outputs

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        return map(self.__getitem__, range(len(self)))

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
    def _columns(self) -> Mapping[str, Any]:
        """The rows of the file that the batches come from."""

    @abstractmethod
    def _arrays(self, number: int) -> list[NDArray[Any]]:
        """Return the inputs and outputs of the batch with this number."""

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

    def data_source(self, **kwargs: Any) -> ArrayDataSource:
        """Return a data source over the rows of these batches.

        Parameters
        ----------
        **kwargs
            As for `ArrayDataSource`, but for `indices` and `sampler`.
        """
        for name in ("indices", "sampler"):
            if name in kwargs:
                raise InvalidTypeError(f"a part of a file has indices of its own: leave out {name}=")
        return ArrayDataSource(list(self._columns.values()), indices=self._row_numbers(self._numbers), **kwargs)

    @property
    def _columns(self) -> Mapping[str, Any]:
        return self._parent._columns


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

    def _arrays(self, number: int) -> list[NDArray[Any]]:
        return self._parent._arrays(number)

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

    def _arrays(self, number: int) -> list[NDArray[Any]]:
        start, stop = number * self._size, min(self._all, (number + 1) * self._size)
        place = int(np.searchsorted(self._ends, start, "right"))
        pieces = []
        while start < stop:
            end = int(self._ends[place])
            arrays = self._parent._arrays(int(self._source[place]))
            first = start - end + len(arrays[0])
            pieces.append([array[first : first + min(stop, end) - start] for array in arrays])
            start, place = end, place + 1
        return pieces[0] if len(pieces) == 1 else [np.concatenate(parts) for parts in zip(*pieces, strict=True)]

    def _row_numbers(self, numbers: NDArray[np.intp]) -> NDArray[np.intp]:
        rows = self._parent._row_numbers(self._source)
        return np.concatenate([rows[:0], *(rows[n * self._size : (n + 1) * self._size] for n in numbers.tolist())])

    def _row_counts(self, numbers: NDArray[np.intp]) -> NDArray[np.intp]:
        return np.minimum(self._all, (numbers + 1) * self._size) - numbers * self._size

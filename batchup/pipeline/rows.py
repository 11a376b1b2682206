"""Verbs of a Dataset that choose, order, keep and join items."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from batchup._numbers import whole_number
from batchup.errors import IndexRangeError, InvalidTypeError, InvalidValueError
from batchup.pipeline import cutting, joining, keeping, order
from batchup.pipeline.base import Base, checked_dtype
from batchup.pipeline.iterator import DatasetIterator, new_run
from batchup.pipeline.stage import checked_seed, known

if TYPE_CHECKING:
    from batchup.pipeline.dataset import Dataset


class Rows(Base):
    """Verbs that do something with the row of items."""

    def take(self, count: int) -> Dataset:
        """Return a dataset of the first `count` items, or of all, if there are fewer."""
        count = whole_number(count, "the count of take()")
        return self._then(cutting.Sliced(self._stage, 0, count, 1, f"take({count})"))

    def skip(self, count: int) -> Dataset:
        """Return a dataset without the first `count` items."""
        count = whole_number(count, "the count of skip()")
        return self._then(cutting.Sliced(self._stage, count, None, 1, f"skip({count})"))

    def __getitem__(self, index: Any) -> Any:
        """Return an item by its number, or a dataset for a slice.

        Of a stream, all items before it are made. Negative ones count from the end, where that is known.

        Raises
        ------
        IndexError
            If there is no such item.
        """
        if isinstance(index, slice):
            return self._then(cutting.sliced(self._stage, index))
        try:
            number = operator.index(index)
        except TypeError:
            raise InvalidTypeError(f"a dataset takes an integer or a slice, got {index!r:.80}") from None
        length = self._stage.length()
        if number < 0:
            if not known(length):
                raise IndexRangeError(f"item {number} counts from the end, and the length of the dataset is not known")
            number += int(length)  # type: ignore[arg-type]
        if number < 0 or (known(length) and number >= int(length)):  # type: ignore[arg-type]
            raise IndexRangeError(f"item {index} is not among the {length} items of the dataset")
        if self._stage.random_access:
            return self._item(number)
        with DatasetIterator(cutting.sliced(self._stage, slice(number, number + 1)), self._epoch) as items:
            for item in items:
                return item
        raise IndexRangeError(f"the dataset ends before item {index}")

    def _item(self, number: int) -> Any:
        if self._run is None:
            self._run = new_run(self._stage, self._epoch)
        return self._stage.item(number, self._run)

    def shuffle(self, buffer_size: int | None = None, seed: int | None = None) -> Dataset:
        """Return a dataset with the items in an order that is drawn.

        Parameters
        ----------
        buffer_size : int, optional
            Each item is drawn from so many that come next. Without it, the order is that of a permutation where there
            is random access, and drawn from 10,000 items elsewhere.
        seed : int, optional
            What the order depends on, together with the epoch and the repetition; without it, another one is drawn
            for each pass.

        Examples
        --------
        >>> from batchup import Dataset
        >>> Dataset(range(6)).shuffle(seed=1).list()
        [2, 0, 3, 1, 4, 5]
        >>> Dataset(range(6)).shuffle(seed=1).epoch(1).list()
        [2, 3, 4, 1, 5, 0]
        """
        seed = checked_seed(seed, "shuffle")
        if buffer_size is None and self._stage.random_access:
            return self._then(order.Shuffled(self._stage, seed))
        size = order.BUFFER if buffer_size is None else whole_number(buffer_size, "buffer_size", 1)
        return self._then(order.Reservoir(self._stage, size, seed))

    def sample(self, count: int, seed: int | None = None) -> Dataset:
        """Return a dataset of `count` items that are drawn, each once, in their order; of all, if there are fewer.

        A stream is read to its end for that, and `count` items are kept meanwhile.

        Examples
        --------
        >>> from batchup import Dataset
        >>> Dataset(range(100)).sample(5, seed=1).list()
        [26, 27, 58, 65, 75]
        """
        return self._then(
            order.Sampled(self._stage, whole_number(count, "the count of sample()"), checked_seed(seed, "sample"))
        )

    def repeat(self, times: int = -1) -> Dataset:
        """Return a dataset that goes through the items `times` times, or without end; each time in another order."""
        if times != -1:
            times = whole_number(times, "times")
        return self._then(keeping.Repeated(self._stage, times))

    def epoch(self, number: int) -> Dataset:
        """Return the same dataset as it is in an epoch: whatever is drawn from a seed is drawn anew.

        Examples
        --------
        >>> from batchup import Dataset
        >>> dataset = Dataset(range(5)).shuffle(seed=3)
        >>> [dataset.epoch(number).list() for number in range(2)]
        [[2, 3, 0, 1, 4], [2, 4, 1, 0, 3]]
        """
        dataset = self._then(self._stage)
        dataset._epoch = whole_number(number, "the number of an epoch")
        return dataset

    def cache(self) -> Dataset:
        """Return a dataset that keeps in memory the items that have been made; they are made once, as in epoch 0."""
        return self._then(keeping.cached(self._stage))

    def prefetch(self, count: int = 1) -> Dataset:
        """Return a dataset whose items are made by a thread, at most `count` ahead of need."""
        return self._then(keeping.Prefetched(self._stage, whole_number(count, "the count of prefetch()", 1)))

    def batch(self, size: int, default_dtype: DTypeLike | None = np.float32, drop_last: bool = False) -> Dataset:
        """Return a dataset of batches: so many items stacked along a new first axis.

        Items that are tuples or dicts become tuples or dicts of arrays.

        Parameters
        ----------
        size : int
            Items in a batch; there may be fewer in the last one.
        default_dtype : dtype-like, default numpy.float32
            Of Python's numbers; arrays, and numbers of NumPy, keep theirs. None: what NumPy makes of them.
        drop_last : bool, default False
            Whether a last batch with fewer items is left out.

        Raises
        ------
        TypeError, ValueError
            When batches are asked for, if items are of different kinds, or arrays of different shapes (`LengthError`;
            see `padded_batch`).

        Examples
        --------
        >>> from batchup import Dataset
        >>> Dataset(a=range(5), b=range(10, 15)).batch(4).foreach(print)
        {'a': array([0., 1., 2., 3.], dtype=float32), 'b': array([10., 11., 12., 13.], dtype=float32)}
        {'a': array([4.], dtype=float32), 'b': array([14.], dtype=float32)}
        """
        return self._batched(size, drop_last, cutting.Stacking(checked_dtype(default_dtype)), "batch")

    def padded_batch(
        self, size: int, value: Any = 0, default_dtype: DTypeLike | None = np.float32, drop_last: bool = False
    ) -> Dataset:
        """Return a dataset of batches of arrays that have any lengths, padded at their ends to the longest.

        Parameters
        ----------
        size, default_dtype, drop_last
            As for `batch`.
        value : scalar, default 0
            What fills the places without an element.

        Examples
        --------
        >>> from batchup import Dataset
        >>> Dataset([[1, 2, 3], [4]]).padded_batch(2, value=-1).first()
        array([[ 1,  2,  3],
               [ 4, -1, -1]])
        """
        return self._batched(size, drop_last, cutting.Padding(checked_dtype(default_dtype), value), "padded_batch")

    def _batched(self, size: int, drop_last: bool, join: cutting.Stacking, verb: str) -> Dataset:
        size = whole_number(size, f"the size of {verb}()", 1)
        stage = cutting.Batched(self._stage, size, bool(drop_last), join, verb, type(join) is cutting.Stacking)
        return self._then(stage)

    def unbatch(self) -> Dataset:
        """Return a dataset of the items of batches: arrays, or tuples and dicts of them, along their first axis."""
        return self._then(cutting.Unbatched(self._stage))

    def window(self, size: int, step: int = 1) -> Dataset:
        """Return a dataset of tuples of `size` items that follow one another, each `step` items after the last.

        Examples
        --------
        >>> from batchup import Dataset
        >>> Dataset(range(5)).window(3).list()
        [(0, 1, 2), (1, 2, 3), (2, 3, 4)]
        """
        size, step = whole_number(size, "the size of window()", 1), whole_number(step, "the step of window()", 1)
        return self._then(cutting.Windows(self._stage, size, step))

    def enumerate(self, start: int = 0) -> Dataset:
        """Return a dataset of tuples of a number, which counts from `start`, and an item."""
        if isinstance(start, bool) or not hasattr(start, "__index__"):
            raise InvalidTypeError(f"start must be an integer, got {start!r}")
        return self._then(cutting.Enumerated(self._stage, operator.index(start)))

    def zip(self, *others: Any) -> Dataset:
        """Return a dataset of tuples of an item of this one and one of each other; it ends with the shortest.

        Examples
        --------
        >>> from batchup import Dataset
        >>> Dataset("ab").zip(Dataset([1, 2, 3])).list()
        [('a', 1), ('b', 2)]
        """
        if not others:
            raise InvalidValueError("zip() takes other datasets, got none")
        return self._over(joining.Zipped(joining.checked_datasets([self, *others], "zip")))

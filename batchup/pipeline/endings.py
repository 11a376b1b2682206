"""What a Dataset is asked for at the end: lists, arrays, files, the datasets of frameworks."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import DTypeLike

from batchup.errors import IndexRangeError, InvalidValueError
from batchup.formats import Writers
from batchup.pipeline.base import Base, checked_dtype
from batchup.pipeline.functions import applied
from batchup.pipeline.nested import described, each_leaf, stacked
from batchup.pipeline.stage import checked_function, known
from batchup.pipeline.steps import Step, mapped
from batchup.pipeline.workers import Where

if TYPE_CHECKING:
    from batchup.pipeline.dataset import Dataset


class Endings(Base):
    """What ends a pipeline."""

    def foreach(self, fn: Callable[[Any], Any], verbose: bool = False) -> None:
        """Call a function with each item; `verbose` shows a bar."""
        checked_function(fn, "foreach")
        for item in self._shown(verbose):
            fn(item)

    def list(self, verbose: bool = False) -> list[Any]:
        """Return the items as a list; `verbose` shows a bar."""
        self._check_finite("list")
        return [item for item in self._shown(verbose)]  # noqa: C416  a list() would ask for the length

    def collect(self, default_dtype: DTypeLike | None = None, verbose: bool = False) -> Any:
        """Return all items stacked into one batch: an array, or a tuple or dict of arrays.

        Parameters
        ----------
        default_dtype : dtype-like, optional
            Of Python's numbers; by default what NumPy makes of them.
        verbose : bool, default False
            Whether to show a bar.

        Raises
        ------
        ValueError
            If there are no items.

        Examples
        --------
        >>> from batchup import Dataset
        >>> Dataset(a=range(3), b=range(10, 13)).collect()
        {'a': array([0, 1, 2]), 'b': array([10, 11, 12])}
        """
        self._check_finite("collect")
        items = self.list(verbose)
        if not items:
            raise InvalidValueError("collect() got a dataset without items: of them, neither shape nor dtype is known")
        return stacked(items, checked_dtype(default_dtype))

    def first(self) -> Any:
        """Return the first item. Of an iterator, which can be gone through once, it is used up.

        Raises
        ------
        IndexError
            If there is none.
        """
        with iter(self) as items:
            for item in items:
                return item
        raise IndexRangeError("first(): the dataset has no items")

    def shape(self) -> Any:
        """Return the shape of the first item: a tuple of int, or tuples and dicts of them."""
        return each_leaf(lambda leaf: leaf.shape, described(self.first()))

    def types(self) -> Any:
        """Return the types of the parts of the first item: dtypes of arrays, classes of what else there is."""
        return each_leaf(lambda leaf: leaf.dtype if hasattr(leaf, "dtype") else type(leaf), self.first())

    def data_source(self, default_dtype: DTypeLike | None = np.float32) -> Any:
        """Return a data source over the items, for batches in any order, on worker pools, with samplers.

        Over arrays that nothing was done to, it is an `ArrayDataSource` of them. Functions are called where the source
        is read, whatever workers they were given here. What functions with an `rng` draw belongs to the epoch that the
        dataset is seen in, not to that of the source: take ``dataset.epoch(number).data_source()`` for another one.

        Parameters
        ----------
        default_dtype : dtype-like, default numpy.float32
            Of Python's numbers.

        Returns
        -------
        RandomAccessDataSource

        Raises
        ------
        TypeError
            If there is no random access.

        Examples
        --------
        >>> from batchup import Dataset
        >>> source = Dataset(range(6)).map(lambda x: (x, x * x)).data_source(int)
        >>> next(source.batch_iterator(3, shuffle=1))
        (array([2, 1, 3]), array([4, 1, 9]))
        """
        from batchup.pipeline.source import data_source_of

        return data_source_of(self, self._stage, checked_dtype(default_dtype))

    def tensorflow(self, output_signature: Any = None) -> Any:
        """Return a `tf.data.Dataset` of the items.

        Parameters
        ----------
        output_signature : nested tf.TypeSpec, optional
            What items look like. By default it is taken from the first one; axes that may differ (those of batches,
            and of items that are padded) have no length in it.
        """
        from batchup.pipeline.exports import to_tensorflow

        return to_tensorflow(self, output_signature)

    def torch(self) -> Any:
        """Return a dataset for PyTorch's `DataLoader`: a map-style one over random access, else an iterable one.

        With several workers, each worker of an iterable one makes the items that it hands out, and passes over the
        others, so that each comes once.
        """
        from batchup.pipeline.exports import to_torch

        return to_torch(self)

    def jax(self, device: Any = None) -> Dataset:
        """Return a dataset whose arrays are JAX arrays, on a device, or where JAX puts them."""
        from batchup.pipeline.exports import to_jax

        return self._then(applied(self._stage, Step(mapped, to_jax(device), "jax"), Where()))

    def pandas(self) -> Any:
        """Return all items as a pandas DataFrame: dicts by key, tuples by place."""
        from batchup.pipeline.exports import to_pandas

        self._check_finite("pandas")
        return to_pandas(self)

    def arrow(self) -> Any:
        """Return all items as a pyarrow Table: dicts by key, tuples by place."""
        from batchup.pipeline.exports import to_arrow

        self._check_finite("arrow")
        return to_arrow(self)

    @property
    def write(self) -> Writers:
        """Writers of files, by format: ``dataset.write.tfrecord(path)``; printing it lists them."""
        self._check_finite("write")
        return Writers(self)

    def explain(self) -> None:
        """Print the stages: what each does, where, and how many items come out."""
        from batchup.pipeline.picture import picture

        sys.stdout.write(picture(self._stage, self._epoch) + "\n")

    def _check_finite(self, verb: str) -> None:
        if self._stage.endless:
            raise InvalidValueError(f"{verb}() of a dataset that never ends: take(...) from it before")

    def _shown(self, verbose: bool) -> Iterable[Any]:
        if not verbose:
            return self
        from tqdm.auto import tqdm

        length = self._stage.length()
        bar: Iterable[Any] = tqdm(self, total=int(length) if known(length) else None)  # type: ignore[arg-type]
        return bar

"""Lazy datasets as what frameworks and tables take: TensorFlow, PyTorch, JAX, pandas, Arrow."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from itertools import chain, islice
from typing import Any

import numpy as np

from batchup._extras import required
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.pipeline.cutting import Batched, Unbatched
from batchup.pipeline.nested import each_leaf
from batchup.pipeline.sources import Iterated
from batchup.pipeline.stage import Stage, numbered


def to_tensorflow(dataset: Any, signature: Any) -> Any:
    """Return a `tf.data.Dataset` of the items of a dataset, whose signature is that of the first one."""
    tf = required("tensorflow", "tensorflow", "Dataset.tensorflow()")
    passes: list[Iterator[Any]] = []
    if signature is None:
        free = _free_axes(dataset._stage)
        begun = iter(dataset)
        try:
            first = next(begun)
        except StopIteration:
            raise InvalidValueError(
                "tensorflow() takes what items look like from the first one, and there is none: give output_signature"
            ) from None

        def spec(leaf: Any) -> Any:
            array = np.asarray(leaf)
            dtype = tf.string if array.dtype.kind in "OSU" else tf.as_dtype(array.dtype)
            return tf.TensorSpec([None if axis < free else n for axis, n in enumerate(array.shape)], dtype)

        signature = each_leaf(spec, first)
        if any(isinstance(stage, Iterated) for stage in numbered(dataset._stage)):
            passes = [chain((first,), begun)]  # there is no other one
        else:
            begun.close()
    made = tf.data.Dataset.from_generator(lambda: passes.pop() if passes else iter(dataset), output_signature=signature)
    length = dataset._stage.length()
    if length is None:
        return made
    return made.apply(
        tf.data.experimental.assert_cardinality(tf.data.INFINITE_CARDINALITY if length == float("inf") else int(length))
    )


def _free_axes(stage: Stage) -> float:
    """Return how many axes of items, the first ones, may differ in length."""
    free = max(map(_free_axes, stage.parents), default=0)
    if isinstance(stage, Unbatched):
        return max(free - 1, 0)
    if isinstance(stage, Batched):
        return math.inf if stage.verb == "padded_batch" else free + 1 if free or not stage.drop_last else 0
    return free


def to_torch(dataset: Any) -> Any:
    """Return a dataset of PyTorch."""
    data = required("torch.utils.data", "torch", "Dataset.torch()")
    if dataset._stage.random_access:
        return _class_on(data.Dataset, _ByNumber)(dataset)
    return _class_on(data.IterableDataset, _InTurn)(dataset)


class _ByNumber:
    """Items by number, for a map-style dataset of PyTorch."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> Any:
        return each_leaf(_writable, self.dataset[index])

    def __reduce__(self) -> Any:
        return to_torch, (self.dataset,)


class _InTurn:
    """Items one after the other, for an iterable dataset of PyTorch, of which each worker hands out its share."""

    def __init__(self, dataset: Any) -> None:
        self.dataset = dataset
        self._passes = 0

    def __iter__(self) -> Iterator[Any]:
        worker = required("torch.utils.data", "torch", "Dataset.torch()").get_worker_info()
        items = iter(self.dataset)
        if worker is not None:
            items.draw_from([worker.seed - worker.id, self._passes])  # the same in all workers
            items = islice(items, worker.id, None, worker.num_workers)
        self._passes += 1
        return (each_leaf(_writable, item) for item in items)

    def __reduce__(self) -> Any:
        return to_torch, (self.dataset,)


def _writable(leaf: Any) -> Any:
    """Return what can be a tensor: PyTorch takes no arrays that are read-only."""
    return leaf.copy() if isinstance(leaf, np.ndarray) and not leaf.flags.writeable else leaf


@cache
def _class_on(base: type, kind: type) -> Any:
    """Return a class that PyTorch knows as one of its own."""
    return type(kind.__name__.removeprefix("_"), (kind, base), {"__doc__": kind.__doc__})


def to_jax(device: Any) -> Callable[[Any], Any]:
    """Return a function that puts the arrays of an item on a device."""
    jax = required("jax", "jax", "Dataset.jax()")

    def put(leaf: Any) -> Any:
        if isinstance(leaf, (str, bytes)) or getattr(leaf, "dtype", np.dtype(int)).kind in "OSU":
            return leaf  # JAX has numbers only
        return jax.device_put(np.asarray(leaf), device)

    def on_device(item: Any) -> Any:
        return each_leaf(put, item)

    on_device.__qualname__ = "" if device is None else str(device)
    return on_device


def to_pandas(dataset: Any) -> Any:
    """Return a DataFrame of the items of a dataset."""
    pandas = required("pandas", "pandas", "Dataset.pandas()")
    columns = _columns(dataset)
    return pandas.DataFrame({name: pandas.Series(_cells(column)) for name, column in columns.items()})


def to_arrow(dataset: Any) -> Any:
    """Return a Table of the items of a dataset."""
    arrow = required("pyarrow", "parquet", "Dataset.arrow()")
    columns = _columns(dataset)
    return arrow.table(
        {str(name): arrow.array([_plain(value) for value in column]) for name, column in columns.items()}
    )


def _columns(dataset: Any) -> dict[Any, list[Any]]:
    """Return the items by column."""
    columns: dict[Any, list[Any]] = {}
    for number, item in enumerate(dataset):
        row = item if isinstance(item, Mapping) else dict(enumerate(item if isinstance(item, tuple) else (item,)))
        if number and row.keys() != columns.keys():
            raise InvalidTypeError(f"item {number} has the columns {list(row)}, those before it have {list(columns)}")
        for name, value in row.items():
            columns.setdefault(name, []).append(value)
    return columns


def _cells(column: list[Any]) -> Any:
    """Return a column of a DataFrame: numbers as an array, arrays each as an object."""
    if all(np.ndim(value) == 0 for value in column):
        return column
    cells = np.empty(len(column), object)
    cells[:] = column
    return cells


def _plain(value: Any) -> Any:
    """Return a value as pyarrow takes it: it knows arrays of one axis, and lists of them."""
    if isinstance(value, np.ndarray) and value.ndim != 1:
        return [_plain(part) for part in value] if value.ndim else value[()]
    return value

"""The tables that the batteries run over: one line adds a sampler, a column or a data source to all its checks."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np

from batchup import data_source, sampling
from batchup.columns import ChosenRows, ScaledArray
from batchup.data_source import (
    AbstractDataSource,
    ArrayDataSource,
    CallableDataSource,
    ChoiceDataSource,
    CompositeDataSource,
    IteratorDataSource,
    RandomAccessDataSource,
    ShardDataSource,
)
from batchup.sampling import (
    AbstractSampler,
    StandardSampler,
    SubsetSampler,
    WeightedSampler,
    WeightedSubsetSampler,
)

from . import hsq, users


@dataclass(frozen=True)
class SamplerCase:
    """A sampler, and the sorted indices of an epoch; None if it never ends and has no order but a shuffled one."""

    make: Callable[[], AbstractSampler]
    epoch: list[int] | None


SAMPLERS = {
    "standard": SamplerCase(lambda: StandardSampler(11), [*range(11)]),
    "standard, one": SamplerCase(lambda: StandardSampler(1), [0]),
    "standard, none": SamplerCase(lambda: StandardSampler(0), []),
    "standard, 3 times": SamplerCase(lambda: StandardSampler(5, repeats=3), sorted([*range(5)] * 3)),
    "subset": SamplerCase(lambda: SubsetSampler([7, 2, 9, 4]), [2, 4, 7, 9]),
    "subset, twice": SamplerCase(lambda: SubsetSampler(np.array([3, 1], np.uint8), 2), [1, 1, 3, 3]),
    "subset, repeating itself": SamplerCase(lambda: SubsetSampler([5, 5, 5]), [5, 5, 5]),
    "weighted": SamplerCase(lambda: WeightedSampler([0.5, 0.0, 2.0, 1.0]), None),
    "weighted, float32": SamplerCase(lambda: WeightedSampler(np.arange(9, dtype=np.float32)), None),
    "weighted subset": SamplerCase(lambda: WeightedSubsetSampler([1, 2, 3], [10, 20, 30]), None),
    "balanced": SamplerCase(lambda: WeightedSampler.class_balancing_sampler([0, 0, 0, 2]), None),
    "balanced subset": SamplerCase(lambda: WeightedSubsetSampler.class_balancing_sampler([0, 0, 2], [0, 2]), None),
    "a user's": SamplerCase(lambda: users.Backwards(7), [*range(7)]),
}


@dataclass(frozen=True)
class ColumnCase:
    """An array-like made of an array (in a folder of its own), and the array that it must equal.

    Attributes
    ----------
    pickles : bool
        Whether `pickle` takes it; what does not may still be sent to worker processes.
    """

    make: Callable[[np.ndarray[Any, Any], Path], Any]
    array: np.ndarray[Any, Any]
    pickles: bool = True


def saved(array: np.ndarray[Any, Any], folder: Path) -> str:
    np.save(folder / "array.npy", array)
    return str(folder / "array.npy")


def mapped(array: np.ndarray[Any, Any], folder: Path) -> np.ndarray[Any, Any]:
    return np.load(saved(array, folder), mmap_mode="r")


def scattered(array: np.ndarray[Any, Any]) -> tuple[np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Return rows in another order, among others, and where each is."""
    return np.repeat(array[::-1], 2, axis=0), 22 - 2 * np.arange(len(array))


def unaligned(array: np.ndarray[Any, Any], folder: Path) -> np.ndarray[Any, Any]:
    return np.frombuffer(b"x" + array.tobytes(), array.dtype, offset=1).reshape(array.shape)


def field(array: np.ndarray[Any, Any], folder: Path) -> np.ndarray[Any, Any]:
    records = np.zeros(len(array), dtype=[("a", "i1"), ("b", "f8")])
    records["b"] = array
    return records["b"]


def dataset(array: np.ndarray[Any, Any], folder: Path, **options: Any) -> Any:
    with h5py.File(folder / "array.h5", "w") as file:
        file.create_dataset("x", data=array, **options)
    return h5py.File(folder / "array.h5", "r")["x"]


def gzipped(array: np.ndarray[Any, Any], folder: Path, *chunks: int, **options: Any) -> Any:
    return dataset(array, folder, chunks=chunks, compression="gzip", shuffle=True, fletcher32=True, **options)


_FLOATS = np.arange(60, dtype=np.float32).reshape(12, 5)
_CUBES = np.arange(360).reshape(12, 5, 6)
_RECORDS = np.array([(i, i / 2, str(i)) for i in range(12)], dtype=[("a", "i4"), ("b", "f8"), ("c", "U3")])
_OBJECTS = np.array([None, "text", 3.5, (1, 2), {}, 7, [], 1j, True, b"", 0, "x"], dtype=object)

COLUMNS = {
    "array": ColumnCase(lambda x, p: x, _FLOATS),
    "array, 1-D": ColumnCase(lambda x, p: x, np.arange(12, dtype=np.uint8)),
    "array, bool": ColumnCase(lambda x, p: x, np.arange(12) % 3 == 0),
    "array, complex": ColumnCase(lambda x, p: x, _FLOATS * 1j),
    "array, half": ColumnCase(lambda x, p: x, _FLOATS.astype(np.float16)),
    "array, long double": ColumnCase(lambda x, p: x, _FLOATS.astype(np.longdouble)),
    "array, text": ColumnCase(lambda x, p: x, np.array([f"sample {i}" for i in range(12)])),
    "array, bytes": ColumnCase(lambda x, p: x, np.array([b"ab" * i for i in range(12)])),
    "array, dates": ColumnCase(lambda x, p: x, np.arange("2026-01-01", "2026-01-13", dtype="M8[D]")),
    "array, no columns": ColumnCase(lambda x, p: x, np.empty((12, 0))),
    "array, no bytes": ColumnCase(lambda x, p: x, np.empty(12, "V0")),
    "records": ColumnCase(lambda x, p: x, _RECORDS),
    "a field of records": ColumnCase(field, np.arange(12.0)),
    "objects": ColumnCase(lambda x, p: x, _OBJECTS),
    "big-endian": ColumnCase(lambda x, p: x.astype(">f8"), _FLOATS),
    "Fortran order": ColumnCase(lambda x, p: np.asfortranarray(x), _FLOATS),
    "Fortran order, 3-D": ColumnCase(lambda x, p: np.asfortranarray(x), _CUBES),
    "every other row": ColumnCase(lambda x, p: np.repeat(x, 2, axis=0)[::2], _FLOATS),
    "reversed": ColumnCase(lambda x, p: x[::-1].copy()[::-1], _CUBES),
    "transposed": ColumnCase(lambda x, p: x.transpose(0, 2, 1).copy().transpose(0, 2, 1), _CUBES),
    "broadcast": ColumnCase(lambda x, p: np.broadcast_to(x[0], x.shape), np.tile(_FLOATS[:1], (12, 1))),
    "unaligned": ColumnCase(unaligned, _FLOATS),
    "read-only": ColumnCase(lambda x, p: np.frombuffer(x.tobytes(), x.dtype).reshape(x.shape), _FLOATS),
    "memory map": ColumnCase(lambda x, p: np.load(saved(x, p), mmap_mode="r"), _FLOATS),
    "memory map, copy on write": ColumnCase(lambda x, p: np.load(saved(x, p), mmap_mode="c"), _CUBES),
    "memory map, strided": ColumnCase(lambda x, p: np.load(saved(np.repeat(x, 2, 0), p), mmap_mode="r")[::2], _CUBES),
    "list of arrays": ColumnCase(lambda x, p: list(x.copy()), _CUBES),
    "list of read-only maps": ColumnCase(lambda x, p: list(np.load(saved(x, p), mmap_mode="r")), _FLOATS),
    "list of numbers": ColumnCase(lambda x, p: x.tolist(), np.arange(12)),
    "list of lists": ColumnCase(lambda x, p: x.tolist(), _FLOATS.astype(float)),
    "list of text": ColumnCase(lambda x, p: x.tolist(), np.array(["a", "bc", "def"] * 4)),
    "list of scalars": ColumnCase(lambda x, p: list(x), np.arange(12, dtype=np.float32)),
    "masked array": ColumnCase(lambda x, p: np.ma.masked_array(x), _FLOATS),
    "range": ColumnCase(lambda x, p: range(12), np.arange(12)),
    "int, slice and integer array": ColumnCase(lambda x, p: users.Everything(x), _FLOATS),
    "int only": ColumnCase(lambda x, p: users.IntsOnly(x), _FLOATS),
    "int only, scalars": ColumnCase(lambda x, p: users.IntsOnly(x), np.arange(12)),
    "integer array only": ColumnCase(lambda x, p: users.ArraysOnly(x), _CUBES),
    "increasing only": ColumnCase(lambda x, p: users.Increasing(x), _CUBES),
    ".hsq file": ColumnCase(hsq.column, _FLOATS),
    ".hsq file, read": ColumnCase(lambda x, p: hsq.column(x, p, use_mmap=False), _CUBES.astype(">i2")),
    "HDF5": ColumnCase(dataset, _CUBES, pickles=False),
    "HDF5, chunks": ColumnCase(lambda x, p: dataset(x, p, chunks=(5, 5, 6)), _CUBES, pickles=False),
    "HDF5, parts of rows": ColumnCase(lambda x, p: dataset(x, p, chunks=(5, 2, 4)), _CUBES, pickles=False),
    "HDF5, gzip": ColumnCase(lambda x, p: gzipped(x, p, 5, 5), _FLOATS, pickles=False),
    "HDF5, gzip, 1-D": ColumnCase(lambda x, p: gzipped(x, p, 7), np.arange(12, dtype=">u2"), pickles=False),
    "HDF5, gzip, parts of rows": ColumnCase(lambda x, p: gzipped(x, p, 5, 2, 4), _CUBES, pickles=False),
    "HDF5, lzf": ColumnCase(lambda x, p: dataset(x, p, chunks=(5, 5), compression="lzf"), _FLOATS, pickles=False),
    "scaled": ColumnCase(lambda x, p: ScaledArray(x.astype(np.uint8), 0, 255), _FLOATS),
    "scaled, mapped": ColumnCase(lambda x, p: ScaledArray(mapped(x.astype(np.uint8), p), 0, 255), _FLOATS),
    "scaled, 1-D": ColumnCase(lambda x, p: ScaledArray(x.astype(np.uint8), 0, 255), np.arange(12, dtype=np.float32)),
    "chosen rows": ColumnCase(lambda x, p: ChosenRows(*scattered(x)), _CUBES),
    "chosen rows of a map": ColumnCase(lambda x, p: ChosenRows(mapped(scattered(x)[0], p), scattered(x)[1]), _FLOATS),
    "chosen rows, strided": ColumnCase(lambda x, p: ChosenRows(np.repeat(x, 2, 0)[::2], np.arange(len(x))), _CUBES),
    "chosen rows, scaled": ColumnCase(
        lambda x, p: ScaledArray(ChosenRows(*scattered(x.astype(np.uint8))), 0, 255), _FLOATS
    ),
    "gather": ColumnCase(lambda x, p: users.Gathers(x), _FLOATS),
    "gather with out": ColumnCase(lambda x, p: users.GathersInto(x), _FLOATS),
    "gather with out, returning nothing": ColumnCase(lambda x, p: users.GathersInto(x, returns=False), _CUBES),
}


@dataclass(frozen=True)
class SourceCase:
    """A data source; what is known about an epoch of it.

    Attributes
    ----------
    samples : int, inf or None
        What `num_samples` says.
    counted : tuple of bool
        Whether the number of batches is finite and known beforehand: in order, shuffled.
    in_order : bool
        Whether it has an order of its own.
    again : bool
        Whether it can be iterated more than once.
    seeded : bool
        Whether it takes int seeds and epochs: nothing in it has an order that is not batchup's.
    indexed : bool
        Whether it can be read by index.
    """

    make: Callable[[], AbstractDataSource]
    samples: float | None
    counted: tuple[bool, bool] = (True, True)
    in_order: bool = True
    again: bool = True
    seeded: bool = True
    indexed: bool = True


def numbers(n: int, begin: int = 0, **kwargs: Any) -> ArrayDataSource:
    """Return a source of one column that counts from `begin`."""
    return ArrayDataSource([np.arange(begin, begin + n)], **kwargs)


def columns(n: int, **kwargs: Any) -> ArrayDataSource:
    """Return a source of three columns of different kinds."""
    wide = np.arange(n * 30, dtype=np.float32).reshape(n, 5, 6)
    return ArrayDataSource([wide, np.arange(n), [str(i) for i in range(n)]], **kwargs)


def named(n: int, *names: str, begin: int = 0, **kwargs: Any) -> ArrayDataSource:
    """Return a source of dicts."""
    return ArrayDataSource({name: np.arange(n) + 100 * i + begin for i, name in enumerate(names)}, **kwargs)


def shards(**kwargs: Any) -> ShardDataSource:
    """Return a source of three frozen files: of 0 to 9, of nothing, of 100 to 124."""
    return ShardDataSource([hsq.DATA / "shards" / f"{name}.npy" for name in "abc"], **kwargs)


def handed(n_samples: Any = users.nine) -> CallableDataSource:
    """Return a source whose batches a function makes."""
    return CallableDataSource(users.batches_of_nine, n_samples)


_UNCOUNTED = (False, False)
_STREAM = {"seeded": False, "indexed": False}

SOURCES = {
    "array": SourceCase(lambda: columns(23), 23),
    "array, wide": SourceCase(lambda: ArrayDataSource([np.arange(30 * 5000).reshape(30, 5000)]), 30),
    "array, no samples": SourceCase(lambda: columns(0), 0),
    "array, one sample": SourceCase(lambda: columns(1), 1),
    "array, subset": SourceCase(lambda: columns(23, indices=[5, -1, 3, 3, 8]), 5),
    "array, 3 times": SourceCase(lambda: columns(7, repeats=3), 21),
    "array, subset 2 times": SourceCase(lambda: columns(9, indices=[1, 5, 7], repeats=2), 6),
    "array, for ever": SourceCase(lambda: columns(3, repeats=-1), math.inf, _UNCOUNTED),
    "array, indices": SourceCase(lambda: columns(13, include_indices=True), 13),
    "array, weighted": SourceCase(
        lambda: columns(9, sampler=WeightedSampler(np.arange(9.0))), math.inf, _UNCOUNTED, in_order=False
    ),
    "array, weighted subset": SourceCase(
        lambda: columns(9, sampler=WeightedSubsetSampler([1, 5], [3, 8])), math.inf, _UNCOUNTED, in_order=False
    ),
    "array, shorter sampler": SourceCase(lambda: columns(9, sampler=StandardSampler(6)), 6),
    "array, a user's sampler": SourceCase(lambda: columns(9, sampler=users.Backwards(9), include_indices=True), 9),
    "Fortran order": SourceCase(lambda: ArrayDataSource([np.asfortranarray(np.arange(60.0).reshape(20, 3))]), 20),
    "list of arrays": SourceCase(lambda: ArrayDataSource([list(np.arange(60).reshape(20, 3)), [*range(20)]]), 20),
    "array-likes": SourceCase(
        lambda: ArrayDataSource([users.IntsOnly(np.arange(9.0)), users.GathersInto(np.eye(9)), np.arange(9)]), 9
    ),
    "dict": SourceCase(lambda: named(11, "a", "b"), 11),
    "dict, indices": SourceCase(lambda: named(11, "a", include_indices=True), 11),
    ".hsq file": SourceCase(lambda: hsq.source(as_dict=True), 37),
    "a user's, by index": SourceCase(lambda: users.Squares(12), 12),
    "a user's, by index, a subset twice": SourceCase(lambda: users.Squares(12, indices=[3, 4, 5], repeats=2), 6),
    "composite": SourceCase(lambda: CompositeDataSource([numbers(4, repeats=-1), columns(9)]), 9),
    "composite, nested": SourceCase(
        lambda: CompositeDataSource(
            [columns(4, repeats=3), CompositeDataSource([numbers(12, 100), numbers(11, 200)], flatten=False)],
            flatten=False,
        ),
        11,
    ),
    "composite, not trimmed": SourceCase(
        lambda: CompositeDataSource([numbers(10, repeats=2), numbers(17, 100)], trim=False), 17
    ),
    "composite of dicts": SourceCase(
        lambda: CompositeDataSource([named(8, "a", "b"), named(9, "c", include_indices=True)]), 8
    ),
    "composite, dict and tuple nested": SourceCase(
        lambda: CompositeDataSource([named(8, "a"), numbers(9)], flatten=False), 8
    ),
    "composite, weighted": SourceCase(
        lambda: CompositeDataSource([numbers(5, sampler=WeightedSampler([1, 2, 3, 4, 5])), numbers(12)]),
        12,
        in_order=False,
    ),
    "composite of the same twice": SourceCase(lambda: CompositeDataSource([numbers(30)] * 2), 30),
    "composite with a user's, by index": SourceCase(
        lambda: CompositeDataSource([users.Squares(8), numbers(9, sampler=users.Backwards(9))]), 8
    ),
    "composite with a callable": SourceCase(lambda: CompositeDataSource([numbers(10), handed()]), 9, **_STREAM),
    "composite with a user's": SourceCase(
        lambda: CompositeDataSource([numbers(10), users.Countdown(8)]), 8, _UNCOUNTED, **_STREAM
    ),
    "choice": SourceCase(lambda: ChoiceDataSource([numbers(10), numbers(7, 100)]), 17, (True, False)),
    "choice, one for ever": SourceCase(
        lambda: ChoiceDataSource([numbers(10, repeats=-1), numbers(7, 100), numbers(20, 200)]),
        math.inf,
        (True, False),
    ),
    "choice, for ever": SourceCase(lambda: ChoiceDataSource([numbers(3, repeats=-1)] * 2), math.inf, _UNCOUNTED),
    "choice, stratified": SourceCase(
        lambda: ChoiceDataSource([numbers(10), numbers(0), numbers(25, 100)], stratified=True), 35
    ),
    "choice, stratified, one for ever": SourceCase(
        lambda: ChoiceDataSource([numbers(4, repeats=-1), numbers(7, 100)], stratified=True), math.inf, (True, False)
    ),
    "choice of composites": SourceCase(
        lambda: ChoiceDataSource(
            [
                CompositeDataSource([numbers(10), numbers(17)]),
                CompositeDataSource([numbers(40), numbers(4, repeats=-1)]),
            ]
        ),
        50,
        (True, False),
    ),
    "choice of dicts": SourceCase(
        lambda: ChoiceDataSource([named(9, "a", "b"), named(9, "a", "b", begin=1000)], stratified=True), 18
    ),
    "choice with a callable": SourceCase(
        lambda: ChoiceDataSource([numbers(10), handed(9)]), 19, (True, False), **_STREAM
    ),
    "choice with a callable, stratified": SourceCase(
        lambda: ChoiceDataSource([numbers(10), handed(9)], stratified=True), 19, **_STREAM
    ),
    "composite of choices": SourceCase(
        lambda: CompositeDataSource([ChoiceDataSource([numbers(10), numbers(17)]), columns(40)]), 27, (True, False)
    ),
    "shards": SourceCase(lambda: shards(), 35),
    "shards, of given lengths": SourceCase(lambda: shards(lengths=[10, 0, 25]), 35),
    "shards, opened by a user's function": SourceCase(lambda: shards(open=users.opened), 35),
    "composite with shards": SourceCase(lambda: CompositeDataSource([columns(40), shards()]), 35),
    "choice of shards": SourceCase(lambda: ChoiceDataSource([shards(), numbers(50)]), 85, (True, False)),
    "map of shards": SourceCase(lambda: shards().map(users.halves), 35),
    "map": SourceCase(lambda: ArrayDataSource([np.arange(9), np.eye(9)]).map(users.halves), 9),
    "map of a map": SourceCase(lambda: numbers(9).map(users.halves).map(users.halves), 9),
    "map of dicts": SourceCase(lambda: named(11, "a", "b").map(users.add_ten), 11),
    "map of a composite": SourceCase(
        lambda: CompositeDataSource([numbers(9), numbers(5, repeats=-1)]).map(users.halves), 9
    ),
    "map of a choice": SourceCase(
        lambda: ChoiceDataSource([numbers(9), numbers(5)], stratified=True).map(users.halves), 14
    ),
    "map of a user's": SourceCase(lambda: users.Countdown(9).map(users.halves), 9, _UNCOUNTED, **_STREAM),
    "composite of maps": SourceCase(lambda: CompositeDataSource([numbers(9).map(users.halves), users.Squares(7)]), 7),
    "callable": SourceCase(lambda: handed(), 9, **_STREAM),
    "callable, of a given length": SourceCase(lambda: handed(9), 9, **_STREAM),
    "callable, of unknown length": SourceCase(lambda: handed(None), None, _UNCOUNTED, **_STREAM),
    "iterator": SourceCase(
        lambda: IteratorDataSource(users.batches_of_nine(4), 9), 9, _UNCOUNTED, again=False, **_STREAM
    ),
    "iterator, of unknown length": SourceCase(
        lambda: IteratorDataSource(users.batches_of_nine(4)), None, _UNCOUNTED, again=False, **_STREAM
    ),
}

# what the repr of a sampler or a source may name
NAMES = {**vars(data_source), **vars(sampling), **vars(users)}

# what holds nothing but numbers: `eval` of the repr rebuilds it
SCALARS: list[Any] = [
    StandardSampler(10),
    StandardSampler(length=10, repeats=3),
    StandardSampler(1000, -1),
    users.Backwards(300),
    RandomAccessDataSource(5),
    RandomAccessDataSource(500, repeats=400, include_indices=True),
    RandomAccessDataSource(9, sampler=StandardSampler(7)),
    users.Squares(12, repeats=2),
    users.Countdown(1000, known=False),
    CompositeDataSource([users.Squares(5), users.Squares(6)], trim=False),
    ChoiceDataSource([CompositeDataSource([users.Squares(5)]), users.Squares(6)], stratified=True),
]

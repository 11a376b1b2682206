"""What is sent to worker processes: functions of the main program by value, large arrays as where they lie."""

from __future__ import annotations

import io
import mmap
import os
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from types import FunctionType, MethodType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.columns.datasets import is_dataset, reduced
from batchup.columns.files import array_in, extent, region_of
from batchup.columns.lazy import LazyArray
from batchup.columns.stores import is_tables, tables_reduced
from batchup.data_source import ArrayDataSource
from batchup.errors import InvalidTypeError, MissingExtraError
from batchup.sampling import StandardSampler
from batchup.work_pool.shared import private_map, shared_file

LARGE = 64 * 1024  # bytes of an array that is not pickled
ALIGNED = 64

try:
    from cloudpickle import Pickler as _Pickler
except ImportError:  # what cannot be sent without it is told when it is met
    from pickle import Pickler as _Pickler

_BY_VALUE = hasattr(_Pickler, "reducer_override")


_HINT = ', and pip install "batchup[process]" lets lambdas and functions of the main program be sent'


class Pickler(_Pickler):  # type: ignore[misc]
    """Pickles what functions return, and their arguments; arrays that can be laid aside are."""

    def __init__(self, file: Any, buffer_callback: Callable[[pickle.PickleBuffer], Any] | None = None) -> None:
        super().__init__(file, protocol=5, buffer_callback=buffer_callback)
        self._lays_aside = buffer_callback is not None

    def reducer_override(self, value: Any) -> Any:
        """Return how to pickle a value, or NotImplemented for the usual way."""
        if self._lays_aside and type(value) is np.ndarray and value.nbytes and not value.dtype.hasobject:
            flags = value.flags
            if not (flags.c_contiguous or flags.f_contiguous):
                return np.ascontiguousarray(value).__reduce_ex__(5)
        if _BY_VALUE:
            return super().reducer_override(value)
        if isinstance(value, (FunctionType, type)) and value.__module__ == "__main__":
            raise MissingExtraError(
                f"{value.__qualname__} is defined in the main program; to send it to a worker process: "
                'pip install "batchup[process]", or move it into a module'
            )
        return NotImplemented


class Baggage(ABC):
    """What of a data source is not pickled, but goes to the workers in another way: its large arrays."""

    @abstractmethod
    def reduced(self, array: NDArray[Any]) -> Any:
        """Return how to pickle an array."""


class Snapshot(Baggage):
    """Arrays to be copied into shared memory, once, for all workers; but for those in files, which all may map."""

    def __init__(self) -> None:
        self.size = 0
        self._arrays: list[tuple[NDArray[Any], int]] = []
        self._places: dict[Any, int] = {}

    def reduced(self, array: NDArray[Any]) -> Any:
        """Return how to pickle an array: as where it lies, or as its place in the copy."""
        region = region_of(array)
        if region is not None:
            return array_in, (region, array.shape, array.strides, array.dtype)
        memory, strides = memory_of(array)
        return _from_snapshot, (self._place(memory), array.shape, strides, array.dtype, array.flags.writeable)

    def _place(self, array: NDArray[Any]) -> int:
        """Return where an array will lie; the same memory twice is copied once."""
        key = identity(array)
        if key not in self._places:
            self._places[key] = self.size
            self._arrays.append((array, self.size))
            self.size += -(-array.nbytes // ALIGNED) * ALIGNED
        return self._places[key]

    def copied(self) -> int | None:
        """Return the descriptor of a file with the copies, None if there are none."""
        if not self._arrays:
            return None
        descriptor = shared_file(self.size, "a copy of the data for worker processes")
        with mmap.mmap(descriptor, self.size) as room:
            for array, start in self._arrays:
                np.ndarray(array.shape, array.dtype, room, start)[...] = array
        return descriptor


class SourcePickler(Pickler):
    """Pickles a data source, but for its large arrays."""

    def __init__(self, file: Any, baggage: Baggage, samplers: dict[int, int]) -> None:
        super().__init__(file)
        self._baggage = baggage
        self._samplers = samplers

    def reducer_override(self, value: Any) -> Any:
        """Return how to pickle a value, or NotImplemented for the usual way."""
        if type(value) in (np.ndarray, np.memmap) and not value.dtype.hasobject and value.nbytes >= LARGE:
            return self._baggage.reduced(value)
        if isinstance(value, LazyArray):
            return value.reduced()
        if is_dataset(value):
            return reduced(value)
        if is_tables(value):
            return tables_reduced(value)
        if isinstance(value, io.TextIOBase):  # cloudpickle would send all that the file holds
            raise InvalidTypeError("an open file stays in the process that opened it; open it when it is first read")
        if id(value) in self._samplers:
            return StandardSampler, (self._samplers[id(value)],)
        return super().reducer_override(value)


def samplers_in(source: Any) -> dict[int, int]:
    """Return the samplers of a tree that its workers need not know, by id, with the lengths of their sources.

    The order is drawn by whoever hands out the batches, and the tables that it is drawn from may be large.
    """
    if type(source) is ArrayDataSource:
        return {id(source.sampler): source._source_length}
    members = getattr(source, "datasets", None) or getattr(source, "sources", None) or [getattr(source, "source", None)]
    found: dict[int, int] = {}
    if type(source).__module__.startswith("batchup."):
        for member in members:
            found |= samplers_in(member)
    return found


_snapshot: mmap.mmap | None = None  # of the source that is being rebuilt in this process


def pickled_source(source: Any) -> tuple[bytes, int | None]:
    """Return a source as bytes, and the descriptor of a file of arrays that belongs to them.

    Raises
    ------
    InvalidTypeError
        If something in it cannot be pickled, naming where it is.
    SharedMemoryError
        If there is no room for the arrays.
    """
    snapshot = Snapshot()
    return pickled_beside(snapshot, source), snapshot.copied()


def pickled_beside(baggage: Baggage, source: Any) -> bytes:
    """Return a source as bytes, but for its large arrays, which are put into its baggage."""
    samplers = samplers_in(source)
    return sendable(source, lambda file: SourcePickler(file, baggage, samplers), "source")


def rebuilt_source(pickled: bytes, descriptor: int | None) -> Any:
    """Return the source of `pickled_source`; the descriptor is closed."""
    global _snapshot
    if descriptor is not None:
        _snapshot = private_map(descriptor, os.fstat(descriptor).st_size)
        os.close(descriptor)
    try:
        return pickle.loads(pickled)
    finally:
        _snapshot = None


def sendable(value: Any, pickler: Callable[[Any], pickle.Pickler], name: str) -> bytes:
    """Return a value as bytes; an error that names the part that cannot be pickled, if there is one."""
    file = io.BytesIO()
    try:
        pickler(file).dump(value)
    except (MissingExtraError, MemoryError):
        raise
    except Exception as error:
        where, part = _culprit(value, name, pickler)
        raise InvalidTypeError(
            f"{where}, of type {type(part).__name__}, cannot be sent to a worker process: {error}; "
            f"a pool of threads needs no pickling{'' if _BY_VALUE else _HINT}"
        ) from error
    return file.getvalue()


def identity(array: NDArray[Any]) -> tuple[Any, ...]:
    """Return what two arrays have in common that are the same memory."""
    return (array.__array_interface__["data"][0], array.shape, array.strides, array.dtype.str)


def memory_of(array: NDArray[Any]) -> tuple[NDArray[Any], tuple[int, ...] | None]:
    """Return the bytes that an array lies in and its strides, if its elements share them; else itself and None."""
    if any(stride < 0 for stride in array.strides):
        return array, None
    size = extent(array.shape, array.strides, array.itemsize)
    if size >= array.nbytes:
        return array, None
    first = array[(slice(0, 1),) * array.ndim].view(np.ndarray)
    shared = np.lib.stride_tricks.as_strided(first.reshape(-1).view(np.uint8), (size,), (1,), writeable=False)
    return shared, array.strides


def _from_snapshot(
    start: int, shape: tuple[int, ...], strides: tuple[int, ...] | None, dtype: np.dtype[Any], writable: bool
) -> Any:
    assert _snapshot is not None
    array: NDArray[Any] = np.ndarray(shape, dtype, _snapshot, start, strides)
    array.flags.writeable = writable
    return array


def _culprit(value: Any, name: str, pickler: Callable[[Any], pickle.Pickler]) -> tuple[str, Any]:
    """Return the innermost part of a value that cannot be pickled, and how to get to it."""
    seen: set[int] = set()
    while id(value) not in seen:
        seen.add(id(value))
        for part_name, part in _parts(value, name):
            try:
                pickler(io.BytesIO()).dump(part)
            except Exception:  # noqa: BLE001  anything may go wrong in a user's class
                name, value = part_name, part
                break
    return name, value


def _parts(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield what a value is pickled from, and how to get to it."""
    if isinstance(value, dict):
        yield from ((f"{name}[{key!r}]", part) for key, part in value.items())
    elif isinstance(value, (list, tuple)):
        yield from ((f"{name}[{i}]", part) for i, part in enumerate(value))
    elif isinstance(value, FunctionType):
        for variable, cell in zip(value.__code__.co_freevars, value.__closure__ or (), strict=False):
            with suppress(ValueError):
                yield f"{name}.<{variable}>", cell.cell_contents
        for variable in value.__code__.co_names:
            if variable in value.__globals__:
                yield f"{name}.<{variable}>", value.__globals__[variable]
    elif isinstance(value, MethodType):
        yield f"{name}.__self__", value.__self__
    else:
        state: Any = None
        with suppress(Exception):
            state = value.__reduce_ex__(4)[2]
        for part in state if isinstance(state, tuple) else (state,):
            if isinstance(part, dict):
                yield from ((f"{name}.{key}", attribute) for key, attribute in part.items())

"""Arrays that are appended to the features of a file, many at a time."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.typed_files.arrays import converted
from batchup.typed_files.layout import (
    ARRAYS,
    IDS,
    KEYS,
    REFS,
    ROWS_OF_REFS,
    SCALAR,
    Rows,
    append_texts,
    feature_keys,
    h5py,
)

SMALL = 512  # bytes of a first array; chunks of smaller ones are whole multiples of it, of about CHUNK bytes
CHUNK = 16 * 1024

Arrays = Mapping[str, NDArray[Any]]  # by path
Entry = tuple[str, Arrays]  # the id of a source, and its arrays


class Kind(NamedTuple):
    """What the arrays of a feature are.

    Attributes
    ----------
    inner : tuple of int
        Shape of a row.
    dtype : numpy.dtype
        Type of the elements.
    first : tuple of int
        Shape of the first array.
    """

    inner: tuple[int, ...]
    dtype: np.dtype[Any]
    first: tuple[int, ...]


class Appender:
    """Appends the arrays of sources to a file.

    Parameters
    ----------
    file : h5py.File
        Open for writing.
    kwargs_of : callable
        What `create_dataset` is to be given for a path.
    """

    def __init__(self, file: Any, kwargs_of: Callable[[str], Mapping[str, Any]]) -> None:
        self._file = file
        self._kwargs_of = kwargs_of
        self._kinds: dict[str, Kind] = {}

    def fitted(self, source: str, arrays: Arrays) -> dict[str, NDArray[Any]]:
        """Return arrays of a source as they are stored.

        Raises
        ------
        InvalidValueError, InvalidTypeError
            If one does not fit those that are there.
        """
        known = dict(self._kinds)
        try:
            found = {}
            for path, array in arrays.items():
                self._kinds[path] = self._kind(path, array, source)
                found[path] = _fitted(array, self._kinds[path], f"{path} of {source!r}")
        except (InvalidTypeError, InvalidValueError):
            self._kinds = known
            raise
        return found

    def append(self, entries: Sequence[Entry], place_of: Callable[[str], int | None], count: int) -> dict[str, Any]:
        """Append arrays that fit; sources that the file does not have yet get the next places.

        Parameters
        ----------
        entries : sequence of tuple (id, arrays)
            The arrays, as `fitted` returns them; each source once.
        place_of : callable
            Returns the place of a source, None if it is new.
        count : int
            How many sources the file has.

        Returns
        -------
        dict of dict
            By path and place of the source, the rows that its array takes.
        """
        new: list[str] = []
        by_path: dict[str, dict[int, NDArray[Any]]] = {}
        for source, arrays in entries:
            place = place_of(source)
            if place is None:
                place = count + len(new)
                new.append(source)
            for path, array in arrays.items():
                by_path.setdefault(path, {})[place] = array
        total = count + len(new)
        keys = feature_keys(self._file)
        _drop_references(self._file, {*keys, *by_path}, count)
        before = _Lengths(self._file, {*keys, *by_path})
        try:
            regions = {path: self._extend(path, arrays, total) for path, arrays in by_path.items()}
            append_texts(self._file, KEYS, [path for path in by_path if path not in keys])
            append_texts(self._file, IDS, new)
            if new:
                _refer_to_nothing(self._file, [path for path in keys if path not in by_path], total)
        except BaseException:
            before.restore({path: [place for place in arrays if place < count] for path, arrays in by_path.items()})
            raise
        return regions

    def _kind(self, path: str, array: NDArray[Any], source: str) -> Kind:
        """Return what the arrays of a feature are: those that are there, or else this one."""
        if path in self._kinds:
            return self._kinds[path]
        name = f"{path}/{ARRAYS}"
        parts = path.split("/")
        for above in ("/".join(parts[:end]) for end in range(1, len(parts))):
            if above in self._kinds or f"{above}/{ARRAYS}" in self._file:
                raise InvalidValueError(f"{path} of {source!r} cannot be stored: {above} is no group, but an array")
        below = any(known.startswith(f"{path}/") for known in self._kinds)
        if below or (path in self._file and name not in self._file and len(self._file[path])):
            raise InvalidValueError(f"{path} of {source!r} cannot be stored: it is a group, which takes a dict")
        if name not in self._file:
            dtype = np.dtype(self._kwargs_of(path).get("dtype", array.dtype))
            return Kind(array.shape[1:], dtype, array.shape)
        dataset = self._file[name]
        return Kind(dataset.shape[1:], dataset.dtype, array.shape)

    def _extend(self, path: str, arrays: Mapping[int, NDArray[Any]], count: int) -> dict[int, Rows]:
        """Append the arrays of a feature, and refer to them; return the rows of each."""
        joined = list(arrays.values())
        dataset = self._file.get(f"{path}/{ARRAYS}")
        if dataset is None:
            dataset = self._made(path, joined[0])
        bounds = len(dataset) + np.concatenate([[0], np.cumsum([len(array) for array in joined])])
        if bounds[-1] > bounds[0]:
            dataset.resize(int(bounds[-1]), axis=0)
            dataset[int(bounds[0]) :] = joined[0] if len(joined) == 1 else np.concatenate(joined)
        regions = dict(zip(arrays, zip(bounds[:-1].tolist(), bounds[1:].tolist(), strict=True), strict=True))
        _refer(self._file, path, dataset, regions, count)
        return regions

    def _made(self, path: str, first: NDArray[Any]) -> Any:
        """Make the dataset of a feature."""
        wanted = dict(self._kwargs_of(path))
        wanted.setdefault("dtype", first.dtype)
        wanted["shape"] = (0, *first.shape[1:])
        wanted["maxshape"] = (None, *(length or None for length in first.shape[1:]))
        wanted.setdefault("chunks", chunk_shape(first.shape, first.nbytes))
        try:
            dataset = self._file.create_dataset(f"{path}/{ARRAYS}", **wanted)
        except (TypeError, ValueError) as error:
            raise InvalidValueError(f"{path}: h5py cannot make a dataset of {wanted}: {error}") from error
        if path in self._kinds and not self._kinds[path].first:
            dataset.attrs[SCALAR] = 1
        return dataset


def chunk_shape(first: tuple[int, ...], size: int) -> tuple[int, ...]:
    """Return the shape of the chunks of a feature, by the shape and bytes of its first array.

    That is the shape of the array. Where it is small, a whole multiple of its rows; where it is larger than HDF5
    allows, as many of its rows as it does.

    >>> chunk_shape((32, 32), 1024), chunk_shape((1,), 8)
    ((32, 32), (2048,))
    """
    rows = max(first[0], 1)
    if size < SMALL:
        rows *= CHUNK // max(size, 1) if size else 1
    most = max(1, (2**32 - 1) // max(size // rows, 1)) if size > SMALL else rows
    return (min(rows, most), *(max(length, 1) for length in first[1:]))


class _Lengths:
    """How long the datasets of a file were, to be as long again if appending fails midway.

    Parameters
    ----------
    file : h5py.File
        The file.
    paths : iterable of str
        The features.
    """

    def __init__(self, file: Any, paths: Iterable[str]) -> None:
        self._file = file
        names = [KEYS, IDS, *(f"{path}/{part}" for path in paths for part in (ARRAYS, REFS))]
        self._lengths = {name: None if name not in file else len(file[name]) for name in names}

    def restore(self, referred: Mapping[str, Sequence[int]]) -> None:
        """Cut off what was appended, and the references of sources that were there."""
        for name, length in self._lengths.items():
            with contextlib.suppress(OSError, RuntimeError, ValueError):
                if length is None and name in self._file:
                    del self._file[name]
                elif length is not None and len(self._file[name]) != length:
                    self._file[name].resize(length, axis=0)
        for path, places in referred.items():
            with contextlib.suppress(KeyError, OSError, RuntimeError, ValueError):
                for place in places:
                    self._file[f"{path}/{REFS}"][place] = h5py().RegionReference()


def _fitted(array: NDArray[Any], kind: Kind, what: str) -> NDArray[Any]:
    """Return an array as it is stored; an error if it does not fit."""
    array = np.atleast_1d(array)
    if array.shape[1:] != kind.inner:
        rows = ", ".join(map(str, kind.inner))
        raise InvalidValueError(
            f"{what} has the shape {array.shape}, those before have (n, {rows}): arrays are joined along their first "
            "axis; VShape(feature) stores arrays of any shape"
        )
    return converted(array, kind.dtype, what)


def _refer(file: Any, path: str, dataset: Any, regions: Mapping[int, Rows], count: int) -> None:
    """Write references to the regions of a feature, so that there is one for each of `count` ids."""
    name = f"{path}/{REFS}"
    refs = file.get(name)
    if refs is None:
        dtype = h5py().regionref_dtype
        refs = file.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(ROWS_OF_REFS,))
    if len(refs) < count:
        refs.resize(count, axis=0)
    first, last = min(regions), max(regions) + 1
    made = refs[first:last] if len(regions) < last - first else np.empty(last - first, h5py().regionref_dtype)
    for place, reference in references(dataset, regions).items():
        made[place - first] = reference
    refs[first:last] = made


def _drop_references(file: Any, paths: Iterable[str], count: int) -> None:
    """Forget references that no id has: a writer that was cut off may have left them."""
    for path in paths:
        refs = file.get(f"{path}/{REFS}")
        if refs is not None and len(refs) > count:
            refs.resize(count, axis=0)


def _refer_to_nothing(file: Any, paths: Sequence[str], count: int) -> None:
    """Fill the references of features up with null ones, one for each id: h5mapper takes a missing one for an error."""
    for path in paths:
        refs = file.get(f"{path}/{REFS}")
        if refs is not None and len(refs) < count:
            refs.resize(count, axis=0)


def references(dataset: Any, regions: Mapping[int, Rows]) -> dict[int, Any]:
    """Return references to rows of a dataset, by the same keys."""
    h5r = h5py().h5r
    space, inner = dataset.id.get_space(), dataset.shape[1:]
    made = {}
    for place, (start, stop) in regions.items():
        if stop > start and 0 not in inner:
            space.select_hyperslab((start, *(0,) * len(inner)), (stop - start, *inner))
        else:
            space.select_none()
        made[place] = h5r.create(dataset.id, b".", h5r.DATASET_REGION, space)
    return made

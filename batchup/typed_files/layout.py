"""How a typed file is laid out in HDF5: ids, arrays one behind the other, references to their regions.

Source: h5mapper 0.3. `/__src__/id` holds the ids of the sources, `/__src__/ds_keys` the names of the features;
`<feature>/__arr__` the arrays of all sources, concatenated along axis 0; `<feature>/__ref__` for each id a region
reference, null where a source has no such array.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._extras import required
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError

ARRAYS, REFS = "__arr__", "__ref__"
SOURCES = "__src__"
IDS, KEYS = f"{SOURCES}/id", f"{SOURCES}/ds_keys"

SMALL = 512  # bytes of a first array; chunks of smaller ones are whole multiples of it, of about CHUNK bytes
CHUNK = 16 * 1024
ROWS_OF_REFS = 1024
SCALAR = "batchup_scalar"  # attribute of a dataset whose arrays are numbers that stand alone

Arrays = Mapping[str, NDArray[Any]]  # by path
Entry = tuple[str, Arrays]  # the id of a source, and its arrays
Rows = tuple[int, int]  # the first row of an array, and the one behind its last


@cache
def h5py() -> Any:
    """Return h5py; an error that names the command if it is not installed."""
    return required("h5py", "hdf5", "TypedFile")


def as_array(data: Any, what: str) -> NDArray[Any]:
    """Return data as an array of a dtype that HDF5 has.

    Raises
    ------
    InvalidTypeError
        If it cannot be stored.
    """
    detached = getattr(data, "detach", None)  # a tensor of PyTorch
    array = np.asarray(detached().cpu().numpy() if callable(detached) else data)
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "U" or (array.dtype.hasobject and all(isinstance(text, str) for text in array.ravel())):
        return array.astype(h5py().string_dtype())
    try:
        h5py().h5t.py_create(array.dtype, logical=True)
    except TypeError:
        raise InvalidTypeError(f"{what}: HDF5 cannot hold {array.dtype} ({type(data).__name__})") from None
    return array


def flattened(data: Any, path: str) -> dict[str, NDArray[Any]]:
    """Return the arrays in a dict of dicts, by their paths; None stands for nothing."""
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        return {path: as_array(data, path)}
    found = {}
    for name, part in data.items():
        if not isinstance(name, str) or not name or "\0" in name or name in (ARRAYS, REFS, SOURCES):
            raise InvalidTypeError(f"{path or 'the data'}: HDF5 cannot have anything called {name!r}")
        found.update(flattened(part, f"{path}/{name}".lstrip("/")))
    return found


def append(
    file: Any, entries: Sequence[Entry], positions: Mapping[str, int], kwargs_of: Callable[[str], Mapping[str, Any]]
) -> dict[str, dict[int, Rows]]:
    """Append the arrays of sources; ids that the file does not have yet get the next places.

    Parameters
    ----------
    file : h5py.File
        Open for writing.
    entries : sequence of tuple (id, arrays)
        The arrays, by path.
    positions : mapping
        The place of each id that the file has.
    kwargs_of : callable
        What `create_dataset` is to be given for a path.

    Returns
    -------
    dict of dict
        By path and place of the id, the rows that its array takes.

    Raises
    ------
    InvalidValueError, InvalidTypeError
        If an array does not fit those that are there, before anything is written.
    """
    known = len(positions)
    places, new = dict(positions), []
    for source, _ in entries:
        if source not in places:
            places[source] = len(places)
            new.append(source)
    by_path: dict[str, list[tuple[int, str, NDArray[Any]]]] = {}
    for source, arrays in entries:
        for path, array in arrays.items():
            by_path.setdefault(path, []).append((places[source], source, array))
    checked = {path: _fitting(file, path, items, kwargs_of(path)) for path, items in by_path.items()}
    scalars = {path for path, items in by_path.items() if items[0][2].ndim == 0}
    regions = {}
    for path, items in checked.items():
        _make(file, path, items[0][2], kwargs_of(path), path in scalars)
        regions[path] = _extend(file, path, items, len(places))
    keys = feature_keys(file)
    _append_texts(file, KEYS, [path for path in checked if path not in keys])
    _append_texts(file, IDS, new)
    if new:
        _refer_to_nothing(file, [path for path in keys if path not in checked], len(places))
    assert len(places) == known + len(new)
    return regions


def feature_keys(file: Any) -> list[str]:
    """Return the paths of the features in a file, as it lists them."""
    return _texts(file[KEYS]) if KEYS in file else []


def ids(file: Any, start: int = 0) -> list[str]:
    """Return the ids of a file from a place on."""
    if IDS not in file:
        return []
    texts = file[IDS]
    if texts.ndim != 1:
        raise FileFormatError(f"{file.filename} is damaged: its ids have the shape {texts.shape}")
    return _texts(texts, start)


def _texts(dataset: Any, start: int = 0) -> list[str]:
    return [
        text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else str(text) for text in dataset[start:]
    ]


def _fitting(file: Any, path: str, items: Sequence[Any], kwargs: Mapping[str, Any]) -> list[Any]:
    """Return the arrays to be appended to a feature in its dtype; an error if one does not fit."""
    name = f"{path}/{ARRAYS}"
    if path in file and name not in file and len(file[path]):
        raise InvalidValueError(f"{path} of {file.filename} is a group: pass a dict with its features")
    dataset = file.get(name)
    items = [(place, source, np.atleast_1d(array)) for place, source, array in items]
    first = items[0][2]
    inner = first.shape[1:] if dataset is None else dataset.shape[1:]
    dtype = np.dtype(kwargs.get("dtype", first.dtype)) if dataset is None else dataset.dtype
    for _, source, array in items:
        if array.shape[1:] != inner:
            raise InvalidValueError(
                f"{path} of {source!r} has the shape {array.shape}, those before have (n, {_shown(inner)}): arrays are "
                "joined along their first axis; VShape(feature) stores arrays of any shape"
            )
    return [(place, source, converted(array, dtype, f"{path} of {source!r}")) for place, source, array in items]


def _shown(shape: tuple[int, ...]) -> str:
    return ", ".join(map(str, shape))


def converted(array: NDArray[Any], dtype: np.dtype[Any], what: str) -> NDArray[Any]:
    """Return an array in a dtype; an error if its values would not survive that."""
    if array.dtype == dtype:
        return array
    if not np.can_cast(array.dtype, dtype, "same_kind") and not _fits(array, dtype):
        raise InvalidTypeError(f"{what} is of {array.dtype}, which does not fit the {dtype} of the dataset: convert it")
    if dtype.kind in "iu" and not _fits(array, dtype):
        raise InvalidValueError(f"{what} has numbers that do not fit the {dtype} of the dataset")
    return array.astype(dtype)


def _fits(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    if dtype.kind not in "iu" or array.dtype.kind not in "biu":
        return False
    bounds = np.iinfo(dtype)
    return not array.size or (int(array.min()) >= bounds.min and int(array.max()) <= bounds.max)


def _extend(file: Any, path: str, items: Sequence[Any], count: int) -> dict[int, Rows]:
    """Append arrays to a feature, and refer to them; return the rows of each."""
    arrays = [array for _, _, array in items]
    dataset = file[f"{path}/{ARRAYS}"]
    bounds = len(dataset) + np.concatenate([[0], np.cumsum([len(array) for array in arrays])])
    if bounds[-1] > bounds[0]:
        dataset.resize(int(bounds[-1]), axis=0)
        dataset[int(bounds[0]) :] = arrays[0] if len(arrays) == 1 else np.concatenate(arrays)
    regions = {
        place: (start, stop)
        for (place, _, _), start, stop in zip(items, bounds[:-1].tolist(), bounds[1:].tolist(), strict=True)
    }
    _refer(file, path, dataset, regions, count)
    return regions


def _make(file: Any, path: str, first: NDArray[Any], kwargs: Mapping[str, Any], scalar: bool) -> None:
    """Make the dataset of a feature, if it is not there."""
    if f"{path}/{ARRAYS}" in file:
        return
    wanted = dict(kwargs)
    wanted.setdefault("dtype", first.dtype)
    wanted["shape"] = (0, *first.shape[1:])
    wanted["maxshape"] = (None, *first.shape[1:])
    wanted.setdefault("chunks", chunk_shape(first.shape, first.nbytes))
    try:
        dataset = file.create_dataset(f"{path}/{ARRAYS}", **wanted)
    except (TypeError, ValueError) as error:
        raise InvalidValueError(f"{path}: h5py cannot make a dataset of {wanted}: {error}") from error
    if scalar:
        dataset.attrs[SCALAR] = 1


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


def rows_of(dataset: Any, reference: Any) -> Rows | None:
    """Return the first row that a reference stands for and the one behind the last; None if it is null.

    Raises
    ------
    FileFormatError
        If it stands for anything but whole rows.
    """
    if not reference:
        return None
    space = h5py().h5r.get_region(reference, dataset.id)
    points = space.get_select_npoints()
    if not points:
        return 0, 0
    low, high = space.get_select_bounds()
    start, stop = int(low[0]), int(high[0]) + 1
    length, *inner = dataset.shape
    if points != (stop - start) * math.prod(inner) or stop > length:
        raise FileFormatError(f"{dataset.file.filename}: a reference into {dataset.name} is not to whole rows of it")
    return start, stop


def _append_texts(file: Any, name: str, texts: Sequence[str]) -> None:
    if not texts and name in file:
        return
    dtype = h5py().string_dtype(encoding="utf-8")
    dataset = file.get(name)
    if dataset is None:
        dataset = file.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(ROWS_OF_REFS,))
    start = len(dataset)
    dataset.resize(start + len(texts), axis=0)
    dataset[start:] = np.array([text.encode("utf-8", "surrogateescape") for text in texts], object)


def make_schema(file: Any, paths: Sequence[str]) -> None:
    """Make the groups of features that are declared, and that of the ids."""
    for path in (SOURCES, *paths):
        file.require_group(path)
    _append_texts(file, IDS, [])
    _append_texts(file, KEYS, [])

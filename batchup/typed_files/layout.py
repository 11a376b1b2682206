"""How a typed file is laid out in HDF5: ids, arrays one behind the other, references to their regions.

Source: h5mapper 0.3. `/__src__/id` holds the ids of the sources, `/__src__/ds_keys` the names of the features;
`<feature>/__arr__` the arrays of all sources, concatenated along axis 0; `<feature>/__ref__` for each id a region
reference, null where a source has no such array.
"""

from __future__ import annotations

import math
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
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


def checked_name(name: Any) -> str:
    """Return the name of a feature, or its path.

    Raises
    ------
    InvalidTypeError
        If HDF5 cannot have it, or it means something else.
    """
    if isinstance(name, str) and is_text(name):
        parts = name.split("/")
        if not {"", ".", ARRAYS, REFS, SOURCES} & set(parts) and "\0" not in name:
            return name
    raise InvalidTypeError(f"HDF5 cannot have a feature called {name!r}, or it means something else")


def checked_id(source: Any) -> str:
    """Return the id of a source: a text, or a path as text.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If it is something else, or HDF5 cannot have it.
    """
    if isinstance(source, os.PathLike):
        source = os.fspath(source)
    if not isinstance(source, str):
        raise InvalidTypeError(f"the id of a source is a str, got {type(source).__name__}")
    if "\0" in source or not is_text(source):
        raise InvalidValueError(f"HDF5 cannot have the id {source!r}")
    return source


def is_text(name: str) -> bool:
    """Return whether a text can be stored as UTF-8."""
    try:
        name.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return False
    return True


def h5py() -> Any:
    """Return h5py; an error that names the command if it is not installed."""
    return sys.modules.get("h5py") or required("h5py", "hdf5", "TypedFile")


def check_options(options: Mapping[str, Any]) -> None:
    """Raise what h5py raises for options that it does not know, before anything is made."""
    h5py().File("options", "w", **{**options, "driver": "core", "backing_store": False}).close()


def feature_keys(file: Any) -> list[str]:
    """Return the paths of the features in a file, as it lists them."""
    return list(dict.fromkeys(texts(file.get(KEYS), file)))


def ids(file: Any, start: int = 0) -> list[str]:
    """Return the ids of a file from a place on."""
    return texts(file.get(IDS), file, start)


def texts(dataset: Any, file: Any, start: int = 0) -> list[str]:
    """Return what a dataset of texts holds from a place on; nothing if there is none."""
    if dataset is None or start >= length_of_texts(dataset, file):
        return []
    found = dataset[start:]
    return [text.decode("utf-8", "surrogateescape") if isinstance(text, bytes) else str(text) for text in found]


def length_of_texts(dataset: Any, file: Any) -> int:
    """Return how many texts a dataset holds.

    Raises
    ------
    FileFormatError
        If it is something else.
    """
    if not isinstance(dataset, h5py().Dataset) or dataset.ndim != 1 or not h5py().check_string_dtype(dataset.dtype):
        raise FileFormatError(f"{file.filename} is damaged: {dataset.name} should be a row of texts, and is {dataset}")
    return len(dataset)


def rows_of(dataset: Any, references: Iterable[Any]) -> Iterator[Rows | None]:
    """Yield the first row that each reference stands for and the one behind the last; None if it is null.

    Raises
    ------
    FileFormatError
        If it stands for anything but whole rows.
    """
    get_region, dereference, there = h5py().h5r.get_region, h5py().h5r.dereference, dataset.id
    length, *inner = dataset.shape
    row = math.prod(inner)
    for reference in references:
        if not reference:
            yield None
            continue
        try:
            space, target = get_region(reference, there), dereference(reference, there)
        except (OSError, RuntimeError, TypeError, ValueError) as error:
            raise _bad_reference(dataset, f"is damaged: {error}") from error
        if target != there:
            raise _bad_reference(dataset, "leads elsewhere")
        points = space.get_select_npoints()
        if not points:
            yield 0, 0
            continue
        low, high = space.get_select_bounds()
        start, stop = int(low[0]), int(high[0]) + 1
        if points != (stop - start) * row or stop > length:
            raise _bad_reference(dataset, "is not to whole rows of it")
        yield start, stop


def _bad_reference(dataset: Any, reason: str) -> FileFormatError:
    return FileFormatError(f"{dataset.file.filename}: a reference into {dataset.name} {reason}")


def append_texts(file: Any, name: str, added: Sequence[str]) -> None:
    """Append texts to a dataset, which is made if it is not there."""
    if not added and name in file:
        return
    dtype = h5py().string_dtype(encoding="utf-8")
    dataset = file.get(name)
    if dataset is None:
        dataset = file.create_dataset(name, (0,), dtype, maxshape=(None,), chunks=(ROWS_OF_REFS,))
    start = len(dataset)
    dataset.resize(start + len(added), axis=0)
    dataset[start:] = np.array([text.encode("utf-8", "surrogateescape") for text in added], object)


def make_schema(file: Any, paths: Sequence[str]) -> None:
    """Make the groups of features that are declared, and that of the ids."""
    for path in (SOURCES, *paths):
        file.require_group(path)
    append_texts(file, IDS, [])
    append_texts(file, KEYS, [])

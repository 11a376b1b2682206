"""How a typed file is laid out in HDF5: ids, arrays one behind the other, references to their regions.

Source: h5mapper 0.3. `/__src__/id` holds the ids of the sources, `/__src__/ds_keys` the names of the features;
`<feature>/__arr__` the arrays of all sources, concatenated along axis 0; `<feature>/__ref__` for each id a region
reference, null where a source has no such array.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._extras import required
from batchup.errors import FileFormatError

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


def append_texts(file: Any, name: str, texts: Sequence[str]) -> None:
    """Append texts to a dataset, which is made if it is not there."""
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
    append_texts(file, IDS, [])
    append_texts(file, KEYS, [])

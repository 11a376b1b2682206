"""HDF5 files as tables: datasets of one length, record files, and typed files."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from batchup._extras import required
from batchup._hdf5 import checked_dataset
from batchup.errors import FileFormatError, UnsupportedError
from batchup.formats.columnar import ColumnarTable, field_of
from batchup.formats.hdf5.columns import (
    Hdf5Lists,
    Hdf5Strings,
    Hdf5Texts,
    Hdf5Values,
    ragged_column,
)
from batchup.formats.hdf5.sink import COLUMN, KIND, TABLE, meta_of
from batchup.formats.opening import seekable
from batchup.formats.packed import BytesColumn
from batchup.formats.rows import read
from batchup.formats.table import BYTES, TEXT, Field
from batchup.remote import is_remote
from batchup.sequences import Hdf5RecordReader
from batchup.sequences.hdf5 import MARK
from batchup.sequences.hdf5_file import attribute, understood
from batchup.sequences.hdf5_file import opened as opened_here
from batchup.sequences.hdf5_seqp import is_seqp
from batchup.typed_files.layout import SOURCES

_STANDS_FOR = re.compile(r"[<>=|]U[1-9]\d{0,8}|[<>=][Mm]8(\[\w{1,20}\])?")
_DEEPEST = 64  # groups within groups


def read_hdf5(*paths: Any, columns: Sequence[str] | None = None, on_error: str = "raise", group: str = "/") -> Any:
    """Read the datasets of HDF5 files as columns.

    Datasets of one length, in groups too, are columns; those without a dimension are left out. So are the fields of
    the files of an `Hdf5RecordWriter`, and the features of typed files, for the sources that have all of them. Texts
    of variable length become `str`, arrays of variable length `Ragged`.

    Parameters
    ----------
    *paths : str or path-like
        Names of files, or patterns such as ``"part-*.h5"``, whose files are sorted by name.
    columns : sequence of str, optional
        The columns to read; those in groups are called ``"group/name"``. By default all.
    on_error : {'raise', 'skip'}, default 'raise'
        Whether rows that cannot be read are an error, or left out: all those of a chunk.
    group : str, default '/'
        The group whose datasets are read.

    Returns
    -------
    dict of array-like
        By name. The values stay in the file until they are asked for.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If a file is damaged, or something else, or its datasets have different lengths. Links to other files are not
        followed, nor are virtual datasets and external storage.
    MissingExtraError
        If h5py is not installed.

    Examples
    --------
    >>> from batchup.formats import read_hdf5, write_hdf5
    >>> write_hdf5([{"x": [1.0, 2.0], "word": "one"}, {"x": [3.0, 4.0], "word": "two"}], "two.h5")
    >>> columns = read_hdf5("two.h5")
    >>> columns["x"][1], columns["word"][0]
    (array([3., 4.]), 'one')
    """
    return read(Hdf5Table, paths, columns, on_error=on_error, group=group)


class Hdf5Table(ColumnarTable):
    """The rows of an HDF5 file.

    Parameters
    ----------
    path : str
        Name or address of the file.
    on_error, group
        As for `read_hdf5`.

    Raises
    ------
    FileFormatError
        If the file is damaged, or something else, or its datasets have different lengths.
    """

    def __init__(self, path: str, *, on_error: str = "raise", group: str = "/") -> None:
        file = _opened(path)
        try:
            with understood(path):
                columns, fields, meta = _found(file, group.strip("/"), path)
                together = min((rows for column in columns.values() if (rows := _chunk_rows(column))), default=1)
        except BaseException:
            file.close()
            raise
        lengths = {name: len(column) for name, column in columns.items()}
        if len(set(lengths.values())) > 1:
            raise FileFormatError(
                f"{path}: datasets must be equally long to be read as rows, they are {lengths}: tell with group= "
                "those of which group to read"
            )
        super().__init__(path, columns, fields, None, meta, on_error, together)


def _opened(path: str) -> Any:
    if not is_remote(path):
        return opened_here(path)
    h5py = required("h5py", "hdf5", "reading HDF5 files")
    file = seekable(path)
    try:
        return h5py.File(file, "r")
    except (OSError, RuntimeError) as error:
        file.close()
        raise FileFormatError(f"{path} is no HDF5 file, or damaged: {error}") from error


_Found = tuple[dict[str, Any], dict[str, Field], dict[str, Any]]


def _found(file: Any, key: str, path: str) -> _Found:
    """Return the columns that a file has, what they are, and what it says besides."""
    records = MARK in file.attrs or is_seqp(file)
    if key or TABLE in file.attrs or not (records or SOURCES in file):
        _check_group(file, key, path)
        return _columns(file, key, path)
    if is_remote(path):
        raise UnsupportedError(f"{path}: record files and typed files are read on this machine: copy it here first")
    return _records(path) if records else _features(path)


def _check_group(file: Any, key: str, path: str) -> None:
    """Raise unless a group lies in a file, and not behind a link."""
    h5py = required("h5py", "hdf5", "reading HDF5 files")
    parts = key.split("/") if key else []
    for end in range(1, len(parts) + 1):
        inner = "/".join(parts[:end])
        if not isinstance(file.get(inner, getlink=True), h5py.HardLink) or not isinstance(file[inner], h5py.Group):
            raise FileFormatError(f"{path} has no group {inner!r}, or it is a link, which is not followed")


def _columns(file: Any, key: str, path: str) -> _Found:
    """Return the datasets in a group as columns."""
    found: list[tuple[int, str, Any, Field]] = []
    for inner, name in _names(file, key, path, set(), 0):
        column = _column(file, inner, path)
        if column is not None:
            number = attribute(file[inner], COLUMN, path)
            found.append((len(found) if number is None else int(number), name, *column))
    found.sort(key=lambda entry: entry[0])
    columns = {name: column for _, name, column, _ in found}
    return columns, {name: field for _, name, _, field in found}, meta_of(file, path)


def _names(file: Any, key: str, path: str, seen: set[Any], depth: int) -> Iterator[tuple[str, str]]:
    """Yield the keys of datasets, and of groups that are columns, in a group; and their names in it."""
    h5py = required("h5py", "hdf5", "reading HDF5 files")
    group = file[key] if key else file
    address = h5py.h5o.get_info(group.id).addr
    if address in seen or depth > _DEEPEST:
        raise FileFormatError(f"{path}: the group {group.name} is within itself, or too deep")
    for name in group:
        inner = f"{key}/{name}" if key else name
        if not isinstance(group.get(name, getlink=True), h5py.HardLink):
            raise FileFormatError(f"{path}: {inner!r} lies in another file, or is a link; neither is followed")
        kind = group.get(name, getclass=True)
        if kind is h5py.Group and KIND not in group[name].attrs:
            yield from (
                (deeper, f"{name}/{rest}") for deeper, rest in _names(file, inner, path, seen | {address}, depth + 1)
            )
        elif kind in (h5py.Group, h5py.Dataset):
            yield inner, name


def _column(file: Any, key: str, path: str) -> tuple[Any, Field] | None:
    """Return a column and what it is; None if it has no rows."""
    h5py = required("h5py", "hdf5", "reading HDF5 files")
    stands_for = attribute(file[key], KIND, path)
    kind = None if stands_for is None else bytes(stands_for).decode()
    if isinstance(file[key], h5py.Group):
        ragged = ragged_column(file, key, path)
        return (BytesColumn(ragged), Field(BYTES)) if kind == "bytes" else (ragged, field_of(ragged))
    dataset = checked_dataset(file, key, path)
    if not dataset.shape:
        return None
    dtype, shape = dataset.dtype, dataset.shape[1:]
    text, elements = h5py.check_string_dtype(dtype), h5py.check_vlen_dtype(dtype)
    if text is not None and text.length is None and not shape:
        return Hdf5Texts(dataset, np.dtype(object)), Field(TEXT)
    if elements is not None and not shape and not np.dtype(elements).hasobject:
        lists = Hdf5Lists(dataset, np.dtype(np.dtype(elements).str))
        return lists, field_of(lists)
    if dtype.hasobject or not dtype.itemsize:
        raise FileFormatError(
            f"{path}: {key!r} holds {dtype} {shape}, which is neither numbers nor a text for each row"
        )
    if kind is None:
        plain = dtype if dtype.names is not None or dtype.metadata is None else np.dtype(dtype.str)
        column = dataset if dtype.metadata is None else Hdf5Values(dataset, plain)
        return column, Field(plain, shape)
    return _standing_for(dataset, kind, path)


def _standing_for(dataset: Any, kind: str, path: str) -> tuple[Any, Field]:
    """Return the column of a dataset that is stored as another dtype than it has."""
    dtype = np.dtype(kind) if _STANDS_FOR.fullmatch(kind) else None
    stored: np.dtype[Any] = dataset.dtype
    if dtype is not None and dtype.kind in "Mm" and stored.kind == "i" and stored.itemsize == dtype.itemsize:
        return Hdf5Values(dataset, dtype), Field(dtype, dataset.shape[1:])
    if dtype is not None and dtype.kind == "U" and stored.kind == "S":
        return Hdf5Strings(dataset, dtype), Field(dtype, dataset.shape[1:])
    raise FileFormatError(f"{path}: {dataset.name} of {stored} cannot be {kind!r:.60}")


def _records(path: str) -> _Found:
    """Return the fields of a file of records."""
    reader = Hdf5RecordReader(path)
    columns = {"x" if name is None else name: column for name, column in reader.columns.items()}
    meta = {key: reader.metadata(key) for key in reader.metadata_keys()}
    return columns, {name: field_of(column) for name, column in columns.items()}, meta


def _features(path: str) -> _Found:
    """Return the features of a typed file, and the ids of the sources that have all of them."""
    from batchup.typed_files import TypedFile
    from batchup.typed_files.columns import columns_of

    with TypedFile(path) as file:
        paths = file._contents.paths()
        columns: dict[str, Any] = {"id": file.sources(*paths)}
        columns.update(zip(paths, columns_of(file, paths, "id"), strict=True))
    fields = {"id": Field(TEXT)}
    for name in paths:
        dtype = getattr(columns[name], "dtype", None)
        if dtype is None or dtype.hasobject:
            raise FileFormatError(f"{path}: the feature {name!r} holds neither numbers nor sequences of them")
        fields[name] = field_of(columns[name])
    return columns, fields, {}


def _chunk_rows(column: Any) -> int | None:
    """Return how many rows of a column are read together; None if it is not in chunks of rows."""
    dataset = getattr(column, "_dataset", column)
    chunks = getattr(dataset, "chunks", None)
    return int(chunks[0]) if chunks and len(dataset) == len(column) else None

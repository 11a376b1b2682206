"""NumPy's .npz files: archives of arrays, read whole or row by row, and written item by item."""

from __future__ import annotations

import contextlib
import os
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from batchup._compression import DENSEST
from batchup._npy_header import Header, check_size, read_header, told
from batchup._npy_rows import NpyRows
from batchup._repr import Represented
from batchup._unfinished import part_beside
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError, LengthError
from batchup.formats.paths import found, named
from batchup.formats.whole import whole_file
from batchup.formats.zip_members import put_member

_SUFFIX = ".npy"


def read_npz(*paths: Any, keys: Sequence[str] | None = None) -> dict[str, NDArray[Any]] | NpzSource:
    """Read the arrays of .npz files.

    Parameters
    ----------
    *paths : str or path-like
        Names of files, or patterns such as ``"part-*.npz"``, whose files are sorted by name.
    keys : sequence of str, optional
        The arrays to read, in this order. By default all, in the order of the first file.

    Returns
    -------
    dict of numpy.ndarray, or iterable of dict
        For one file its arrays, which are read now. For several their rows, as dicts, one file after the other, each
        time anew; one file at a time is in memory. It has a length, known from the headers.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If a file is damaged, or something else, or lacks an array, or has Python objects in it.
    LengthError
        If the arrays of one of several files are not equally long.

    Examples
    --------
    >>> from batchup.formats import read_npz, write_npz
    >>> for part in range(2):
    ...     write_npz(({"x": [n, n], "y": part} for n in range(3)), f"part-{part}.npz")
    >>> read_npz("part-0.npz")["x"].tolist()
    [[0, 0], [1, 1], [2, 2]]
    >>> rows = read_npz("part-*.npz", keys=["y", "x"])
    >>> len(rows), next(iter(rows))
    (6, {'y': np.int64(0), 'x': array([0, 0])})
    """
    if isinstance(keys, str):
        raise InvalidTypeError(f"keys must be a sequence of str, got {keys!r}")
    source = NpzSource(found(paths), None if keys is None else tuple(keys))
    return source if len(source.paths) > 1 else _arrays(source.paths[0], source.keys)


class NpzSource(Represented):
    """The rows of .npz files, each time anew; see `read_npz`.

    Parameters
    ----------
    paths : tuple of str
        Names of the files.
    keys : tuple of str, optional
        The arrays that are read.
    """

    def __init__(self, paths: tuple[str, ...], keys: tuple[str, ...] | None = None) -> None:
        self.paths = paths
        self.keys = keys

    def __len__(self) -> int:
        return sum(_rows(path, _headers(path, self.keys)) for path in self.paths)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        keys = self.keys
        for path in self.paths:
            headers = _headers(path, self.keys)
            if keys is None:
                keys = tuple(headers)
            elif self.keys is None and (more := [key for key in headers if key not in keys]):
                raise FileFormatError(f"{path} has arrays {more} that {self.paths[0]} lacks: choose with keys=")
            count, arrays = _rows(path, headers), _arrays(path, keys)
            for row in range(count):
                yield {key: arrays[key][row].copy() for key in keys}


def _arrays(path: str, keys: tuple[str, ...] | None) -> dict[str, NDArray[Any]]:
    headers = _headers(path, keys)
    with open(path, "rb") as raw, told(path), np.load(raw, allow_pickle=False) as file:
        return {key: file[key] for key in headers}


def _rows(path: str, headers: Mapping[str, Header]) -> int:
    """Return the number of rows that the arrays have in common."""
    lengths = {key: header.shape[0] if header.shape else None for key, header in headers.items()}
    if None in lengths.values() or len(set(lengths.values())) > 1:
        raise LengthError(f"{path}: its arrays must be equally long to be read row by row, got lengths {lengths}")
    return next(iter(lengths.values()), 0) or 0


def _headers(path: str, keys: tuple[str, ...] | None) -> dict[str, Header]:
    """Return the headers of the arrays of an .npz file, which agree with the sizes that the file has."""
    with open(path, "rb") as raw, told(path), zipfile.ZipFile(raw) as file:
        members = members_of(file)
        if keys is not None and (missing := [key for key in keys if key not in members]):
            raise FileFormatError(f"{path} has no arrays {missing}: it has {list(members)}")
        size = os.path.getsize(path)
        return {key: member_header(file, members[key], path, size) for key in (members if keys is None else keys)}


def members_of(file: zipfile.ZipFile) -> dict[str, zipfile.ZipInfo]:
    """Return the arrays of an .npz file by their names."""
    return {info.filename.removesuffix(_SUFFIX): info for info in file.infolist()}


def member_header(file: zipfile.ZipFile, info: zipfile.ZipInfo, path: str, size: int) -> Header:
    """Return what an .npz file of a size says of one of its arrays, which agrees with that."""
    name = member_name(path, info)
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise FileFormatError(f"{name} is compressed with method {info.compress_type}, which NumPy does not write")
    with file.open(info) as member:
        header = read_header(member, name)
    if info.file_size > DENSEST * (info.compress_size + 1) or info.compress_size > size:
        raise FileFormatError(f"{name} is damaged: {info.compress_size} bytes cannot stand for {info.file_size}")
    check_size(header.size, info.file_size, name)
    return header


def member_name(path: str, info: zipfile.ZipInfo) -> str:
    """Return what messages call an array of an .npz file."""
    return f"{path}, array {info.filename.removesuffix(_SUFFIX)!r}"


def write_npz(items: Iterable[Any], path: Any, compressed: bool = False) -> None:
    """Write an .npz file with one array per key, whose rows come from the items.

    The arrays are written to unnamed files beside it as the items come, and put together in the end.

    Parameters
    ----------
    items : iterable of dict or tuple
        The rows, all with the same keys (the parts of tuples are called ``arr_0``, ``arr_1``, ...); for each key,
        arrays or numbers of one shape and dtype.
    path : str or path-like
        Name of the file. If it is there it is replaced, once the new one is whole.
    compressed : bool, default False
        Whether to compress the arrays.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an item is something else, or differs from the first; the message names the item, counted from 0.

    Examples
    --------
    >>> from batchup.formats import read_npz, write_npz
    >>> write_npz([{"x": [1.0, 2.0], "y": 0}, {"x": [3.0, 4.0], "y": 1}], "two.npz")
    >>> read_npz("two.npz")
    {'x': array([[1., 2.],
           [3., 4.]]), 'y': array([0, 1])}
    """
    with whole_file(path) as file, contextlib.ExitStack() as stack:
        columns: dict[str, NpyRows] = {}
        for number, item in enumerate(items):
            row = _as_row(number, item)
            if number == 0:
                for key in row:
                    part = stack.enter_context(part_beside(named(path)))
                    columns[key] = NpyRows(part, f", array {key!r}")
            elif row.keys() != columns.keys():
                raise InvalidValueError(f"item {number} must have the keys {list(columns)} of item 0, got {list(row)}")
            for key, column in columns.items():
                column.add(row[key])
        zipped(columns, file, compressed)


def _as_row(number: int, item: Any) -> Mapping[str, Any]:
    if isinstance(item, Mapping):
        if wrong := [key for key in item if not isinstance(key, str)]:
            raise InvalidTypeError(f"item {number}: the names of arrays are str, got {wrong[0]!r}")
        return item
    if isinstance(item, tuple):
        return {f"arr_{index}": part for index, part in enumerate(item)}
    raise InvalidTypeError(
        f"item {number}: an .npz file takes dicts or tuples, got {type(item).__name__}; write single arrays as .npy"
    )


def zipped(columns: Mapping[str, NpyRows], file: IO[bytes], compressed: bool) -> None:
    """Put the arrays that have been written one by one into an archive."""
    method = zipfile.ZIP_DEFLATED if compressed else zipfile.ZIP_STORED
    with zipfile.ZipFile(file, "w") as archive:
        for key, column in columns.items():
            part = column.finish()
            part.seek(0)
            put_member(archive, key + _SUFFIX, part, method)

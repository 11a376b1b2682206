"""Folders of zarr as tables: groups of arrays of one length."""

from __future__ import annotations

import contextlib
import os
import warnings
from collections.abc import Iterable, Iterator, Sequence
from typing import Any
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from batchup._extras import required
from batchup._indices import Indices
from batchup.columns import as_column
from batchup.errors import FileFormatError, UnsupportedError
from batchup.formats.columnar import ColumnarTable, field_of
from batchup.formats.restored import RestoredColumn
from batchup.formats.rows import read, write
from batchup.formats.table import TEXT, Field, objects
from batchup.formats.zarr.sink import ORDER, zarr_sink
from batchup.remote import is_remote

_NEEDED = "zarr", "zarr", "reading zarr"
_DEEPEST = 64  # groups within groups
# what zarr raises where a file is damaged
_FAILURES = ArithmeticError, AttributeError, LookupError, OSError, RuntimeError, TypeError, ValueError, BadZipFile


def read_zarr(*paths: Any, columns: Sequence[str] | None = None, on_error: str = "raise") -> Any:
    """Read the arrays of zarr's groups as columns.

    Arrays of one length, in inner groups too, are columns; those without a dimension are left out. zarr gives zeros
    for chunks whose files are missing: that is no error.

    Parameters
    ----------
    *paths : str or path-like
        Names of folders or of zip files, or patterns such as ``"part-*.zarr"``, which are sorted by name.
    columns : sequence of str, optional
        The arrays to read; those in groups are called ``"group/name"``. By default all.
    on_error : {'raise', 'skip'}, default 'raise'
        Whether rows that cannot be read are an error, or left out: all those of a chunk.

    Returns
    -------
    dict of array-like
        By name. The values stay where they are until they are asked for.

    Raises
    ------
    FileNotFoundError
        If there is no such folder or file.
    FileFormatError
        If it is something else, or damaged, or its arrays have different lengths.
    MissingExtraError
        If zarr is not installed.

    Examples
    --------
    >>> from batchup.formats import read_zarr, write_zarr
    >>> write_zarr([{"x": [1.0, 2.0], "y": 0}, {"x": [3.0, 4.0], "y": 1}], "two.zarr")
    >>> read_zarr("two.zarr")["x"][1]
    array([3., 4.])
    """
    required(*_NEEDED)
    return read(ZarrTable, paths, columns, folders=True, on_error=on_error)


def write_zarr(items: Iterable[Any], path: Any, meta: dict[str, Any] | None = None, compressed: bool = True) -> None:
    """Write a group of zarr, with an array for each key, whose rows come from the items.

    It is of format 2, which zarr 2 and 3 read; in chunks of up to 4 MiB.

    Parameters
    ----------
    items : iterable of dict or tuple
        The rows, all with the same keys (the parts of tuples are called ``arr_0``, ``arr_1``, ...). A key
        ``"group/name"`` is an array in a group.
    path : str or path-like
        Name of the folder; or of a zip file, if it ends in ``.zip``. If it is there it is replaced, once the new one
        is whole; but not a folder that is something else.
    meta : dict, optional
        The attributes of the group: what JSON can hold.
    compressed : bool, default True
        Whether to compress the chunks, as zarr does by default.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an item is no row, or differs from the first ones, or holds what zarr cannot.
    MissingExtraError
        If zarr is not installed.

    Examples
    --------
    >>> from batchup.formats import write_zarr
    >>> import zarr
    >>> write_zarr(({"x": np.full(3, n), "word": str(n)} for n in range(5)), "five.zarr")
    >>> zarr.open_group("five.zarr", mode="r")["x"].shape
    (5, 3)
    """
    write(items, zarr_sink, path, meta=meta, compressed=compressed)


class ZarrTable(ColumnarTable):
    """The rows of a group of zarr's arrays, or of a single array, which is a column ``"x"``.

    Parameters
    ----------
    path : str
        Name of the folder, or of a zip file.
    on_error
        As for `read_zarr`.

    Raises
    ------
    FileFormatError
        If it is something else, or damaged, or its arrays have different lengths.
    """

    def __init__(self, path: str, *, on_error: str = "raise") -> None:
        with _opened(path) as node:
            arrays, meta = _listed(node, path)
            order = meta.pop(ORDER, None)
            if isinstance(order, list) and sorted(map(str, order)) == sorted(arrays):
                arrays = {name: arrays[name] for name in order}
            columns = {name: _column(array, f"{path}, array {name!r}") for name, array in arrays.items() if array.shape}
            fields = {
                name: Field(TEXT) if isinstance(column, ZarrTexts) else field_of(column)
                for name, column in columns.items()
            }
            lengths = {name: len(column) for name, column in columns.items()}
            if len(set(lengths.values())) > 1:
                raise FileFormatError(f"{path}: arrays must be equally long to be read as rows, they are {lengths}")
            together = min((int(arrays[name].chunks[0]) for name in columns), default=1)
            super().__init__(path, columns, fields, None, meta, on_error, together)


class ZarrColumn(RestoredColumn):
    """The rows of an array of zarr."""

    def __init__(self, array: Any) -> None:
        super().__init__(as_column(array), np.dtype(array.dtype), tuple(int(side) for side in array.shape[1:]))
        self._array = array
        self.takes_out, self.window = self._stored.takes_out, self._stored.window

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        return self._stored.gather(indices, out)

    def expect(self, indices: Indices) -> bool:
        return False

    def __reduce__(self) -> Any:
        return type(self), (self._array,)


class ZarrTexts(ZarrColumn):
    """Texts of any length in an array of zarr."""

    def __init__(self, array: Any) -> None:
        super().__init__(array)
        self.dtype = np.dtype(object)
        self.takes_out = False

    def gather(self, indices: Indices, out: NDArray[Any] | None = None) -> Any:
        return objects(self._stored.gather(indices).tolist())


@contextlib.contextmanager
def _opened(path: str) -> Iterator[Any]:
    """Have the group or the array that lies somewhere; a zip file of it is closed after an error.

    It must be, since zarr's tasks log errors that nobody waits for, and a log may keep them, and with them the file.
    """
    zarr = required(*_NEEDED)
    if is_remote(path):
        raise UnsupportedError(f"{path}: zarr is read on this machine: copy it here first")
    os.stat(path)  # raises what zarr would tell in many words
    store: Any = path
    try:
        try:
            store = path if os.path.isdir(path) else zarr.storage.ZipStore(path, mode="r")
            node = zarr.open(store, mode="r")
        except _FAILURES as error:
            raise FileFormatError(f"{path} is no group or array of zarr, or damaged: {error}") from error
        yield node
    except BaseException:
        with contextlib.suppress(AttributeError):  # it is a folder, or zarr 3 has not opened it yet
            store.close()
        raise


def _listed(node: Any, path: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return the arrays of a group, or the one that there is, by name; and the attributes."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # over files that are none of zarr's
            return {"x": node} if hasattr(node, "shape") else dict(_arrays(node, 0)), dict(node.attrs)
    except FileFormatError:
        raise
    except Exception as error:
        raise FileFormatError(f"{path} is damaged: {error}") from error


def _arrays(group: Any, depth: int) -> Iterator[tuple[str, Any]]:
    """Yield the arrays of a group, and of the groups in it, with their names."""
    if depth > _DEEPEST:
        raise FileFormatError(f"groups lie within groups more than {_DEEPEST} deep")
    yield from sorted(group.arrays())
    for name, inner in sorted(group.groups()):
        yield from ((f"{name}/{deeper}", array) for deeper, array in _arrays(inner, depth + 1))


def _column(array: Any, name: str) -> Any:
    dtype = np.dtype(array.dtype)
    if dtype.kind in "TO" and len(array.shape) == 1 and _holds_texts(array):
        return ZarrTexts(array)
    if dtype.hasobject or not dtype.itemsize or dtype.kind == "T":
        raise FileFormatError(
            f"{name} holds {dtype} {array.shape[1:]}, which is neither numbers nor a text for each row"
        )
    return ZarrColumn(array)


def _holds_texts(array: Any) -> bool:
    """Return whether an array is of texts: zarr 2 has them as Python objects, and its filters tell."""
    if np.dtype(array.dtype).kind == "T":
        return True
    return any(getattr(one, "codec_id", "") == "vlen-utf8" for one in getattr(array, "filters", None) or ())

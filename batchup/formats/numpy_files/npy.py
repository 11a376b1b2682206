"""NumPy's .npy files: mapped, read block by block, and written item by item."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._npy_header import Header, check_size, read_header, told
from batchup._npy_rows import NpyRows
from batchup.errors import FileFormatError, InvalidValueError
from batchup.formats.checked import Checked, check_fixed, sides
from batchup.formats.columnar import ColumnarTable
from batchup.formats.numpy_files.npy_stream import NpyStream, checked_rows
from batchup.formats.opening import is_plain, opened
from batchup.formats.paths import found
from batchup.formats.table import Block, Field, Table, Write, block_rows, refuse
from batchup.formats.whole import whole_file


def read_npy(path: Any, mmap: bool = True) -> NDArray[Any]:
    """Read the array of an .npy file.

    Parameters
    ----------
    path : str or path-like
        Name of the file.
    mmap : bool, default True
        Whether to map it into memory, read-only, rather than to read it all now. A mapped file must not be cut short
        by others: that ends the program.

    Returns
    -------
    numpy.ndarray
        The array.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If it is damaged, or something else, or has Python objects in it, which might run programs when they are read.

    Examples
    --------
    >>> from batchup.formats import read_npy, write_npy
    >>> write_npy(([n, n * n] for n in range(4)), "squares.npy")
    >>> read_npy("squares.npy")[3]
    memmap([3, 9])
    """
    name, *others = found((path,))
    if others:
        raise InvalidValueError(
            f"{path} fits {len(others) + 1} files: read_npy reads one, open_table as many as there are"
        )
    with open(name, "rb") as file:
        header = read_header(file, name)
        check_size(header.size, os.fstat(file.fileno()).st_size, name)
        file.seek(0)
        with told(name):
            array: NDArray[Any] = np.load(name if mmap else file, mmap_mode="r" if mmap else None, allow_pickle=False)
    return array


def write_npy(items: Iterable[Any], path: Any) -> None:
    """Write an .npy file whose rows are the items, which are written as they come.

    Parameters
    ----------
    items : iterable
        Arrays, or numbers, all of one shape and dtype. If there are none, the file has no rows, and float64.
    path : str or path-like
        Name of the file. If it is there it is replaced, once the new one is whole.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an item is no array of numbers or strings, or differs from the first; the message names the item, counted
        from 0.

    Examples
    --------
    >>> from batchup.formats import read_npy, write_npy
    >>> write_npy((np.full(2, n, np.float32) for n in range(3)), "rows.npy")
    >>> read_npy("rows.npy", mmap=False)
    array([[0., 0.],
           [1., 1.],
           [2., 2.]], dtype=float32)
    """
    with whole_file(path) as file:
        column = NpyRows(file, "")
        for item in items:
            column.add(item)
        column.finish()


class NpyTable(Table):
    """The rows of an .npy file: one column, or one for each field of a structured dtype.

    A file on this machine that is not compressed is mapped, and its rows can be read in any order.

    Parameters
    ----------
    path : str
        Name or address of the file, which may be compressed.
    on_error : {'raise', 'skip'}, default 'raise'
        Whether a file that is cut short is an error, or the rows that are there are read.
    name : str, default 'x'
        What the column is called.

    Raises
    ------
    FileFormatError
        If the file is damaged, or something else, or has Python objects in it, or a single value.
    """

    def __init__(self, path: str, *, on_error: str = "raise", name: str = "x") -> None:
        self._name = name
        self._mapped: ColumnarTable | None = None
        with opened(path) as file:
            header = checked_rows(read_header(file, path), path)
        super().__init__(path, _fields(header, name, path), header.shape[0], on_error=on_error)
        if is_plain(path):
            self._mapped = self._map(header)
            self.rows = self._mapped.rows

    def blocks(self, names: Sequence[str] | None = None) -> Iterator[Block]:
        chosen = self.chosen(names)
        if self._mapped is not None:
            yield from self._mapped.blocks(chosen)
            return
        with opened(self.path) as file:
            stream, step, left = NpyStream(file, self.path), block_rows(self.fields), self.rows or 0
            while left:
                array, error = stream.read(min(step, left))
                columns = _columns(array, self._name)
                yield {column: np.ascontiguousarray(columns[column]) for column in chosen}
                if error is not None:
                    self.problem(error)
                    return
                left -= len(array)

    def columns(self) -> dict[str, Any] | None:
        return None if self._mapped is None else self._mapped.columns()

    def _map(self, header: Header) -> ColumnarTable:
        """Return the columns over the mapped file, as far as it goes."""
        there = os.path.getsize(self.path)
        rows, shape = header.shape[0], header.shape[1:]
        try:
            check_size(header.size, there, self.path)
        except FileFormatError as error:
            self.problem(error)
            one = (header.size - header.start) // max(1, rows)
            if one and there < header.size:
                rows = 0 if header.fortran_order and shape else (there - header.start) // one
        array: NDArray[Any] = np.empty((rows, *shape), header.dtype)
        if array.nbytes:
            order = "F" if header.fortran_order else "C"
            with told(self.path):
                array = np.memmap(self.path, header.dtype, "r", header.start, (rows, *shape), order)  # type: ignore[call-overload]
        return ColumnarTable(self.path, _columns(array, self._name), self.fields)


def _fields(header: Header, name: str, path: str) -> dict[str, Field]:
    inner, dtype = header.shape[1:], header.dtype
    if dtype.names is None:
        return {name: Field(dtype, inner)}
    parts = {part: dtype[part] for part in dtype.names}
    if empty := [part for part, kind in parts.items() if not kind.base.itemsize]:
        raise FileFormatError(f"{path}: the fields {empty} of {dtype} hold values of no size")
    return {part: Field(kind.base, (*inner, *kind.shape)) for part, kind in parts.items()}


def _columns(array: NDArray[Any], name: str) -> dict[str, NDArray[Any]]:
    return {name: array} if array.dtype.names is None else {part: array[part] for part in array.dtype.names}


@contextlib.contextmanager
def npy_sink(
    path: Any, fields: Mapping[str, Field], *, rows: int | None = None, meta: dict[str, Any] | None = None
) -> Iterator[Write]:
    """Open an .npy file for the rows of one column; its name, and `meta`, are not kept.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If there are several columns, or it is none of numbers or strings of one size.
    """
    if len(fields) != 1:
        raise InvalidValueError(
            f"an .npy file holds one column, got {list(fields)}: write an .npz file, or choose one of them"
        )
    check_npy_fields(fields)
    ((name, field),) = fields.items()
    if field.dtype.names is not None:
        refuse("an .npy file is read with a column for each field of a structured dtype", name, field, "write .npz")
    checked = Checked(fields, rows)
    with whole_file(path) as file:
        column = begun(file, field)

        def put(block: Block) -> None:
            checked.take(block)
            column.extend(block[name])

        yield put
        checked.finish()
        column.finish()


def check_npy_fields(fields: Mapping[str, Field]) -> None:
    """Refuse columns that are no arrays."""
    check_fixed(
        fields,
        ".npy and .npz files hold arrays of values of one size",
        "give it a length with dtypes={name: 'U<length>'}, or write Parquet, HDF5 or CSV",
        "pad it to one shape, or write a record file, Parquet or HDF5",
    )


def begun(file: Any, field: Field) -> NpyRows:
    """Return an .npy file without rows, which are to be of a field."""
    column = NpyRows(file)
    column.extend(np.empty((0, *sides(field)), field.dtype))
    return column

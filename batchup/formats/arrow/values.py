"""Blocks as Arrow's tables, and back: the values of columns, without a copy where that can be."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchup.columns import Ragged
from batchup.errors import FileFormatError, InvalidValueError
from batchup.formats.arrow.types import element_of, is_list, may_lack, plain_type, pyarrow, storage_of
from batchup.formats.table import BYTES, TEXT, Block, Field, objects

SIDES = Field(np.dtype(np.int64))  # of what shapes are made
MOST_DAYS = 2**31  # from 1970 on or before, that Arrow's dates reach


class Place(NamedTuple):
    """Where values come from, for messages.

    Attributes
    ----------
    path, name : str
        Of the file and of the column.
    first : int
        The row of the first one.
    rows : ndarray of int, optional
        The rows of all, if they do not follow one another.
    """

    path: str
    name: str
    first: int = 0
    rows: NDArray[np.intp] | None = None

    def error(self, row: int, what: str) -> FileFormatError:
        """Return the error over one of the values."""
        number = self.first + row if self.rows is None else int(self.rows[row])
        return FileFormatError(f"{self.path}: row {number:,}, column {self.name!r}: {what}")


def table_of(block: Block, fields: Mapping[str, Field], schema: Any) -> Any:
    """Return a block, which is what the fields say, as a `pyarrow.Table`.

    Raises
    ------
    InvalidValueError
        If Arrow cannot hold a value: a text that is no Unicode, a date too far away.
    """
    pa = pyarrow()
    arrays = []
    for name, field in fields.items():
        try:
            arrays.append(_array_of(block[name], field))
        except (pa.ArrowException, UnicodeError, OverflowError) as error:
            raise InvalidValueError(
                f"column {name!r}, which is {field}, has a value that cannot be kept: {error}"
            ) from error
    return pa.Table.from_arrays(arrays, schema=schema)


def _array_of(values: Any, field: Field) -> Any:
    pa = pyarrow()
    kind = storage_of(field)
    if pa.types.is_null(kind):
        return pa.nulls(len(values))
    if field.dtype in (TEXT, BYTES):
        return pa.array(values.astype(object, copy=False), kind)
    if field.fixed:
        return _lists(values, kind)
    if field.ragged:
        whole = values.compact()
        return _list(whole.offsets, _lists(whole.values, kind.value_type), kind)
    sides = np.array([value.shape for value in values], np.int64).reshape(-1, len(field.shape))
    flat = [value.reshape(-1) for value in values]
    joined = np.concatenate(flat) if flat else np.empty(0, field.dtype)
    width = (element_of(field.dtype) or (None, 1))[1]
    offsets = np.concatenate([[0], np.cumsum([len(value) * width for value in flat], dtype=np.int64)])
    parts = [_lists(sides, kind.field(0).type), _list(offsets, _elements(joined), kind.field(1).type)]
    return pa.StructArray.from_arrays(parts, fields=[kind.field(0), kind.field(1)])


def _list(offsets: NDArray[np.int64], values: Any, kind: Any) -> Any:
    if offsets[-1] >= 2**31:
        raise OverflowError(f"{offsets[-1]:,} elements in a block of rows, which can be {2**31 - 1:,}")
    return pyarrow().ListArray.from_arrays(pyarrow().array(offsets.astype(np.int32)), values, type=kind)


def _lists(values: NDArray[Any], kind: Any) -> Any:
    """Return arrays of one shape as lists of one length, or as what stands for them; scalars as they are."""
    pa = pyarrow()
    flat = _elements(np.ascontiguousarray(values).reshape(-1))
    plain = plain_type(kind)
    if not pa.types.is_fixed_size_list(plain):
        return flat
    lists = pa.FixedSizeListArray.from_arrays(flat, type=plain)
    return lists if plain is kind else pa.ExtensionArray.from_storage(kind, lists)


def _elements(flat: NDArray[Any]) -> Any:
    pa = pyarrow()
    dtype = flat.dtype
    if not dtype.isnative:
        flat = flat.astype(dtype.newbyteorder("="))
    if dtype.kind == "c":
        flat = flat.view(f"f{dtype.itemsize // 2}")
    kind, _ = element_of(dtype) or (None, 1)
    if pa.types.is_date32(kind):
        return _days(flat)
    if pa.types.is_int64(kind) and dtype.kind in "mM":
        return pa.array(flat.view(np.int64))
    if dtype.kind in "US":
        flat = flat.astype(object)  # else Arrow would cut them at the first NUL
    return pa.array(flat, kind)


def _days(dates: NDArray[Any]) -> Any:
    days, missing = dates.view(np.int64), np.isnat(dates)
    far = ~missing & ((days < -MOST_DAYS) | (days >= MOST_DAYS))
    if far.any():
        raise OverflowError(f"{days[far][0]:,} days from 1970; cast it to datetime64[s]")
    return pyarrow().array(np.where(missing, 0, days).astype(np.int32), pyarrow().date32(), mask=missing)


def missing_rows(array: Any, field: Field) -> NDArray[np.bool_] | None:
    """Return which rows of an Arrow array have no value, or one that lacks a part, where NumPy cannot say so.

    None if there is no such row.
    """
    pa = pyarrow()
    array = plain(array)
    kind = array.type
    if pa.types.is_null(kind):
        return None
    nested = is_list(kind) or pa.types.is_struct(kind)
    found = np.zeros(len(array), bool)
    if array.null_count and (nested or not may_lack(field.dtype)):
        found |= np.asarray(array.is_null())
    if is_list(kind):
        offsets, child = list_parts(array)
        places = np.flatnonzero(_or_none(missing_rows(child, field), len(child)))
        found[np.searchsorted(offsets, places, "right") - 1] = True
    elif pa.types.is_fixed_size_list(kind):
        child = fixed_values(array)
        lacking = _or_none(missing_rows(child, field), len(child))
        found |= lacking.reshape(len(array), kind.list_size).any(1)
    elif pa.types.is_struct(kind):
        for part, what in zip(array.flatten(), (SIDES, field), strict=True):
            found |= _or_none(missing_rows(part, what), len(part))
    return found if found.any() else None


def no_value(field: Field) -> str:
    """Return what is said of a value that is not there."""
    return f"there is no value (null), or part of one, which {field} cannot say: fill it in, or leave the row out"


def _or_none(found: NDArray[np.bool_] | None, count: int) -> NDArray[np.bool_]:
    return np.zeros(count, bool) if found is None else found


def values_of(array: Any, field: Field, place: Place) -> Any:
    """Return the values of an Arrow array, as they stand in a block.

    Raises
    ------
    FileFormatError
        If one is not there, or is not what the field says.
    """
    missing = missing_rows(array, field)
    if missing is not None:
        raise place.error(int(missing.argmax()), no_value(field))
    try:
        return _values(plain(array), field, place)
    except _BadElementError as error:
        raise place.error(error.row, str(error)) from None


def _values(array: Any, field: Field, place: Place) -> Any:
    pa = pyarrow()
    if pa.types.is_null(array.type):
        return np.empty((len(array), *field.shape), field.dtype)
    if field.fixed or field.dtype in (TEXT, BYTES):
        return _flat(array, field.dtype).reshape(len(array), *field.shape)
    if pa.types.is_struct(array.type):
        return _loose(array, field, place)
    if not field.ragged:
        return _nested(array, field, place)
    offsets, child = list_parts(array)
    return Ragged(_flat(child, field.dtype, offsets).reshape(-1, *field.shape[1:]), offsets)


def plain(array: Any) -> Any:
    """Return the values that an extension or a dictionary stands for."""
    pa = pyarrow()
    while True:
        if isinstance(array, pa.ExtensionArray):
            array = array.storage
        elif pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        else:
            return array


def list_parts(array: Any) -> tuple[NDArray[Any], Any]:
    """Return where in their elements lists of any length begin and end, and these elements."""
    offsets = array.offsets.to_numpy()
    first, last = int(offsets[0]), int(offsets[-1])
    return offsets - first, array.values.slice(first, last - first)


def fixed_values(array: Any) -> Any:
    """Return the elements of lists of one length, of those too that are null."""
    size = array.type.list_size
    return array.values.slice(array.offset * size, len(array) * size)


class _BadElementError(ValueError):
    """An element is not what its column was said to hold.

    Parameters
    ----------
    index : int
        Its number.
    what : str
        What is wrong with it.
    """

    def __init__(self, index: int, what: str) -> None:
        super().__init__(what)
        self.row = index


def _flat(array: Any, dtype: np.dtype[Any], offsets: NDArray[Any] | None = None) -> NDArray[Any]:
    """Return the elements of an array, or of the lists of one length in it, one behind the other.

    With `offsets`, they are those of longer lists, by which errors are counted.
    """
    pa = pyarrow()
    rows, missing = len(array), np.zeros(0, bool)
    while pa.types.is_fixed_size_list(array.type):
        if array.null_count or len(missing):
            missing = _or_none(missing if len(missing) else None, len(array)) | np.asarray(array.is_null())
            missing = np.repeat(missing, array.type.list_size)
        array = plain(fixed_values(array))
    try:
        values = _numbers(array, dtype)
    except _BadElementError as error:
        row = error.row * rows // len(array)
        error.row = row if offsets is None else int(np.searchsorted(offsets, row, "right")) - 1
        raise
    if len(missing):
        values = values.copy()
        values[missing] = np.nan if dtype.kind in "fc" else np.array("NaT", dtype)
    return values.view(dtype) if dtype.kind == "c" else values


def _numbers(array: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return the elements of an array; complex ones as two floats each."""
    pa = pyarrow()
    kind = array.type
    if dtype.kind in "US":
        return _texts(array, dtype)
    if pa.types.is_time(kind):
        array = (
            array.cast(pa.int32() if kind.bit_width == 32 else pa.int64()).cast(pa.int64()).cast(pa.duration(kind.unit))
        )
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False)
    if dtype.kind in "mM" and values.dtype.kind == "i":
        values = values.view(np.int64).view(dtype.newbyteorder("="))
    if dtype.kind == "c":
        dtype = np.dtype(f"{dtype.byteorder}f{dtype.itemsize // 2}")
    return values.astype(dtype, copy=False)


def _texts(array: Any, dtype: np.dtype[Any]) -> NDArray[Any]:
    """Return texts or bytes; of a dtype of a length in such an array, if they are not longer."""
    try:
        texts = np.asarray(array.to_numpy(zero_copy_only=False), object)
    except UnicodeDecodeError as error:
        raise _BadElementError(_first_undecodable(array), f"it is no text: {error}") from None
    if not dtype.itemsize:
        return texts
    most = dtype.itemsize // (4 if dtype.kind == "U" else 1)
    lengths = np.fromiter(map(len, texts), np.int64, len(texts))
    if len(texts) and lengths.max() > most:
        what = f"a text of {lengths.max():,} letters, where {dtype} was promised"
        raise _BadElementError(int(lengths.argmax()), what)
    return texts.astype(dtype)


def _first_undecodable(array: Any) -> int:
    for index, text in enumerate(array.cast(pyarrow().large_binary()).to_numpy(zero_copy_only=False)):
        try:
            text.decode()
        except UnicodeDecodeError:
            return index
    return 0


def _loose(array: Any, field: Field, place: Place) -> Any:
    """Return arrays of different shapes, which are kept as their shapes and their elements."""
    sides, lists = (plain(part) for part in array.flatten())
    shapes = _flat(sides, SIDES.dtype).reshape(len(array), len(field.shape)).tolist()
    offsets, child = list_parts(lists)
    width = (element_of(field.dtype) or (None, 1))[1]
    flat = _flat(child, field.dtype, offsets // width)
    found = []
    for row, shape in enumerate(shapes):
        start, stop = divmod(int(offsets[row]), width), divmod(int(offsets[row + 1]), width)
        fits = all(wanted in (None, side) for wanted, side in zip(field.shape, shape, strict=True))
        if min(shape) < 0 or not fits or start[1] or stop[1] or math.prod(shape) != stop[0] - start[0]:
            raise place.error(row, f"{stop[0] - start[0]:,} elements are no {field.dtype} of the shape {tuple(shape)}")
        found.append(flat[start[0] : stop[0]].reshape(shape))
    return objects(found)


def _nested(array: Any, field: Field, place: Place) -> Any:
    """Return arrays of different shapes, which are kept as lists of lists."""
    levels = []
    for _ in field.shape:
        offsets, array = list_parts(plain(array))
        levels.append(offsets)
    flat = _flat(plain(array), field.dtype)
    found = []
    for row in range(len(levels[0]) - 1):
        first, last, shape = row, row + 1, []
        for offsets in levels:
            bounds = offsets[first : last + 1]
            lengths = np.diff(bounds)
            if len(lengths) and (lengths != lengths[0]).any():
                raise place.error(row, "its lists are not equally long, so that they are no array")
            shape.append(int(lengths[0]) if len(lengths) else 0)
            first, last = int(bounds[0]), int(bounds[-1])
        found.append(flat[first:last].reshape(shape))
    return objects(found)

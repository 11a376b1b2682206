"""Rows written to HDF5 files: a dataset for each column, which other programs read too."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from batchup._extras import required
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats.checked import Checked, as_json, sides
from batchup.formats.growing import Growing
from batchup.formats.hdf5.columns import OFFSETS, VALUES
from batchup.formats.packed import packed, utf8
from batchup.formats.rows import write
from batchup.formats.table import BYTES, TEXT, Block, Field, Write, objects, refuse
from batchup.formats.whole import unfinished_file
from batchup.sequences.hdf5_file import attribute, check_hdf5_elements

TABLE, META = "batchup_table", "batchup_meta"  # root attributes: the version, and JSON
COLUMN, KIND = "batchup_column", "batchup_dtype"  # of columns: their number, and what stored values stand for
VERSION = 1
CHUNK = 2**20  # bytes of a chunk, about
MOST_META = 60_000  # bytes, which HDF5 has in one attribute
COMPRESSIONS = (None, "gzip", "lzf")


def write_hdf5(
    items: Iterable[Any], path: Any, meta: dict[str, Any] | None = None, compression: str | None = None
) -> None:
    """Write an HDF5 file with a dataset for each key, whose rows come from the items.

    Texts are stored as UTF-8. What HDF5 has not, it holds as something else, with an attribute that tells: dates as
    integers, texts of one size (``U``) as strings of a fixed size. Bytes of any length, and arrays whose first sides
    differ, become a group with a dataset ``values``, all of them one behind the other, and one ``offsets``: row i is
    ``values[offsets[i]:offsets[i + 1]]``.

    Parameters
    ----------
    items : iterable of dict or tuple
        The rows, all with the same keys (the parts of tuples are called ``arr_0``, ``arr_1``, ...). A key
        ``"group/name"`` is a dataset in a group.
    path : str or path-like
        Name of the file. If it is there it is replaced, once the new one is whole.
    meta : dict, optional
        What else is to be kept: what JSON can hold.
    compression : {None, 'gzip', 'lzf'}
        How to compress the chunks.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an item is no row, or differs from the first ones, or holds what HDF5 cannot.
    MissingExtraError
        If h5py is not installed.

    Examples
    --------
    >>> from batchup.formats import read_hdf5, write_hdf5
    >>> write_hdf5([{"tokens": [5, 6, 7], "label": 1}, {"tokens": [8], "label": 0}], "tokens.h5")
    >>> read_hdf5("tokens.h5")["tokens"].gather(np.array([1, 0])).tolist()
    [[8], [5, 6, 7]]
    """
    write(items, hdf5_sink, path, meta=meta, compression=compression)


@contextlib.contextmanager
def hdf5_sink(
    path: Any,
    fields: Mapping[str, Field],
    *,
    rows: int | None = None,
    meta: dict[str, Any] | None = None,
    compression: str | None = None,
) -> Iterator[Write]:
    """Open an HDF5 file for rows: in one piece, if their number is known, else in chunks of about 1 MiB.

    Parameters
    ----------
    path, fields, rows, meta
        As for any `Sink`.
    compression
        As for `write_hdf5`.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If HDF5 cannot hold a column, or have it by its name.
    """
    required("h5py", "hdf5", "writing HDF5 files")
    if compression not in COMPRESSIONS:
        raise InvalidValueError(f"compression must be one of {COMPRESSIONS}, got {compression!r}")
    kinds = {name: _kind_of(name, field) for name, field in fields.items()}
    _check_names([(name, (VALUES, OFFSETS) if kinds[name] is _Sequences else ()) for name in fields])
    text, checked, blame = _encoded(meta), Checked(fields, rows), _Blame()
    with unfinished_file(path) as unfinished, blame.cleared(), unfinished.hdf5() as file:
        file.attrs[TABLE] = VERSION
        if text:
            file.attrs[META] = np.bytes_(text)
        columns = {name: kinds[name](file, name, field, rows, compression) for name, field in fields.items()}

        def put(block: Block) -> None:
            with blame.ours():
                first = checked.take(block)
                for name, values in block.items():
                    columns[name].put(values, first)

        with blame.theirs():
            yield put
        checked.finish()
        for number, column in enumerate(columns.values()):
            column.finish().attrs[COLUMN] = number


class _Blame:
    """Tells the caller's errors from those of a block that is written: they are not that HDF5 cannot write the file."""

    def __init__(self) -> None:
        self._ours: list[BaseException] = []
        self._theirs: list[BaseException] = []

    @contextlib.contextmanager
    def ours(self) -> Iterator[None]:
        """Note an error as ours."""
        try:
            yield
        except BaseException as error:
            self._ours.append(error)
            raise

    @contextlib.contextmanager
    def theirs(self) -> Iterator[None]:
        """Note an error as the caller's, unless it is ours."""
        try:
            yield
        except BaseException as error:
            self._theirs += [] if error in self._ours else [error]
            raise

    @contextlib.contextmanager
    def cleared(self) -> Iterator[None]:
        """Raise the caller's error instead of what was made of it."""
        try:
            yield
        except FileFormatError:
            if self._theirs:
                raise self._theirs[0] from None
            raise


def meta_of(file: Any, path: str) -> dict[str, Any]:
    """Return what was to be kept with the columns of a file."""
    stored = attribute(file, META, path)
    found = {} if stored is None else json.loads(bytes(stored))
    if not isinstance(found, dict):
        raise FileFormatError(f"{path} is damaged: its attribute {META!r} must be an object in JSON")
    return found


class _Numbers:
    """A dataset of values of one size.

    Parameters
    ----------
    file : h5py.File
        Where it is made.
    name : str
        Its name.
    field : Field
        What its values are.
    rows : int or None
        How many there will be.
    compression : str or None
        How chunks are compressed.
    """

    def __init__(self, file: Any, name: str, field: Field, rows: int | None, compression: str | None) -> None:
        self.name = name
        self.field = field
        self._file, self._compression = file, compression
        self._whole: Any = None
        if rows is not None and (compression is None or rows == 0):
            self._whole = file.create_dataset(name, (rows, *sides(field)), self.stored())
        self._growing = Growing(self._made, max(1, CHUNK // max(1, field.row_bytes)))

    def put(self, values: Any, first: int) -> None:
        """Write rows from a place on."""
        if self._whole is None:
            self._growing.put(values)
        elif values.size:
            self._whole[first : first + len(values)] = values

    def finish(self) -> Any:
        """Write what waits, and return the dataset."""
        return self._growing.finish() if self._whole is None else self._whole

    def stored(self) -> Any:
        """Return the dtype in the file."""
        return self.field.dtype

    def _made(self, rows: int) -> Any:
        inner = sides(self.field)
        # HDF5 has no chunks with a side of no length
        chunks, most = (rows, *(max(1, side) for side in inner)), (None, *(side or None for side in inner))
        return self._file.create_dataset(
            self.name, (0, *inner), self.stored(), maxshape=most, chunks=chunks, compression=self._compression
        )


class _Dates(_Numbers):
    """A dataset of dates or of times between them, as integers."""

    def put(self, values: Any, first: int) -> None:
        super().put(values.view(self.stored()), first)

    def finish(self) -> Any:
        dataset = super().finish()
        dataset.attrs[KIND] = np.bytes_(self.field.dtype.str)
        return dataset

    def stored(self) -> Any:
        return np.dtype("i8").newbyteorder(self.field.dtype.str[0])


class _Strings(_Dates):
    """A dataset of texts of one size, as UTF-8."""

    def put(self, values: Any, first: int) -> None:
        try:
            encoded = np.char.encode(values, "utf-8").astype(f"S{self.field.dtype.itemsize}")
        except UnicodeEncodeError as error:
            raise InvalidValueError(f"rows from {first} on: {self.name!r}: {error}") from None
        # NumPy 1.26 gives arrays without elements one side only
        _Numbers.put(self, encoded.reshape(values.shape).astype(self.stored()), first)

    def stored(self) -> Any:
        h5py = required("h5py", "hdf5", "writing HDF5 files")
        return h5py.string_dtype("utf-8", self.field.dtype.itemsize)  # UTF-8 takes 4 bytes a character at most


class _Texts(_Numbers):
    """A dataset of texts of any length."""

    def put(self, values: Any, first: int) -> None:
        encoded = utf8(values.tolist(), self.name, first)
        for number, value in enumerate(encoded, first):
            if b"\0" in value:
                raise InvalidValueError(
                    f"row {number}: {self.name!r} has a zero character, at which a text of HDF5 ends: write the column "
                    "as bytes, or to Parquet"
                )
        super().put(objects(encoded), first)

    def stored(self) -> Any:
        return required("h5py", "hdf5", "writing HDF5 files").string_dtype()


class _Sequences:
    """A group of all values of sequences, and of where each begins; bytes are sequences of numbers."""

    def __init__(self, file: Any, name: str, field: Field, rows: int | None, compression: str | None) -> None:
        self._bytes = field.dtype == BYTES
        element = Field(np.dtype(np.uint8)) if self._bytes else Field(field.dtype, field.shape[1:])
        self._group = file.create_group(name)
        self._values = _Numbers(file, f"{name}/{VALUES}", element, None, compression)
        self._offsets = _Numbers(file, f"{name}/{OFFSETS}", Field(np.dtype(np.int64)), None, compression)
        self._offsets.put(np.zeros(1, np.int64), 0)
        self._end = 0

    def put(self, values: Any, first: int) -> None:
        """Write rows from a place on."""
        ragged = packed(values.tolist()) if self._bytes else values
        elements = ragged.values
        self._values.put(elements, self._end)
        self._offsets.put(self._end + ragged.offsets[1:], first + 1)
        self._end += len(elements)

    def finish(self) -> Any:
        """Write what waits, and return the group."""
        self._values.finish()
        self._offsets.finish()
        self._group.attrs[KIND] = np.bytes_("bytes" if self._bytes else "ragged")
        return self._group


def _kind_of(name: str, field: Field) -> Any:
    """Return what writes a column; an error if HDF5 cannot hold it."""
    what = "HDF5 files hold numbers, strings, dates, and sequences whose first side differs"
    if field.shape == () and field.dtype in (TEXT, BYTES):
        return _Texts if field.dtype == TEXT else _Sequences
    if not (field.fixed or field.ragged) or not field.dtype.itemsize:
        refuse(what, name, field, "flatten it, and write the shapes as a column, or write Parquet")
    if field.fixed and field.dtype.kind in "MmU":
        return _Strings if field.dtype.kind == "U" else _Dates
    try:
        check_hdf5_elements(field.dtype)
    except InvalidTypeError:
        refuse(what, name, field, "view it as integers, or write .npz")
    return _Numbers if field.fixed else _Sequences


def _check_names(columns: list[tuple[str, tuple[str, ...]]]) -> None:
    """Raise if HDF5 cannot have columns by their names, or one lies in another."""
    groups: set[str] = set()
    datasets: set[str] = set()
    for name, inner in columns:
        parts = name.split("/")
        if "\0" in name or {"", ".", ".."} & set(parts) or name.encode(errors="ignore").decode() != name:
            raise InvalidValueError(f"HDF5 cannot have a dataset called {name!r}: rename the column")
        groups.update("/".join(parts[:end]) for end in range(1, len(parts)))
        datasets.add(name)
        datasets.update(f"{name}/{part}" for part in inner)
    if both := groups & datasets:
        raise InvalidValueError(f"HDF5 cannot have {sorted(both)} as columns and as groups: rename them")


def _encoded(meta: dict[str, Any] | None) -> bytes:
    text = as_json(meta).encode() if meta else b""
    if len(text) > MOST_META:
        raise InvalidValueError(f"an HDF5 file takes up to {MOST_META} bytes of meta, got {len(text)}: leave some out")
    return text

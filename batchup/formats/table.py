"""The contract of files of any format: rows of named columns, read and written block by block."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import TracebackType
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from batchup.columns import Ragged
from batchup.data_source import ArrayDataSource
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError, UnsupportedError

# Some rows, by the names of the columns, each of them as its `Field` says:
#   one shape for all values      an ndarray, shape (rows, *shape)
#   texts or bytes of any length  an ndarray of dtype object, shape (rows,), of str or bytes
#   only the first side differs   a Ragged
#   more sides than that differ   an ndarray of dtype object, shape (rows,), of ndarrays
Block: TypeAlias = dict[str, Any]
Write: TypeAlias = Callable[[Block], None]

TEXT, BYTES = np.dtype("U"), np.dtype("S")
BLOCK = 8 * 2**20  # bytes of rows that are best read and written together
MOST_ROWS = 2**16  # in a block
GUESSED = 256  # bytes of a value whose size is not known before it is read
ON_ERROR = ("raise", "skip")


class Field(NamedTuple):
    """What the values of a column are.

    Attributes
    ----------
    dtype : numpy.dtype
        Of their elements. ``np.dtype("U")`` and ``np.dtype("S")``, without a length, are texts and bytes of any length,
        which are Python's `str` and `bytes`.
    shape : tuple of int or None
        Of a value; None for a side that is not the same for all.

    Examples
    --------
    >>> str(Field(np.dtype("f4"), (28, 28))), str(Field(np.dtype("U"))), str(Field(np.dtype("i2"), (None,)))
    ('float32 (28, 28)', 'str', 'int16 (*,)')
    """

    dtype: np.dtype[Any]
    shape: tuple[int | None, ...] = ()

    @property
    def fixed(self) -> bool:
        """Whether all values take the same number of bytes."""
        return self.dtype.itemsize > 0 and None not in self.shape

    @property
    def ragged(self) -> bool:
        """Whether only the first side differs."""
        return self.shape[:1] == (None,) and None not in self.shape[1:]

    @property
    def row_bytes(self) -> int:
        """How many bytes a value takes; a guess where they differ."""
        if not self.fixed:
            return GUESSED
        sides = [side or 0 for side in self.shape]
        return int(np.prod(sides, dtype=np.int64)) * self.dtype.itemsize

    def __str__(self) -> str:
        name = {TEXT: "str", BYTES: "bytes"}.get(self.dtype, str(self.dtype))
        sides = ["*" if side is None else str(side) for side in self.shape]
        return f"{name} ({', '.join(sides)}{',' * (len(sides) == 1)})" if sides else name


class Table(ABC):
    """The rows of one file, or of what is one data set: named columns, read block by block.

    A table of your own provides `blocks`, and `columns` where rows can be read in any order. Use it as a context
    manager, or call `close`.

    Parameters
    ----------
    path : str
        Its name or address, for messages.
    fields : mapping of str to Field
        The columns.
    rows : int, optional
        How many rows there are; None if that is known only when all are read.
    meta : dict, optional
        What else the file says, as JSON can hold it.
    on_error : {'raise', 'skip'}, default 'raise'
        Whether what is damaged is an error, or left out and noted in `problems`.

    Attributes
    ----------
    problems : list of FileFormatError
        What has been left out, each once, however often the rows are read.
    checksums : bool
        Whether `blocks` or `check` would notice if what was written has changed.
    bytes_done, bytes_total : int, int or None
        How far `blocks` has come, in bytes of the file, for formats whose `rows` are not known.
    """

    checksums = False  # whether it is noticed if what was written has changed

    def __init__(
        self,
        path: str,
        fields: Mapping[str, Field],
        rows: int | None = None,
        meta: dict[str, Any] | None = None,
        on_error: str = "raise",
    ) -> None:
        if on_error not in ON_ERROR:
            raise InvalidValueError(f"on_error must be 'raise' or 'skip', got {on_error!r}")
        self.path = path
        self.fields = dict(fields)
        self.rows = rows
        self.meta = {} if meta is None else meta
        self.on_error = on_error
        self.problems: list[FileFormatError] = []
        self._noted: set[str] = set()
        self.bytes_done = 0
        self.bytes_total: int | None = None

    @abstractmethod
    def blocks(self, names: Sequence[str] | None = None) -> Iterator[Block]:
        """Yield all rows in their order, some at a time, each time anew.

        Parameters
        ----------
        names : sequence of str, optional
            The columns that are wanted, in this order; all by default. See `chosen`.

        Raises
        ------
        FileFormatError
            If something is damaged, or not what the fields say; naming the file, the row, and the column.
        """

    def columns(self) -> dict[str, Any] | None:
        """Return the columns as array-likes that gather; None if rows can be read one after the other only."""
        return None

    def check(self) -> Iterator[FileFormatError]:
        """Yield what is not as it was written, though it can be read: what only checksums tell."""
        yield from ()

    def close(self) -> None:  # noqa: B027  many have nothing to do
        """Let go of what is open; columns that were handed out stay valid."""

    def data_source(self, names: Sequence[str] | None = None, **kwargs: Any) -> ArrayDataSource:
        """Return a data source over the rows, whose batches are dicts.

        Parameters
        ----------
        names : sequence of str, optional
            The columns that are wanted; all by default.
        **kwargs
            As for `ArrayDataSource`.

        Raises
        ------
        UnsupportedError
            If rows can be read one after the other only.
        """
        columns = self.columns()
        if columns is None:
            raise UnsupportedError(
                f"{self.path} can be read from front to back only: batchup.Dataset.read reads it so, and "
                "batchup convert makes a file of it that can be read in any order (.hsq, .npz, .parquet, .h5)"
            )
        return ArrayDataSource({name: columns[name] for name in self.chosen(names)}, **kwargs)

    def chosen(self, names: Sequence[str] | None) -> list[str]:
        """Return the names of the columns that are wanted.

        Raises
        ------
        InvalidValueError
            If there is none of such a name.
        """
        if names is None:
            return list(self.fields)
        if isinstance(names, str):
            raise InvalidTypeError(f"columns must be a sequence of str, got {names!r}")
        if len(set(names)) < len(names):
            raise InvalidValueError(f"columns must name each column once, got {list(names)}")
        if missing := [name for name in names if name not in self.fields]:
            raise InvalidValueError(f"{self.path} has no columns {missing}: it has {list(self.fields)}")
        return list(names)

    def problem(self, error: FileFormatError) -> None:
        """Raise an error, or note it if what is damaged is to be left out."""
        if self.on_error == "raise":
            raise error
        if str(error) not in self._noted:  # rows may be read again
            self._noted.add(str(error))
            self.problems.append(error)

    def __enter__(self) -> Any:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        rows = "rows" if self.rows is None else f"{self.rows} rows"
        return f"<{type(self).__name__} {self.path!r}: {rows} of {shown(self.fields)}>"


def shown(fields: Mapping[str, Field]) -> str:
    """Return fields as messages show them.

    >>> shown({"x": Field(np.dtype("f4"), (2,)), "y": Field(np.dtype("i8"))})
    'x: float32 (2,), y: int64'
    """
    return ", ".join(f"{name}: {field}" for name, field in fields.items())


def block_rows(fields: Mapping[str, Field]) -> int:
    """Return how many rows make a block.

    >>> block_rows({"x": Field(np.dtype("u1"), (1024, 1024))}), block_rows({"y": Field(np.dtype("i8"))})
    (8, 65536)
    """
    size = sum(field.row_bytes for field in fields.values())
    return max(1, min(MOST_ROWS, BLOCK // max(1, size)))


def length_of(block: Block) -> int:
    """Return the number of rows in a block."""
    return len(next(iter(block.values()))) if block else 0


def fields_of(block: Block) -> dict[str, Field]:
    """Return what a block is made of, as far as it tells.

    >>> shown(fields_of({"x": np.zeros((2, 3)), "y": Ragged.of([[1], [2, 3]]), "z": objects(["a", "b"])}))
    'x: float64 (3,), y: int64 (*,), z: str'
    """
    return {name: _field_of(values) for name, values in block.items()}


def _field_of(values: Any) -> Field:
    if isinstance(values, Ragged):
        return Field(values.dtype, (None, *values.inner_shape))
    if values.dtype != object:
        return Field(values.dtype, values.shape[1:])
    for value in values:
        if isinstance(value, np.ndarray):
            return Field(value.dtype, (None,) * value.ndim)
        return Field(BYTES if isinstance(value, bytes) else TEXT)
    return Field(TEXT)


def objects(values: Sequence[Any]) -> Any:
    """Return an array of dtype object of str, bytes or arrays."""
    array = np.empty(len(values), object)
    for number, value in enumerate(values):
        array[number] = value
    return array


def part_of(block: Block, start: int, stop: int) -> Block:
    """Return some rows of a block; they may lie in the same memory."""
    return {name: values[start:stop] for name, values in block.items()}


def refuse(what: str, name: str, field: Field, instead: str) -> None:
    """Raise the error for a column that a format cannot hold.

    It tells `what` the format holds, and what to do `instead`.

    Raises
    ------
    InvalidTypeError
        Always.
    """
    raise InvalidTypeError(f"{what}; column {name!r} is {field}: {instead}")

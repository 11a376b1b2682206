"""What reading Parquet and Arrow files has in common: their bytes, their blocks, and what is told of damage."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.columns.files import check_file_status, file_status
from batchup.errors import BatchUpError, FileFormatError
from batchup.formats.arrow.types import pyarrow
from batchup.formats.arrow.values import Place, missing_rows, no_value, values_of
from batchup.formats.many import Opener
from batchup.formats.opening import seekable
from batchup.formats.rows import read
from batchup.formats.table import Block, Field, Table
from batchup.remote.addresses import is_remote

Status = tuple[int, int]


def source_of(path: str, mapped: bool = False) -> Any:
    """Open a file, here or elsewhere, as Arrow reads it; one that is here may be mapped into memory.

    Raises
    ------
    FileNotFoundError, IsADirectoryError
        If there is no such file.
    """
    if not is_local(path):
        return pyarrow().PythonFile(seekable(path), "r")
    if os.path.isdir(path):
        raise IsADirectoryError(errno.EISDIR, "it is a folder: name files, or a pattern such as folder/*", path)
    if not os.path.exists(path):
        raise FileNotFoundError(errno.ENOENT, "there is no such file", path)
    if mapped and not os.path.getsize(path):
        raise FileFormatError(f"{path} is empty")
    return pyarrow().memory_map(path) if mapped else pyarrow().OSFile(path)


def is_local(path: str) -> bool:
    """Return whether a file is on this machine."""
    return not is_remote(path)


def status_of(path: str) -> Status | None:
    """Return by what it is seen that a file was written to; None for those elsewhere, whose readers see to it."""
    return file_status(path) if is_local(path) else None


def check_status(path: str, status: Status | None) -> None:
    """Raise a FileFormatError if a file was written to since it was opened."""
    if status is not None:
        check_file_status(path, status, "it was opened first")


@contextlib.contextmanager
def damage_told(what: str) -> Iterator[None]:
    """Say where it was that Arrow could not read on."""
    try:
        yield
    except (BatchUpError, FileNotFoundError, IsADirectoryError, PermissionError):
        raise
    except (pyarrow().ArrowException, OSError, ValueError, pyarrow().ArrowMemoryError) as error:
        reason = str(error).split("\n")[0].removesuffix(".")
        raise FileFormatError(f"{what} is damaged, or something else: {reason}") from error


def read_columns(opener: Opener, paths: tuple[Any, ...], columns: Sequence[str] | None, **options: Any) -> Any:
    """Return what a reader returns, that looks at some columns only; see `rows.read`."""
    names = columns if columns is None or isinstance(columns, str) else tuple(columns)
    return read(opener, paths, names, columns=names, **options)


def blocks_of(table: Table, batch: Any, fields: Mapping[str, Field], first: int) -> Iterator[Block]:
    """Yield rows of Arrow as blocks, which are those of a table from a row on: all, or if it asks for that, whole ones.

    Raises
    ------
    FileFormatError
        If a value is not there, or not what the fields say.
    """
    if table.on_error == "raise":
        path = table.path
        yield {name: values_of(batch.column(name), field, Place(path, name, first)) for name, field in fields.items()}
    else:
        yield from whole_blocks(batch, fields, table.path, first, table.problem)


def whole_blocks(
    batch: Any, fields: Mapping[str, Field], path: str, first: int, problem: Callable[[FileFormatError], object]
) -> Iterator[Block]:
    """Yield those rows that are whole as blocks, and tell of the others."""
    rows = np.arange(first, first + batch.num_rows)
    kept = np.ones(len(rows), bool)
    for name, field in fields.items():
        missing = missing_rows(batch.column(name), field)
        if missing is not None:
            place, more = Place(path, name, rows=rows), int(missing.sum()) - 1
            left_out = f"; it is left out, and {more:,} more of the {len(rows):,} rows around it" if more else ""
            problem(place.error(int(missing.argmax()), no_value(field) + left_out))
            kept &= ~missing
    if not kept.all():
        batch, rows = batch.filter(pyarrow().array(kept)), rows[kept]
    yield from _halves(batch, fields, path, rows, problem)


def _halves(
    batch: Any,
    fields: Mapping[str, Field],
    path: str,
    rows: NDArray[np.intp],
    problem: Callable[[FileFormatError], object],
) -> Iterator[Block]:
    """Yield rows as one block if they can be read, or else in halves."""
    if not len(rows):
        return
    try:
        places = {name: Place(path, name, rows=rows) for name in fields}
        block = {name: values_of(batch.column(name), field, places[name]) for name, field in fields.items()}
    except FileFormatError as error:
        if len(rows) == 1:
            problem(error)
            return
        half = len(rows) // 2
        yield from _halves(batch.slice(0, half), fields, path, rows[:half], problem)
        yield from _halves(batch.slice(half), fields, path, rows[half:], problem)
    else:
        yield block

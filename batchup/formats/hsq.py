"""Files of native batches (.hsq) as tables, whose columns are the inputs and outputs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from batchup.errors import ChecksumError, FileFormatError, InvalidTypeError, InvalidValueError, UnsupportedError
from batchup.formats.checked import Checked, check_fixed, sides
from batchup.formats.columnar import ColumnarTable
from batchup.formats.paths import named
from batchup.formats.rows import read, write
from batchup.formats.table import Block, Field, Write, refuse
from batchup.hypersequence import HyperSequenceFile, HyperSequenceWriter
from batchup.hypersequence.format import FaultyMetaError, Format, checked_dtype, checked_fields, checked_names, encoded
from batchup.hypersequence.format import Field as Part
from batchup.hypersequence.writer import BATCH_SIZE

BATCH_BYTES = 2**16  # of a native batch ...
MOST_ROWS = 1024  # ... of no more rows than these


def read_hsq(*paths: Any, columns: Sequence[str] | None = None, on_error: str = "raise", verify: bool = False) -> Any:
    """Read the inputs and outputs of .hsq files as columns.

    Parameters
    ----------
    *paths : str or path-like
        Names of files, patterns such as ``"part-*.hsq"``, whose files are sorted by name, or addresses.
    columns : sequence of str, optional
        The columns to read, by the names that the writer gave, else ``i0``, ... ``o0``, ... By default all.
    on_error : {'raise', 'skip'}, default 'raise'
        Whether native batches that are not what was written are an error, or left out; to skip includes to verify.
    verify : bool, default False
        Whether to compare all data with their checksums at once.

    Returns
    -------
    dict of array-like; or, if something is left out, iterable of dict
        By name: arrays that stay in the file until they are asked for.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If a file is damaged (`ChecksumError`, if that tells), or something else.

    Examples
    --------
    >>> from batchup.formats import read_hsq, write_hsq
    >>> write_hsq([{"image": np.zeros((2, 2)), "label": n} for n in range(5)], "five.hsq", batch_size=2)
    >>> columns = read_hsq("five.hsq")
    >>> columns["image"].shape, columns["label"][[4, 0]]
    ((5, 2, 2), array([4, 0]))
    """
    return read(HsqTable, paths, columns, on_error=on_error, verify=verify)


def write_hsq(
    items: Iterable[Any],
    path: Any,
    outputs: Sequence[str] | None = None,
    batch_size: int | None = None,
    meta: dict[str, Any] | None = None,
) -> None:
    """Write a .hsq file: native batches, in which rows lie together that are to be read together.

    Parameters
    ----------
    items : iterable of dict or tuple
        The rows, all with the same keys (the parts of tuples are called ``arr_0``, ``arr_1``, ...), of arrays or
        numbers of one shape and dtype.
    path : str or path-like
        Name of the file. If it is there it is replaced, once the new one is whole.
    outputs : sequence of str, optional
        Which keys are outputs: they come behind the inputs, in this order. By default the last one, if there are
        several.
    batch_size : int, optional
        Rows in a native batch. By default as many as make 64 KiB, but from 16 to 1,024.
    meta : dict, optional
        What else is to be kept: what JSON can hold.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an item is no row, or differs from the first ones, or holds what such a file cannot.

    Examples
    --------
    >>> from batchup.formats import write_hsq
    >>> from batchup.hypersequence import HyperSequenceFile
    >>> write_hsq([{"x": n, "y": n * n} for n in range(4)], "squares.hsq", batch_size=2)
    >>> for x, y in HyperSequenceFile("squares.hsq"):
    ...     print(x, y)
    [0 1] [0 1]
    [2 3] [4 9]
    """
    write(items, hsq_sink, path, outputs=outputs, batch_size=batch_size, meta=meta)


class HsqTable(ColumnarTable):
    """The rows of a .hsq file.

    Parameters
    ----------
    path : str
        Its name or address.
    on_error, verify
        As for `read_hsq`.

    Raises
    ------
    FileFormatError
        If it is damaged (`ChecksumError`, if that tells), or something else.
    """

    checksums = True

    def __init__(self, path: str, *, on_error: str = "raise", verify: bool = False) -> None:
        hsq = HyperSequenceFile(path)
        size, columns = hsq.batch_size(), {name: hsq.columns[name] for name in hsq.names}
        rows = len(next(iter(columns.values()), ()))
        found = hsq.verify() if verify or (on_error == "skip" and hsq._format.has_checksums) else []
        damaged = [(bad.batch * size, min((bad.batch + 1) * size, rows) - 1, str(bad)) for bad in found]
        super().__init__(path, columns, None, rows, dict(hsq.user_meta()), on_error, size, damaged)
        if damaged and on_error == "raise":
            raise ChecksumError(f"{path}: {len(damaged)} batches are not what was written, first {damaged[0][2]}")

    def check(self) -> Iterator[FileFormatError]:
        with HyperSequenceFile(self.path) as hsq, contextlib.suppress(UnsupportedError):  # which has no checksums
            for finding in hsq.verify():
                yield ChecksumError(f"{self.path}: {finding}")


@contextlib.contextmanager
def hsq_sink(
    path: Any,
    fields: Mapping[str, Field],
    *,
    rows: int | None = None,
    meta: dict[str, Any] | None = None,
    outputs: Sequence[str] | None = None,
    batch_size: int | None = None,
) -> Iterator[Write]:
    """Open a .hsq file for rows.

    Parameters
    ----------
    path, fields, rows, meta
        As for any `Sink`.
    outputs, batch_size
        As for `write_hsq`.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If a column is none of numbers or strings of one size, or there is no output of that name.
    """
    ins, outs = _divided(list(fields), outputs)
    batch_size = _batch_size(fields) if batch_size is None else batch_size
    _check(fields, ins, outs, batch_size)
    encoded(meta or {})
    checked = Checked(fields, rows)
    with HyperSequenceWriter(named(path), batch_size, names=[*ins, *outs] if fields else None) as writer:
        try:
            writer.user_meta().update(meta or {})

            def put(block: Block) -> None:
                checked.take(block)
                if fields:
                    writer.extend(tuple(block[name] for name in ins), tuple(block[name] for name in outs))

            put({name: np.empty((0, *sides(field)), field.dtype) for name, field in fields.items()})
            yield put
            checked.finish()
            writer.close()
        except BaseException:
            writer._partial.discard()  # or its rows could be recovered, by somebody who does not know of them
            raise


def _batch_size(fields: Mapping[str, Field]) -> int:
    """Return how many rows make a native batch: less would be read slowly.

    >>> _batch_size({"x": Field(np.dtype("f8"), (4,))}), _batch_size({"x": Field(np.dtype("u1"), (224, 224, 3))})
    (1024, 16)
    """
    row_bytes = sum(field.row_bytes for field in fields.values())
    return max(BATCH_SIZE, min(MOST_ROWS, BATCH_BYTES // max(1, row_bytes)))


def _divided(names: list[str], outputs: Sequence[str] | None) -> tuple[list[str], list[str]]:
    """Return which columns are inputs, and which are outputs."""
    if isinstance(outputs, str):
        raise InvalidTypeError(f"outputs must be a sequence of str, got {outputs!r}")
    chosen = (names[-1:] if len(names) > 1 else []) if outputs is None else list(outputs)
    if missing := [name for name in chosen if name not in names]:
        raise InvalidValueError(f"there are no columns {missing} to be outputs: there are {names}")
    return [name for name in names if name not in chosen], chosen


def _check(fields: Mapping[str, Field], ins: list[str], outs: list[str], batch_size: int) -> None:
    """Refuse what such a file cannot hold."""
    what = ".hsq files hold values of one size"
    check_fixed(
        fields,
        what,
        "give it a length with dtypes={name: 'U<length>'}, or write Parquet, HDF5 or CSV",
        "pad it to one shape, or write a record file, Parquet or HDF5",
    )
    parts = []
    for number, name in enumerate([*ins, *outs]):
        label = f"i{number}" if number < len(ins) else f"o{number - len(ins)}"
        try:
            parts.append(Part(label, checked_dtype(fields[name].dtype), sides(fields[name])))
        except FaultyMetaError as error:
            refuse(what, name, fields[name], str(error))
    try:
        layout = Format(checked_fields(tuple(parts), batch_size), len(ins), batch_size)
    except FaultyMetaError as error:
        raise InvalidValueError(str(error)) from None
    checked_names([*ins, *outs], layout.fields)
    if fields and not layout.row_bytes:
        raise InvalidValueError(f"a row of a .hsq file must have at least one byte, {list(fields)} have none")

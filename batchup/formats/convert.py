"""From one format to another: rows are read by a thread while those before are written."""

from __future__ import annotations

import errno
import inspect
import os
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any, NamedTuple

from batchup.errors import UnsupportedError
from batchup.formats.access import open_table
from batchup.formats.ahead import read_ahead
from batchup.formats.asked import dtype_of
from batchup.formats.casting import Cast
from batchup.formats.paths import found, named
from batchup.formats.progress import progress
from batchup.formats.registry import check_options, format_of, readable, writable
from batchup.formats.table import Table, Write, length_of
from batchup.remote.addresses import is_remote


class Converted(NamedTuple):
    """What a conversion has done.

    Attributes
    ----------
    rows : int
        How many rows were written.
    seconds : float
        How long it took.
    problems : list of FileFormatError
        What was damaged, and has been left out.
    """

    rows: int
    seconds: float
    problems: list[Any]


def convert(
    paths: Any,
    out: Any,
    *,
    source: str | None = None,
    target: str | None = None,
    columns: Sequence[str] | None = None,
    dtypes: Mapping[str, Any] | None = None,
    on_error: str = "raise",
    overwrite: bool = False,
    bar: Any = None,
    reading: Mapping[str, Any] | None = None,
    writing: Mapping[str, Any] | None = None,
) -> Converted:
    """Write the rows of files into one of another format; it takes its name when it is whole.

    Only some blocks of rows are in memory at a time.

    Parameters
    ----------
    paths : str, path-like, or sequence of those
        What to read: see `open_table`.
    out : str or path-like
        The file to write.
    source, target : str, optional
        The formats; by default the suffixes tell.
    columns : sequence of str, optional
        Which columns to write; all by default.
    dtypes : mapping of str to dtype, optional
        What columns are to be cast to.
    on_error : {'raise', 'skip'}, default 'raise'
        Whether what is damaged is an error, or left out.
    overwrite : bool, default False
        Whether `out` may be there already; it is replaced when the new one is whole.
    bar : callable, optional
        Makes a bar, as `tqdm.tqdm` does: called with ``total=``, ``unit=`` and ``unit_scale=``.
    reading, writing : mapping, optional
        Further options of the reader and of the writer.

    Returns
    -------
    Converted

    Raises
    ------
    FileExistsError
        If `out` is there, and not to be replaced.
    InvalidTypeError
        If the format cannot hold a column; before anything is written.
    FileFormatError
        If something is damaged.

    Examples
    --------
    >>> import batchup
    >>> batchup.Dataset(x=np.arange(1000.0), y=np.arange(1000) % 10).write.npz("all.npz")
    >>> batchup.formats.convert("all.npz", "all.hsq").rows
    1000
    """
    kind = writable(format_of(out, target))
    assert kind.sink is not None
    check_options(kind.sink, writing or (), f"the writer of the format {format_of(out, target)!r}")
    check_absent(out, overwrite)
    several = paths if isinstance(paths, (list, tuple)) else (paths,)
    begin = time.perf_counter()
    settings = {"on_error": on_error, **_dtypes_to_read(several, source, dtypes), **(reading or {})}
    with open_table(*several, format=source, **settings) as opened:
        table = Cast(opened, dtypes) if dtypes else opened
        names = table.chosen(columns)
        fields = {name: table.fields[name] for name in names}
        count = table.rows if on_error == "raise" else None
        with kind.sink(named(out), fields, rows=count, meta=table.meta, **dict(writing or {})) as write:
            rows = copy(table, names, write, bar)
        return Converted(rows, time.perf_counter() - begin, opened.problems)


def _dtypes_to_read(paths: Sequence[Any], source: str | None, dtypes: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return the option by which a format that guesses dtypes is told them: texts have no length in it."""
    if not dtypes:
        return {}
    called = readable(format_of(found(tuple(paths), folders=True)[0], source)).table
    if "dtypes" not in inspect.signature(called or Table).parameters:
        return {}
    return {"dtypes": {name: "U" if dtype_of(dtype, name).kind == "U" else dtype for name, dtype in dtypes.items()}}


def copy(table: Table, names: Sequence[str] | None, write: Write, bar: Any = None) -> int:
    """Write the rows of a table while a thread reads those that come next; return how many there were."""
    rows = 0
    with closing(read_ahead(table.blocks(names))) as blocks, progress(table, bar) as tick:
        for block in blocks:
            write(block)
            rows += length_of(block)
            tick(length_of(block))
    return rows


def check_absent(path: Any, overwrite: bool) -> None:
    """Raise an error if a file is there that is not to be replaced, or can be none of this machine."""
    if is_remote(path):
        raise UnsupportedError(f"{named(path)}: files are written on this machine: name one here, and copy it there")
    if os.path.lexists(named(path)) and not overwrite:
        raise FileExistsError(
            errno.EEXIST, "it is there already: overwrite=True (--overwrite) replaces it", named(path)
        )

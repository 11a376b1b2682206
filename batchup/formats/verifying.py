"""Whether files are whole, and what was written: all rows are read, and checksums compared where there are any."""

from __future__ import annotations

from typing import Any

from batchup.errors import FileFormatError
from batchup.formats.progress import progress
from batchup.formats.table import Table, length_of


def verify(table: Table, bar: Any = None) -> tuple[int, list[FileFormatError]]:
    """Read all rows of a table, and return how many there were, and what is wrong.

    Parameters
    ----------
    table : Table
        What is read.
    bar : callable, optional
        Makes a bar, as `tqdm.tqdm` does.

    Returns
    -------
    int, list of FileFormatError
        Nothing is wrong if the list is empty.

    Examples
    --------
    >>> import batchup
    >>> batchup.Dataset(x=np.arange(5)).write.npz("five.npz")
    >>> batchup.formats.verify(batchup.open_table("five.npz"))
    (5, [])
    """
    rows, problems = 0, []
    try:
        with progress(table, bar) as tick:
            for block in table.blocks():
                rows += length_of(block)
                tick(length_of(block))
        problems = [*table.problems, *table.check()]
    except FileFormatError as error:
        problems = [*table.problems, error]
    if not problems and table.rows not in (None, rows):
        problems.append(FileFormatError(f"{table.path} says that it has {table.rows} rows, and has {rows}"))
    return rows, problems

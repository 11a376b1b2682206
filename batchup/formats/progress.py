"""How far a table has been read, shown by a bar: in rows if their number is known, else in bytes of the file."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from batchup.formats.table import Table


@contextmanager
def progress(table: Table, bar: Any = None) -> Iterator[Callable[[int], None]]:
    """Yield a function that is told how many rows have been done since it was called before.

    Parameters
    ----------
    table : Table
        What is read.
    bar : callable, optional
        Makes a bar, as `tqdm.tqdm` does: called with ``total=``, ``unit=`` and ``unit_scale=``. Without it nothing is
        shown.
    """
    if bar is None:
        yield lambda rows: None
        return
    if table.rows is not None:
        with bar(total=table.rows, unit=" rows", unit_scale=True) as shown:
            yield shown.update
        return
    with bar(total=table.bytes_total, unit="B", unit_scale=True) as shown:
        done = 0

        def tick(rows: int) -> None:
            nonlocal done
            if shown.total is None:
                shown.total = table.bytes_total  # known by now
            shown.update(table.bytes_done - done)
            done = table.bytes_done

        yield tick

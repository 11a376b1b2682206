"""Files of lines in blocks: what comes is cut where a row ends, and of what is damaged the rows around are kept."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from typing import Any

from batchup.errors import FileFormatError
from batchup.formats.opening import Opened, opened
from batchup.formats.table import BLOCK, Table

MOST = 2**28  # bytes of a row
_PIECE = 2**20  # bytes that are read at a time


def row_blocks(
    table: Table, compression: str | None, cut: Callable[[bytes], int], size: int | None = None
) -> Generator[tuple[bytes, bool]]:
    """Yield what the file of a table stands for, some rows at a time, and whether the last of them is whole.

    Parameters
    ----------
    table : Table
        It is told how far reading has come; and of a file that is cut short, or damaged, when all that is whole before
        has been yielded.
    compression : str or None
        As for `opened`.
    cut : callable
        Returns the place in some bytes, with which a row begins, where the last whole row ends; 0 if there is none.
    size : int, optional
        How many bytes to yield at least, unless the file ends before; `BLOCK` by default.
    """
    with opened(table.path, compression) as file:
        table.bytes_total = file.size
        came, rest, wanted, whole = 0, b"", size or BLOCK, True
        while True:
            data, more, error = _filled(file, rest, wanted)
            table.bytes_done = file.place
            end = cut(data)
            if not more:
                break
            if end:
                yield data[:end], True
            rest, came = data[end:], came + end
            wanted = (size or BLOCK) if end else 2 * wanted
            if len(rest) > MOST:
                data, end = b"", 0
                error = FileFormatError(
                    f"{file.name}: a row that begins with {file.unit} {came} goes on for more than {MOST} bytes: if it "
                    "is quoted, the end of that is missing"
                )
                break
        if error is None:
            end, whole = len(data), end == len(data)
        if end:
            yield data[:end], whole
        if error is not None:
            table.problem(error)


def _filled(file: Opened, data: bytes, size: int) -> tuple[bytes, bool, FileFormatError | None]:
    """Return more data, whether there may be even more, and what is wrong with that."""
    parts, come = [data], len(data)
    while come < size:
        try:
            part = file.read1(_PIECE)
        except FileFormatError as error:
            return b"".join(parts), False, error
        if not part:
            return b"".join(parts), False, None
        parts.append(part)
        come += len(part)
    return b"".join(parts), True, None


def sound_parts(made: Callable[[int, int], Any], start: int, stop: int, table: Table) -> Iterator[Any]:
    """Yield what is made of rows, of as many at a time as possible, and tell the table of those that are damaged.

    Parameters
    ----------
    made : callable
        Called with the first row and the one behind the last. Raises a FileFormatError if one of them is damaged,
        which must tell all if there is only that one.
    start, stop : int
        The rows.
    table : Table
        Where they come from.
    """
    if start == stop:
        return
    try:
        part = made(start, stop)
    except FileFormatError as error:
        if stop - start == 1:
            table.problem(error)
            return
    else:
        yield part
        return
    middle = (start + stop) // 2
    yield from sound_parts(made, start, middle, table)
    yield from sound_parts(made, middle, stop, table)

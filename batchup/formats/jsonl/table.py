"""JSONL files: a JSON object in each line, whose values are numbers, bools, texts, and arrays of them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from typing import Any

from batchup.formats.asked import asked_dtypes
from batchup.formats.jsonl.columns import asked_shapes
from batchup.formats.jsonl.parser import Parser, first_rows
from batchup.formats.jsonl.sink import jsonl_sink
from batchup.formats.lines import row_blocks
from batchup.formats.opening import BY_SUFFIX
from batchup.formats.rows import read, write
from batchup.formats.table import Block, Table

__all__ = ["JsonlTable", "jsonl_sink", "read_jsonl", "write_jsonl"]

_BOM = b"\xef\xbb\xbf"
_BLOCK = 2**21  # bytes of text that are parsed together; what is made of them takes many times that


def read_jsonl(
    *paths: Any,
    columns: Sequence[str] | None = None,
    dtypes: Mapping[str, Any] | None = None,
    shapes: Mapping[str, tuple[int | None, ...]] | None = None,
    compression: str | None = BY_SUFFIX,
    on_error: str = "raise",
) -> Any:
    """Read the rows of JSONL files, as dicts.

    All objects have the keys of the first one. Numbers are int64, or float64 if one of the first 2 MiB of a file is no
    integer, or uint64 if one is beyond 2**63; ``null`` is ``nan`` among floats. Lists are arrays, of one shape, or of
    many, as the first rows show. Lines without anything are left out. Where pyarrow is installed, lines are parsed some
    times as fast; what is read is the same.

    Parameters
    ----------
    *paths : str or path-like
        Names of files, or patterns such as ``"part-*.jsonl"``, whose files are sorted by name.
    columns : sequence of str, optional
        The keys that are wanted, in this order. By default all. Others need not be in all rows, then.
    dtypes : mapping of str to dtype, optional
        What columns are, where that is not what the first rows show: any dtype of bools, integers or floats, ``"U8"``
        for texts in lists, ``"datetime64[s]"`` or another unit for times.
    shapes : mapping of str to tuple, optional
        Of what shapes arrays are, where that is not what the first rows show: ``(None, 3)`` for any number of lists of
        3 numbers, ``(None, None)`` for lists of any lengths.
    compression : {'suffix', None, 'gzip', 'zlib', 'zst', 'xz'}, default 'suffix'
        How the files are compressed; by default as the suffix says, ``.gz``, ``.zst`` or ``.xz``.
    on_error : {'raise', 'skip'}, default 'raise'
        Whether a row that is damaged is an error, or left out.

    Returns
    -------
    iterable of dict
        The rows, one file after the other, each time anew.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        If a line is no JSON, or no object, or has other keys, or what its column does not hold; the message names the
        file, the line, counted from 1, the row, counted from 0, and the column.

    Examples
    --------
    >>> from batchup.formats import read_jsonl, write_jsonl
    >>> write_jsonl([{"word": "to", "ids": [3]}, {"word": "be", "ids": [1, 4]}], "words.jsonl")
    >>> for row in read_jsonl("words.jsonl", dtypes={"ids": "uint8"}):
    ...     print(row["word"], repr(row["ids"]))
    to array([3], dtype=uint8)
    be array([1, 4], dtype=uint8)
    """
    options: dict[str, Any] = {"dtypes": dtypes, "shapes": shapes, "compression": compression}
    return read(JsonlTable, paths, columns, on_error=on_error, **options)


def write_jsonl(items: Iterable[Any], path: Any, compression: str | None = BY_SUFFIX) -> None:
    """Write a JSONL file, a JSON object for each row.

    All values are kept, floats to the last bit, but ``nan`` is written as ``null``, as JSON has neither that nor
    infinity. Not all dtypes are: integers are read as int64, floats as float64, times as texts, and if there are no
    rows there are no columns; ``dtypes=`` and ``shapes=`` of `read_jsonl` have them as they were.

    Parameters
    ----------
    items : iterable of dict or tuple
        The rows, all with the same keys (the parts of tuples are called ``arr_0``, ``arr_1``, ...): bools, numbers,
        texts or times, or arrays of them.
    path : str or path-like
        Name of the file. If it is there it is replaced, once the new one is whole.
    compression : {'suffix', None, 'gzip', 'zlib', 'zst', 'xz'}, default 'suffix'
        How to compress it.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If an item is no row, or differs from the first ones, or has infinity, bytes or complex numbers in it.

    Examples
    --------
    >>> from pathlib import Path
    >>> from batchup.formats import write_jsonl
    >>> write_jsonl([{"x": np.eye(2), "y": "one"}, {"x": np.full((2, 2), np.nan), "y": "two"}], "rows.jsonl")
    >>> print(Path("rows.jsonl").read_text(), end="")
    {"x":[[1.0,0.0],[0.0,1.0]],"y":"one"}
    {"x":[[null,null],[null,null]],"y":"two"}
    """
    write(items, jsonl_sink, path, compression=compression)


class JsonlTable(Table):
    """The rows of one JSONL file.

    Parameters
    ----------
    path : str
        Its name or address.
    on_error, dtypes, shapes, compression
        As for `read_jsonl`. In a file without rows, `dtypes` and `shapes` name the columns.

    Raises
    ------
    FileFormatError
        If the first rows are no objects, or have objects in them.
    """

    def __init__(
        self,
        path: str,
        *,
        on_error: str = "raise",
        dtypes: Mapping[str, Any] | None = None,
        shapes: Mapping[str, tuple[int | None, ...]] | None = None,
        compression: str | None = BY_SUFFIX,
    ) -> None:
        super().__init__(path, {}, on_error=on_error)
        self._compression = compression
        asked = asked_dtypes(dtypes, lengths=True), asked_shapes(shapes)
        with closing(self._pieces()) as pieces:
            data, _ = next(pieces, (b"", True))
        if not data and self.problems:
            raise self.problems[0]
        self.fields = first_rows(path, data.removeprefix(_BOM), *asked)
        self.chosen([*{**asked[0], **asked[1]}])

    def blocks(self, names: Sequence[str] | None = None) -> Iterator[Block]:
        parser = Parser(self, self.chosen(names))
        with closing(self._pieces()) as pieces:
            for number, (piece, _) in enumerate(pieces):
                yield from parser.blocks(piece if number else piece.removeprefix(_BOM))

    def _pieces(self) -> Generator[tuple[bytes, bool]]:
        return row_blocks(self, self._compression, lambda data: data.rfind(b"\n") + 1, _BLOCK)

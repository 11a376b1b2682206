"""Files of text, line by line."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterable, Iterator
from typing import Any

from batchup._compression import BLOCK, Plain, check_compression, opened
from batchup._repr import Represented
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.pipeline.formats.paths import found
from batchup.pipeline.formats.whole import compressed_file


def read_text(*paths: Any, encoding: str = "utf-8", compression: str | None = None) -> TextSource:
    r"""Read the lines of text files, without what ends them.

    As with `open`, ``\n``, ``\r`` and ``\r\n`` end a line, and the last one may do without.

    Parameters
    ----------
    *paths : str or path-like
        Names of files, or patterns such as ``"part-*.txt"``, whose files are sorted by name.
    encoding : str, default 'utf-8'
        How characters are written as bytes.
    compression : {None, 'gzip', 'zlib'}
        How the files are compressed.

    Returns
    -------
    iterable of str
        The lines; each time anew.

    Raises
    ------
    FileNotFoundError
        If there is no such file.
    FileFormatError
        When bytes are read that no text is written with. The message names the file, and the line, counted from 1.

    Examples
    --------
    >>> from batchup.pipeline.formats import read_text, write_text
    >>> write_text(["to be", "or not to be"], "lines.txt")
    >>> list(read_text("lines.txt"))
    ['to be', 'or not to be']
    """
    _check_encoding(encoding)
    check_compression(compression)
    return TextSource(found(paths), encoding, compression)


class TextSource(Represented):
    """The lines of text files, each time anew; see `read_text`.

    Parameters
    ----------
    paths : tuple of str
        Names of the files.
    encoding, compression
        As for `read_text`.
    """

    def __init__(self, paths: tuple[str, ...], encoding: str = "utf-8", compression: str | None = None) -> None:
        self.paths = paths
        self.encoding = encoding
        self.compression = compression

    def __iter__(self) -> Iterator[str]:
        for path in self.paths:
            with opened(path, self.compression) as file:
                yield from _lines(_texts(file, self.encoding))


def _lines(texts: Iterable[str]) -> Iterator[str]:
    """Yield the lines of a text that comes piece by piece."""
    line: list[str] = []  # pieces of a line that goes on
    for text in texts:
        first, *others = text.split("\n")
        line.append(first)
        if others:
            yield "".join(line)
            line = [others.pop()]
            yield from others
    if last := "".join(line):
        yield last


def _texts(file: Plain, encoding: str) -> Iterator[str]:
    r"""Yield the text of a file block by block, with ``\n`` at the end of each line."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(), translate=True)
    ends, read = 0, 0
    while True:
        block = file.read(BLOCK)
        try:
            text = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            bad = len(block) - len(error.object) + error.start  # a character may begin in the block before
            text = decoder.decode(block[: max(bad, 0)])
            yield text
            raise FileFormatError(
                f"{file.name}, line {ends + text.count(chr(10)) + 1}: {file.unit} {read + bad} is no {encoding} "
                f"({error.reason}): tell with encoding= how the text is written"
            ) from None
        yield text
        if not block:
            return
        ends += text.count("\n")
        read += len(block)


def write_text(items: Iterable[Any], path: Any, encoding: str = "utf-8", compression: str | None = None) -> None:
    r"""Write a text file with one line per item.

    Parameters
    ----------
    items : iterable of str
        The lines, without what ends them. ``\n`` is written behind each.
    path : str or path-like
        Name of the file. If it is there it is replaced, once the new one is whole.
    encoding : str, default 'utf-8'
        How to write characters as bytes.
    compression : {None, 'gzip', 'zlib'}
        How to compress it.

    Raises
    ------
    InvalidTypeError
        If an item is no str.
    InvalidValueError
        If it has more than one line, or characters that the encoding does not have. The messages name the item,
        counted from 0.

    Examples
    --------
    >>> from pathlib import Path
    >>> from batchup.pipeline.formats import write_text
    >>> write_text((str(n) for n in range(3)), "numbers.txt")
    >>> Path("numbers.txt").read_text()
    '0\n1\n2\n'
    """
    _check_encoding(encoding)
    encoder = codecs.getincrementalencoder(encoding)()
    with compressed_file(path, compression) as file:
        for number, item in enumerate(items):
            _check_line(number, item)
            try:
                file.write(encoder.encode(item + "\n"))
            except UnicodeEncodeError as error:
                raise InvalidValueError(
                    f"item {number}: {encoding} has no {item[error.start : error.end]!r}: choose another encoding"
                ) from None


def _check_line(number: int, item: Any) -> None:
    if not isinstance(item, str):
        raise InvalidTypeError(f"item {number}: a text file takes str, got {type(item).__name__}")
    if "\n" in item or "\r" in item:
        place = min(place for end in "\r\n" if (place := item.find(end)) >= 0)
        raise InvalidValueError(
            f"item {number} would be read as several lines: it has {item[place]!r} at place {place}; "
            "split it, or replace that"
        )


def _check_encoding(encoding: Any) -> None:
    try:
        "".encode(encoding)
        codecs.getincrementaldecoder(encoding)
    except (LookupError, TypeError):
        raise InvalidValueError(f"encoding must be the name of a text encoding, got {encoding!r}") from None

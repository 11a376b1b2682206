"""Files of text, line by line."""

from __future__ import annotations

import codecs
import contextlib
import io
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from batchup._compression import BLOCK
from batchup._repr import Represented
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError
from batchup.formats.checked import Checked
from batchup.formats.opening import BY_SUFFIX, Opened, compression_of, opened, writing
from batchup.formats.paths import found
from batchup.formats.table import TEXT, Block, Field, Table, Write, objects, refuse

_ESCAPED = re.compile("[\udc80-\udcff]")  # by which bytes that are no text are marked


def read_text(*paths: Any, encoding: str = "utf-8", compression: str | None = BY_SUFFIX) -> TextSource:
    r"""Read the lines of text files, without what ends them.

    As with `open`, ``\n``, ``\r`` and ``\r\n`` end a line, and the last one may do without.

    Parameters
    ----------
    *paths : str or path-like
        Names of files, or patterns such as ``"part-*.txt"``, whose files are sorted by name.
    encoding : str, default 'utf-8'
        How characters are written as bytes.
    compression : {'suffix', None, 'gzip', 'zlib', 'zst', 'xz'}, default 'suffix'
        How the files are compressed; by default as the suffix says, ``.gz``, ``.zst`` or ``.xz``.

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
    >>> from batchup.formats import read_text, write_text
    >>> write_text(["to be", "or not to be"], "lines.txt")
    >>> list(read_text("lines.txt"))
    ['to be', 'or not to be']
    """
    _check_encoding(encoding)
    names = found(paths)
    for name in names:
        compression_of(name, compression)
    return TextSource(names, encoding, compression)


class TextSource(Represented):
    """The lines of text files, each time anew; see `read_text`.

    Parameters
    ----------
    paths : tuple of str
        Names of the files.
    encoding, compression
        As for `read_text`.
    """

    def __init__(self, paths: tuple[str, ...], encoding: str = "utf-8", compression: str | None = BY_SUFFIX) -> None:
        self.paths = paths
        self.encoding = encoding
        self.compression = compression

    def __iter__(self) -> Iterator[str]:
        for path in self.paths:
            with opened(path, self.compression) as file:
                for lines in _lines(_texts(file, self.encoding)):
                    yield from lines


class TextTable(Table):
    """The lines of one text file, as a column ``text``.

    Parameters
    ----------
    path : str
        Its name or address.
    on_error : {'raise', 'skip'}, default 'raise'
        Whether a line in which something is no text is an error, or left out.
    encoding, compression
        As for `read_text`.
    """

    def __init__(
        self,
        path: str,
        *,
        on_error: str = "raise",
        encoding: str = "utf-8",
        compression: str | None = BY_SUFFIX,
    ) -> None:
        _check_encoding(encoding)
        super().__init__(path, {"text": Field(TEXT)}, on_error=on_error)
        self._encoding = encoding
        self._compression = compression
        with opened(path, compression) as file:
            self.bytes_total = file.size

    def blocks(self, names: Sequence[str] | None = None) -> Iterator[Block]:
        if not self.chosen(names):
            return
        number = 1
        with opened(self.path, self._compression) as file:
            texts = _texts(file, self._encoding, "strict" if self.on_error == "raise" else "surrogateescape")
            try:
                for lines in _lines(texts):
                    self.bytes_done = file.place
                    if sound := [line for line in lines if not _ESCAPED.search(line)]:
                        yield {"text": objects(sound)}
                    for place, line in enumerate(lines, number) if len(sound) < len(lines) else ():
                        if _ESCAPED.search(line):
                            self.problem(self._no_text(place, line))
                    number += len(lines)
            except FileFormatError as error:
                self.problem(error)
            self.bytes_done = file.place

    def _no_text(self, number: int, line: str) -> FileFormatError:
        data = _ESCAPED.findall(line)[0].encode(errors="surrogateescape")
        return FileFormatError(
            f"{self.path}, line {number}: {data!r} is no {self._encoding}: tell with encoding= how the text is written"
        )


def _lines(texts: Iterable[str]) -> Iterator[list[str]]:
    """Yield the lines of a text that comes piece by piece, those that end in a piece together."""
    line: list[str] = []  # pieces of a line that goes on
    for text in texts:
        first, *others = text.split("\n")
        line.append(first)
        if others:
            lines = ["".join(line), *others]
            line = [lines.pop()]
            yield lines
    if last := "".join(line):
        yield [last]


def _texts(file: Opened, encoding: str, errors: str = "strict") -> Iterator[str]:
    r"""Yield the text of a file block by block, with ``\n`` at the end of each line."""
    decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder(encoding)(errors), translate=True)
    ends, read = 0, 0
    while True:
        block = file.read1(BLOCK)
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


def write_text(items: Iterable[Any], path: Any, encoding: str = "utf-8", compression: str | None = BY_SUFFIX) -> None:
    r"""Write a text file with one line per item.

    Parameters
    ----------
    items : iterable of str
        The lines, without what ends them. ``\n`` is written behind each.
    path : str or path-like
        Name of the file. If it is there it is replaced, once the new one is whole.
    encoding : str, default 'utf-8'
        How to write characters as bytes.
    compression : {'suffix', None, 'gzip', 'zlib', 'zst', 'xz'}, default 'suffix'
        How to compress it; by default as the suffix says.

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
    >>> from batchup.formats import write_text
    >>> write_text((str(n) for n in range(3)), "numbers.txt")
    >>> Path("numbers.txt").read_text()
    '0\n1\n2\n'
    """
    _check_encoding(encoding)
    encoder = codecs.getincrementalencoder(encoding)()
    with writing(path, compression) as file:
        for number, item in enumerate(items):
            _check_line(number, item)
            file.write(_encoded([item], number, encoder, encoding))


@contextlib.contextmanager
def text_sink(
    path: Any,
    fields: Mapping[str, Field],
    *,
    rows: int | None = None,
    meta: Mapping[str, Any] | None = None,
    encoding: str = "utf-8",
    compression: str | None = BY_SUFFIX,
) -> Iterator[Write]:
    """Open a text file to write blocks to, a line for each row; its one column, of texts, is read as ``text``.

    Parameters
    ----------
    path, fields, rows, meta
        As for any `Sink`.
    encoding, compression
        As for `write_text`.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If there is another column, or a text is no single line, or cannot be encoded.
    """
    _check_encoding(encoding)
    if not fields:
        raise InvalidValueError("a text file holds one column, of texts, got none")
    for number, (name, field) in enumerate(fields.items()):
        if number or field.shape or field.dtype.kind != "U":
            refuse("text files hold one column, of texts", name, field, "leave it out, or write .csv, .jsonl or .npz")
    encoder = codecs.getincrementalencoder(encoding)()
    checked = Checked(fields, rows)
    with writing(path, compression) as file:

        def put(block: Block) -> None:
            first = checked.take(block)
            (values,) = block.values()
            file.write(_encoded(values.tolist(), first, encoder, encoding))

        yield put
        checked.finish()


def _encoded(lines: list[str], first: int, encoder: codecs.IncrementalEncoder, encoding: str) -> bytes:
    """Return the bytes of some lines, of which the first one has a number."""
    text = "\n".join([*lines, ""])
    if text.count("\n") != len(lines) or "\r" in text:
        for number, line in enumerate(lines, first):
            _check_line(number, line)
    try:
        return encoder.encode(text)
    except UnicodeEncodeError as error:
        number = first + text.count("\n", 0, error.start)
        raise InvalidValueError(
            f"item {number}: {encoding} has no {text[error.start : error.end]!r}: choose another encoding"
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

"""The members of a tar archive, one after the other, straight from a stream; nothing is ever put on the disk.

Python's `tarfile` takes a damaged header for the end of the archive, and several times as long.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol

from batchup.errors import FileFormatError
from batchup.formats.webdataset.headers import LONG_LINK, LONG_NAME, RECORD, ZEROS, Head, parsed, pax_records, text_of

LARGEST = 2**31 - 1  # bytes of a member that is read into memory
_LONGEST = 2**20  # bytes of a header that extends another one
_PIECE = 2**20  # bytes that are read at a time
_FILES, _FOLDER, _EXTENDED, _GLOBAL = b"0\x007", b"5", b"xX", b"g"
_EXTENDS = _EXTENDED + _GLOBAL + LONG_NAME + LONG_LINK
_ODD = {b"1": "a link", b"2": "a symbolic link", b"3": "a device", b"4": "a device", b"6": "a pipe", b"S": "sparse"}
_EMPTY = b"12346"  # kinds without data, whatever size they tell


class Input(Protocol):
    """What bytes are read from."""

    def read1(self, size: int, /) -> bytes: ...


class Member(NamedTuple):
    """A file in an archive."""

    name: str
    start: int  # the byte of the archive at which it begins
    data: bytes | None  # None if it was not wanted


class Members:
    """The files in an archive, read once, from front to back.

    Folders are passed over. What is no plain file, or has a name that leads out of a folder, is an error.

    Parameters
    ----------
    file : Input
        What the archive is read from.
    path : str
        Its name, for messages.
    problem : callable
        Called with what is damaged, and raises it. If it does not, that is left out: after a damaged header, reading
        goes on at the next one that is whole.
    wanted : callable, optional
        Called with the name of a member; returns whether its data are wanted.

    Attributes
    ----------
    comment : str
        The comment in the global header with which the archive begins; empty if there is none.
    names : int
        How many files there were, up to now.
    """

    def __init__(
        self,
        file: Input,
        path: str,
        problem: Callable[[FileFormatError], None],
        wanted: Callable[[str], bool] = lambda name: True,
    ) -> None:
        self.comment = ""
        self.names = 0
        self._stream = _Stream(file)
        self._path = path
        self._problem = problem
        self._wanted = wanted
        self._start = 0  # of the header at hand
        self._name = ""  # of what it is of

    def __iter__(self) -> Iterator[Member]:
        try:
            yield from self._members()
        except FileFormatError as error:
            self._problem(error)  # raises it again, or the rest is lost

    def _members(self) -> Iterator[Member]:
        more: dict[str, str] = {}  # what the headers before say of a member
        begin = 0
        while (head := self._head()) is not None:
            if not more:
                begin = self._start
            if head.kind in _EXTENDS:
                self._name = head.name
                self._extend(head, more)
                continue
            size: int | None = head.size
            self._name = name = head.name
            kind = head.kind
            if more:
                self._name = name = more.get("path", name)
                size = _size_told(more.get("size"), head.size)
                kind = b"S" if any(key.startswith("GNU.sparse.") for key in more) else kind
                more = {}
            if size is None or size < 0:
                self._wrong("has a size that none can have")
            elif kind in _FILES and not name.endswith("/"):
                yield from self._member(name, size, begin)
            elif kind != _FOLDER and kind not in _FILES:
                self._wrong(f"is {_ODD.get(kind, f'of the kind {kind!r}')}, not a plain file")
                self._stream.skip(0 if kind in _EMPTY else _padded(size))

    def _member(self, name: str, size: int, begin: int) -> Iterator[Member]:
        self.names += 1
        name = name.removeprefix("./")
        if name.startswith("/") or ".." in name.split("/"):
            self._wrong("has a name that leads out of the folder")
        elif size > LARGEST:
            self._wrong(f"has {size} bytes: more than the {LARGEST} that are read into memory")
        elif self._wanted(name):
            data = self._stream.take(size)
            if len(data) < size:
                raise self._error(f"is cut short: {len(data)} of {size} bytes are there")
            self._stream.skip(-size % RECORD)
            yield Member(name, begin, data)
            return
        else:
            self._pass(size)
            yield Member(name, begin, None)
            return
        self._pass(size)

    def _pass(self, size: int) -> None:
        if (there := self._stream.skip(size)) < size:
            raise self._error(f"is cut short: {there} of {size} bytes are there")
        self._stream.skip(-size % RECORD)

    def _head(self) -> Head | None:
        """Return the next header, None at the end."""
        record = self._next()
        if not record:
            raise FileFormatError(
                f"{self._path} is empty: an archive has {2 * RECORD} bytes at least"
                if self._start == 0
                else f"{self._path} is cut short at byte {self._start}: there is no end mark (a record of zeros)"
            )
        if record == ZEROS:
            record = self._behind_end()
            if not record:
                return None
            self._problem(
                FileFormatError(
                    f"{self._path}: there is more behind the end of the archive, from byte {self._start} on: it is "
                    "damaged, or several are joined"
                )
            )
            return parsed(record) or self._next_whole()
        head = parsed(record)
        if head is None:
            self._problem(self._bad_header(record))
            head = self._next_whole()
        return head

    def _next(self) -> bytes:
        self._start = self._stream.place
        return self._stream.take(RECORD)

    def _behind_end(self) -> bytes:
        """Return the first record behind the end that is not all zeros; none if all are."""
        while record := self._next():
            if record.strip(b"\0"):
                return record
        return b""

    def _next_whole(self) -> Head | None:
        """Return the next header that is whole, after one that is not."""
        while record := self._next():
            if record[257:262] == b"ustar" and (head := parsed(record)) is not None:
                return head
        return None

    def _extend(self, head: Head, more: dict[str, str]) -> None:
        """Take what a header says of the member behind it."""
        if not 0 <= head.size <= _LONGEST:
            self._wrong(f"is a header of {head.size} bytes: {_LONGEST} are the most")
            self._stream.skip(_padded(max(head.size, 0)))
            return
        data = self._stream.take(_padded(head.size))[: head.size]
        if len(data) < head.size:
            raise self._error(f"is cut short: {len(data)} of {head.size} bytes are there")
        if head.kind == LONG_NAME:
            more["path"] = text_of(data.partition(b"\0")[0])
        elif head.kind in _EXTENDED + _GLOBAL:
            records = pax_records(data)
            if records is None:
                self._wrong("is an extended header that cannot be read")
            elif head.kind == _GLOBAL:
                self.comment = self.comment or records.get("comment", "")
            else:
                more.update(records)

    def _bad_header(self, record: bytes) -> FileFormatError:
        if len(record) < RECORD:
            return FileFormatError(
                f"{self._path} is cut short: {len(record)} of {RECORD} bytes of the header at byte {self._start} are "
                "there"
            )
        if self._start == 0:
            return FileFormatError(f"{self._path} is no tar archive: it does not begin with a header that is whole")
        return FileFormatError(f"{self._path}: the header at byte {self._start} is damaged: its checksum differs")

    def _error(self, what: str) -> FileFormatError:
        return FileFormatError(f"{self._path}, member {self._name!r} at byte {self._start} {what}")

    def _wrong(self, what: str) -> None:
        self._problem(self._error(what))


class _Stream:
    """Bytes that are read in large pieces and taken in small ones."""

    def __init__(self, file: Input) -> None:
        self.place = 0  # how many have been taken
        self._file = file
        self._data = b""
        self._at = 0

    def take(self, size: int) -> bytes:
        """Return so many bytes; fewer at the end only. Room is made as they come, not as a size says."""
        found = self._data[self._at : self._at + size]
        self._at += len(found)
        if len(found) < size:
            parts = [found]
            left = size - len(found)
            while left and self._refill():
                parts.append(self._data[:left])
                self._at = len(parts[-1])
                left -= self._at
            found = b"".join(parts)
        self.place += len(found)
        return found

    def skip(self, size: int) -> int:
        """Pass over so many bytes; return how many there were."""
        left = size
        while True:
            step = min(left, len(self._data) - self._at)
            self._at += step
            left -= step
            if not left or not self._refill():
                break
        self.place += size - left
        return size - left

    def _refill(self) -> bool:
        self._data, self._at = self._file.read1(_PIECE), 0  # all that comes before damage
        return bool(self._data)


def _padded(size: int) -> int:
    return size + -size % RECORD


def _size_told(size: str | None, otherwise: int) -> int | None:
    """Return the size that an extended header tells, if it does; None if none can be of such a size."""
    if size is None:
        return otherwise
    return int(size) if size.isdecimal() and len(size) < 20 else None

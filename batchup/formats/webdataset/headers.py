"""The headers of tar archives, parsed and made (POSIX ustar and pax, and what GNU tar adds)."""

from __future__ import annotations

import tarfile
import zlib
from typing import Any, NamedTuple

RECORD = 512  # bytes; an archive is made of records
ZEROS = bytes(RECORD)
LONG_NAME, LONG_LINK = b"L", b"K"  # of GNU tar


class Head(NamedTuple):
    """What a header says."""

    name: str
    size: int
    kind: bytes


def parsed(record: bytes) -> Head | None:
    """Return what a header says; None if it is damaged."""
    told = record[148:156]
    try:
        checksum, size = _number(told), _number(record[124:136])
    except ValueError:
        return None
    # the sum of its bytes, its own field taken for spaces; Adler-32 begins with 1 + the sum, modulo 65521
    total = (zlib.adler32(record) & 0xFFFF) - 1 - sum(told) + 8 * 32
    if (total - checksum) % 65521 or len(record) < RECORD:
        return None
    kind = record[156:157]
    name = record[:100].partition(b"\0")[0]
    if record[345] and record[257:263] == b"ustar\0" and kind not in (LONG_NAME, LONG_LINK):
        name = record[345:500].partition(b"\0")[0] + b"/" + name
    return Head(text_of(name), size, kind)


def _number(field: bytes) -> int:
    if field[:1] in (b"\x80", b"\xff"):  # GNU's, for what octal digits have no room for
        return int.from_bytes(field[1:], "big") - (256 ** (len(field) - 1) if field[0] == 255 else 0)
    return int(field.partition(b"\0")[0].strip() or b"0", 8)


def text_of(name: bytes) -> str:
    """Return a name as text; what is no UTF-8 is escaped."""
    return name.decode("utf-8", "backslashreplace")


def pax_records(data: bytes) -> dict[str, str] | None:
    """Return the records of an extended header (POSIX: "25 ctime=1084839148.1212"); None if it is damaged."""
    found: dict[str, str] = {}
    place = 0
    while place < len(data) and data[place]:
        space = data.find(b" ", place, place + 10)
        length = data[place:space]
        if space < 0 or not length.isdigit():
            return None
        stop = place + int(length)
        key, equals, value = data[space + 1 : stop - 1].partition(b"=")
        if stop > len(data) or stop <= space or data[stop - 1 : stop] != b"\n" or not equals:
            return None
        found[text_of(key)] = text_of(value)
        place = stop
    return found


_MODE_TO_GROUP = b"0000644\x00" + b"0000000\x00" * 2
_TIME = b"00000000000\x00"
_REST = b"0" + bytes(100) + b"ustar\x0000" + bytes(64) + b"0000000\x00" * 2 + bytes(167)
_SUM = sum(_MODE_TO_GROUP + _TIME + _REST) + 8 * 32  # of all that is the same in all headers


def header_of(name: str, size: int) -> bytes:
    """Return the header of a plain file of nobody, from the beginning of time.

    >>> tarfile.TarInfo.frombuf(header_of("a.txt", 12), "utf-8", "strict").size
    12
    """
    if not name.isascii() or len(name) > 100 or size >= 8**11:
        odd = tarfile.TarInfo(name)
        odd.size = size
        return odd.tobuf(tarfile.PAX_FORMAT, "utf-8", "strict")
    changing = name.encode(), b"%011o\x00" % size
    total = _SUM + sum(changing[0]) + sum(changing[1])
    return b"".join((changing[0].ljust(100, b"\0"), _MODE_TO_GROUP, changing[1], _TIME, b"%06o\x00 " % total, _REST))


def comment_of(text: str) -> bytes:
    """Return a global header with a comment, which all other readers pass over."""
    header: Any = tarfile.TarInfo.create_pax_global_header({"comment": text})
    return bytes(header)

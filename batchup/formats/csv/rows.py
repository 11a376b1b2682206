"""The rows of CSV text: where they end, whatever is quoted in them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

_QUOTE, _FEED, _RETURN = ord('"'), ord("\n"), ord("\r")


def last_end(data: bytes, delimiter: str) -> int:
    r"""Return the place behind the last row that is whole, in bytes that begin with a row; 0 if there is none.

    >>> last_end(b'a,b\n"c\n', ","), last_end(b'a,b\n"c\n"\n', ",")
    (4, 9)
    """
    end, limit = _end_of(data), len(data)
    if b'"' not in data:
        return data.rfind(end) + 1
    turns = quote_turns(data, delimiter)
    while (place := data.rfind(end, 0, limit)) >= 0:
        before = int(np.searchsorted(turns, place))
        if before % 2 == 0:
            return place + 1
        limit = int(turns[before - 1])
    return 0


def row_places(data: bytes, delimiter: str) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    r"""Return where rows begin, and where they end; lines without anything are none.

    >>> [places.tolist() for places in row_places(b'a\n\n"b\n"\nc', ",")]
    [[0, 3, 8], [2, 8, 9]]
    """
    array = np.frombuffer(data, np.uint8)
    ends = np.flatnonzero(array == _end_of(data)[0])
    if b'"' in data:
        ends = ends[np.searchsorted(quote_turns(data, delimiter), ends) % 2 == 0]
    stops = ends + 1
    if data and not (len(stops) and stops[-1] == len(data)):
        stops = np.append(stops, len(data))
    starts = np.append(0, stops)[: len(stops)]
    sizes, last = stops - starts, array[stops - 1]
    empty = (sizes == 0) | ((sizes == 1) & np.isin(last, (_FEED, _RETURN)))
    empty |= (sizes == 2) & (last == _FEED) & (array[starts] == _RETURN)
    return starts[~empty], stops[~empty]


def quote_turns(data: bytes, delimiter: str) -> NDArray[np.intp]:
    r"""Return the places where what is quoted begins and ends, in turns; a quoted quote ends it and begins it anew.

    As pyarrow has it, a quote in a cell that does not begin with one is a character like others.

    >>> quote_turns(b'"a","b""c",5",6\n', ",").tolist()
    [0, 2, 4, 6, 7, 9]
    """
    array = np.frombuffer(data, np.uint8)
    quotes = np.flatnonzero(array == _QUOTE)
    begins = quotes[::2]
    before = array[begins[begins > 0] - 1]
    regular = np.isin(before, (ord(delimiter), _QUOTE, _FEED, _RETURN)).all()
    return quotes if regular else np.fromiter(_turns(data, delimiter), np.intp)


def _turns(data: bytes, delimiter: str) -> Iterator[int]:
    """Yield the same, quote by quote."""
    starts: Any = (ord(delimiter), _FEED, _RETURN)
    place = data.find(b'"')
    while place >= 0:
        if place and data[place - 1] not in starts:
            place = data.find(b'"', place + 1)
            continue
        yield place
        while (place := data.find(b'"', place + 1)) >= 0:
            yield place
            if data[place + 1 : place + 2] != b'"':
                break
            place += 1
            yield place
        else:
            return
        place = data.find(b'"', place + 1)


def _end_of(data: bytes) -> bytes:
    """Return what ends lines; old ones end with a carriage return alone."""
    return b"\n" if b"\n" in data else b"\r"

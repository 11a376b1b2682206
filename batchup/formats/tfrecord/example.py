"""The wire format of tf.train.Example: named lists of floats, integers or byte strings, as bytes.

An Example is a protocol buffer (https://protobuf.dev/programming-guides/encoding) of the shape

::

    Example  {1: Features}
    Features {1: entry, repeated}       entry     {1: key, 2: Feature}
    Feature  one of {1: BytesList, 2: FloatList, 3: Int64List}, each {1: value, repeated; numbers may be packed}
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import InvalidTypeError, InvalidValueError

Span = tuple[int, int]  # where bytes begin and end, from the beginning of the record on
Data = bytes | bytearray
Decode = Callable[[Data, int, Sequence[Span]], NDArray[Any]]
Values = list[tuple[str, Decode, Sequence[Span]]]  # for each feature, how to decode what lies where

_LAYOUTS = 64  # that are kept
_GAPS = 64  # in a layout that is worth keeping
_VARINT, _FIXED64, _BYTES, _GROUP, _GROUP_END, _FIXED32 = range(6)  # wire types
_DEEPEST = 100  # as deep as groups may lie in one another
_LONGEST = 10  # bytes of a varint
_FEW = 256  # bytes of varints up to which Python is faster than NumPy
_FEW_NUMBERS = 48  # the same for writing them
_FLOAT: np.dtype[np.float32] = np.dtype("<f4")


class MalformedError(ValueError):
    """Bytes that are no Example; the message says why."""


class MissingFeaturesError(ValueError):
    """An Example that lacks features which are wanted; the message names them."""


class ExampleParser:
    """Make dicts of arrays of Examples.

    Records of one file are mostly laid out alike: only the values differ, not the bytes between them. Where those are
    the bytes of an earlier record, its layout holds, and nothing needs to be parsed anew.

    Parameters
    ----------
    keys : sequence of str, optional
        The features to return, in this order. By default all, in the order of the record.
    """

    def __init__(self, keys: Sequence[str] | None = None) -> None:
        self._keys = keys
        self._layouts: dict[int, _Layout | None] = {}  # by the number of bytes of the record

    def parse(self, data: Data, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """Return the features of the record that lies in `data` from `start` to `stop`.

        Raises
        ------
        MalformedError
            If it is no Example.
        MissingFeaturesError
            If a feature of `keys` is not there.
        """
        size = stop - start
        layout = self._layouts.get(size)
        values = layout.values if layout is not None and layout.fits(data, start) else self._learn(data, start, stop)
        return {key: decode(data, start, spans) for key, decode, spans in values}

    def _learn(self, data: Data, start: int, stop: int) -> Values:
        """Return where the values of a record lie; keep its layout if one of its size has been there before."""
        features = _usual_features(data, start, stop)
        if features is None:
            features = _features(data, start, stop)
        values = _chosen(features, self._keys)
        if len(self._layouts) >= _LAYOUTS:
            self._layouts.clear()
        if stop - start not in self._layouts:
            self._layouts[stop - start] = None
        elif not any(feature.loose for feature in features.values()):
            layout = _Layout(bytes(data[start:stop]), features, values)
            self._layouts[stop - start] = layout if len(layout.gaps) <= _GAPS else None
        return values


class _Layout:
    """Where the values of a record lie, and the bytes between them, which say so.

    What follows from the gaps alone (all but what the values are) is the same for all records with these gaps.
    """

    def __init__(self, record: bytes, features: Mapping[str, _Feature], values: Values) -> None:
        self.values = values
        self.gaps: list[tuple[int, bytes]] = []
        place = 0
        for begin, end in sorted(span for feature in features.values() for span in feature.spans):
            self.gaps.append((place, record[place:begin]))
            place = end
        self.gaps.append((place, record[place:]))

    def fits(self, data: Data, start: int) -> bool:
        """Return whether a record of the same size is laid out so."""
        for place, gap in self.gaps:  # noqa: SIM110  a loop is twice as fast as all()
            if not data.startswith(gap, start + place):
                return False
        return True


def _chosen(features: Mapping[str, _Feature], keys: Sequence[str] | None) -> Values:
    if keys is not None and (missing := [key for key in keys if key not in features]):
        raise MissingFeaturesError(f"has no {missing}: it has {list(features)}")
    return [(key, features[key].decode, features[key].spans) for key in (features if keys is None else keys)]


class _Feature:
    """The values of a feature, as they are found."""

    __slots__ = ("decode", "loose", "number", "spans")

    def __init__(self) -> None:
        self.number = 0  # of the kind of list: none so far
        self.decode: Decode = _strings
        self.spans: list[Span] = []
        self.loose = False  # whether where values end depends on the values

    def add(self, data: Data, begin: int, end: int, start: int) -> None:
        """Take in a Feature message: values of the same kind are added, of another kind replace those before."""
        for tag, inner, stop in _fields(data, begin, end):
            number = tag >> 3
            if tag & 7 != _BYTES or number not in _DECODE:
                continue
            if number != self.number:
                self.number, self.decode, self.spans = number, _DECODE[number], []
            self._add_values(data, inner, stop, start)

    def _add_values(self, data: Data, begin: int, end: int, start: int) -> None:
        single = _SINGLE[self.number]
        for tag, inner, stop in _fields(data, begin, end):
            if tag >> 3 != 1:
                continue
            if tag & 7 == _BYTES:
                if single == _FIXED32 and (stop - inner) % _FLOAT.itemsize:
                    raise MalformedError(f"{stop - inner} bytes of floats of 4 bytes")
                self.spans.append((inner - start, stop - start))
            elif tag & 7 == single:
                self.spans.append((inner - start, stop - start))
                self.loose |= single == _VARINT


def _usual_features(data: Data, start: int, stop: int) -> dict[str, _Feature] | None:
    """Return the features of an Example as all writers write it; None if anything about it is unusual.

    It does what `_features` does, five times as fast: the fields are in order, each is there once, numbers are packed.
    """
    features: dict[str, _Feature] = {}
    if stop - start < 2 or data[start] != _FIRST:
        return None
    place, end = _sized(data, start + 1, stop)
    if end != stop:
        return None
    while place < stop:
        if data[place] != _FIRST:
            return None
        place, entry_end = _sized(data, place + 1, stop)
        if entry_end > stop or entry_end - place < 4 or data[place] != _FIRST:
            return None
        begin, end = _sized(data, place + 1, entry_end)
        if end >= entry_end or data[end] != _SECOND:
            return None
        name = _as_name(bytes(data[begin:end]))
        place, end = _sized(data, end + 1, entry_end)
        if end != entry_end or place >= end or name is None or name in features:
            return None
        tag = data[place]
        place, end = _sized(data, place + 1, entry_end)
        if end != entry_end or tag not in _LISTS:
            return None
        feature = features[name] = _Feature()
        feature.number = tag >> 3
        feature.decode = _DECODE[feature.number]
        spans = feature.spans
        while place < entry_end:
            if data[place] != _FIRST:
                return None
            begin, place = _sized(data, place + 1, entry_end)
            spans.append((begin - start, place - start))
        if place != entry_end or (tag != _FIRST and (len(spans) > 1 or (tag == _SECOND and (place - begin) % 4))):
            return None
    return features if place == stop else None


def _sized(data: Data, place: int, end: int) -> Span:
    """Return where the content of a field begins and ends, whose size stands at a place; behind `end` if cut short."""
    if place >= end:
        return end, end + 1
    size = data[place]
    if size < 0x80:
        return place + 1, place + 1 + size
    if place + 1 < end and (high := data[place + 1]) < 0x80:
        return place + 2, place + 2 + (size & 0x7F | high << 7)
    size, place = _varint(data, place, end)
    return place, place + size


@lru_cache(maxsize=256)
def _as_name(key: bytes) -> str | None:
    """Return a key as text, which mostly has been met before; None if it is none."""
    try:
        return key.decode()
    except UnicodeDecodeError:
        return None


def _features(data: Data, start: int, stop: int) -> dict[str, _Feature]:
    """Return the features of an Example that have values; of two with one key, the last counts."""
    features: dict[str, _Feature] = {}
    for tag, begin, end in _fields(data, start, stop):
        if tag == 1 << 3 | _BYTES:
            for inner_tag, inner, inner_end in _fields(data, begin, end):
                if inner_tag == 1 << 3 | _BYTES:
                    key, feature = _entry(data, inner, inner_end, start)
                    features[key] = feature
    return {key: feature for key, feature in features.items() if feature.number}


def _entry(data: Data, begin: int, end: int, start: int) -> tuple[str, _Feature]:
    key, feature = b"", _Feature()
    for tag, inner, stop in _fields(data, begin, end):
        if tag == 1 << 3 | _BYTES:
            key = bytes(data[inner:stop])
        elif tag == 2 << 3 | _BYTES:
            feature.add(data, inner, stop, start)
    try:
        return key.decode(), feature
    except UnicodeDecodeError:
        raise MalformedError(f"the key {key!r} is not UTF-8") from None


def _fields(data: Data, place: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield for each field of a message its tag, and where its content begins and ends."""
    while place < end:
        tag = data[place]
        place += 1
        if tag >= 0x80:
            tag, place = _varint(data, place - 1, end)
        if tag < 8:
            raise MalformedError(f"there is no field with the tag {tag}")
        wire = tag & 7
        begin = place
        if wire == _BYTES:
            if place < end and (size := data[place]) < 0x80:
                begin += 1
            else:
                size, begin = _varint(data, place, end)
            place = begin + size
        elif wire == _VARINT:
            _, place = _varint(data, place, end)
        elif wire == _GROUP:
            place = _behind_group(data, place, end, [tag >> 3])
        else:
            place += _fixed(wire)
        if place > end:
            raise MalformedError(f"a field of {place - begin} bytes where {end - begin} are left")
        yield tag, begin, place


def _varint(data: Data, place: int, end: int) -> tuple[int, int]:
    """Return a number of seven bits per byte, the lowest first, and the place behind it."""
    value = shift = 0
    for index in range(place, min(end, place + _LONGEST)):
        byte = data[index]
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, index + 1
        shift += 7
    raise MalformedError("a number does not end")


def _fixed(wire: int) -> int:
    """Return the number of bytes of what always has as many."""
    if wire == _FIXED32:
        return 4
    if wire == _FIXED64:
        return 8
    raise MalformedError(f"there is no wire type {wire} here")


def _behind_group(data: Data, place: int, end: int, numbers: list[int]) -> int:
    """Return the place behind a group, which is an old kind of message; `numbers` are those of the open ones."""
    while numbers:
        tag, place = _varint(data, place, end)
        wire = tag & 7
        if wire == _GROUP:
            numbers.append(tag >> 3)
        elif wire == _GROUP_END:
            if numbers.pop() != tag >> 3:
                raise MalformedError("a group ends that was not begun")
        elif wire in (_VARINT, _BYTES):
            size, place = _varint(data, place, end)
            place += size if wire == _BYTES else 0
        else:
            place += _fixed(wire)
        if place > end or len(numbers) > _DEEPEST:
            raise MalformedError("a group does not end")
    return place


def _joined(data: Data, start: int, spans: Sequence[Span]) -> Data:
    if len(spans) == 1:
        begin, end = spans[0]
        return data[start + begin : start + end]
    return b"".join([data[start + begin : start + end] for begin, end in spans])


def _floats(data: Data, start: int, spans: Sequence[Span]) -> NDArray[Any]:
    if len(spans) == 1:
        begin, end = spans[0]
        values: NDArray[Any] = np.frombuffer(data, _FLOAT, (end - begin) // 4, start + begin)
    else:
        values = np.frombuffer(_joined(data, start, spans), _FLOAT)
    copied: NDArray[Any] = values.copy()
    return copied


def _integers(data: Data, start: int, spans: Sequence[Span]) -> NDArray[Any]:
    if len(spans) == 1:
        begin, end = spans[0]
        if 1 <= end - begin <= 2:  # a label, say
            low, high = data[start + begin], data[start + end - 1]
            if high < 0x80 and (end - begin == 1 or low >= 0x80):
                only = np.empty(1, np.int64)
                only[0] = low if end - begin == 1 else low & 0x7F | high << 7
                return only
    packed = _joined(data, start, spans)
    if packed and packed[-1] >= 0x80:
        raise MalformedError("the last integer does not end")
    if len(packed) <= _FEW:
        return np.array(_unpacked(packed), np.int64)
    if packed.isascii():  # one byte each
        return np.frombuffer(packed, np.uint8).astype(np.int64)
    return _unpacked_at_once(packed)


def _unpacked(packed: Data) -> list[int]:
    numbers, value, shift = [], 0, 0
    for byte in packed:
        if byte >= 0x80:
            value |= (byte & 0x7F) << shift
            shift += 7
            continue
        if shift >= 7 * (_LONGEST - 1):  # the last bit is the sign
            value = _signed(value | byte << shift, shift)
        else:
            value |= byte << shift
        numbers.append(value)
        value = shift = 0
    return numbers


def _signed(value: int, shift: int) -> int:
    if shift >= 7 * _LONGEST:
        raise MalformedError("an integer does not end")
    value &= 2**64 - 1
    return value - 2**64 if value >= 2**63 else value


def _unpacked_at_once(packed: Data) -> NDArray[np.int64]:
    data = np.frombuffer(packed, np.uint8)
    ends = (data < 0x80).nonzero()[0]
    starts = np.empty_like(ends)
    starts[0] = 0
    starts[1:] = ends[:-1] + 1
    sizes = ends - starts
    longest = int(sizes.max()) + 1
    if longest > _LONGEST:
        raise MalformedError("an integer does not end")
    values = (data[starts] & 0x7F).astype(np.uint64)
    for index in range(1, longest):
        longer = (sizes >= index).nonzero()[0]
        values[longer] |= (data[starts[longer] + index] & 0x7F).astype(np.uint64) << np.uint64(7 * index)
    return values.view(np.int64)


def _strings(data: Data, start: int, spans: Sequence[Span]) -> NDArray[Any]:
    strings = np.empty(len(spans), object)
    for index, (begin, end) in enumerate(spans):
        strings[index] = bytes(data[start + begin : start + end])
    return strings


_DECODE: dict[int, Decode] = {1: _strings, 2: _floats, 3: _integers}
_FIRST, _SECOND = 1 << 3 | _BYTES, 2 << 3 | _BYTES  # tags of the first and second field, if those are bytes
_LISTS = (_FIRST, _SECOND, 3 << 3 | _BYTES)
_SINGLE = {1: _BYTES, 2: _FIXED32, 3: _VARINT}  # wire types of values that are not packed


def encoded_example(item: Mapping[str, Any]) -> bytes:
    """Return the bytes of an Example.

    Parameters
    ----------
    item : dict
        The features: numbers, strings, or arrays or lists of those.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If it cannot be an Example; the message names the key.

    Examples
    --------
    >>> record = encoded_example({"label": 3, "word": "no"})
    >>> ExampleParser().parse(record, 0, len(record))
    {'label': array([3]), 'word': array([b'no'], dtype=object)}
    """
    entries = []
    for key, value in item.items():
        if not isinstance(key, str):
            raise InvalidTypeError(f"the names of features are str, got {key!r}")
        entries.append(_message(1, _message(1, _utf8(key, key)) + _message(2, _feature(key, value))))
    return _message(1, b"".join(entries))


def _feature(key: str, value: Any) -> bytes:
    strings = _as_strings(key, value)
    if strings is not None:
        return _message(1, b"".join([_message(1, string) for string in strings]))
    try:
        array = np.asarray(value)
    except ValueError as error:  # lists of unequal lengths
        raise InvalidTypeError(f"feature {key!r} is no array: {error}") from None
    if array.dtype.kind == "f":
        return _message(2, _packed(_float_bytes(key, array)))
    if array.dtype.kind in "iub":
        return _message(3, _packed(_integer_bytes(key, array)))
    if array.dtype.kind == "O" and all(isinstance(number, int) for number in array.flat):
        with contextlib.suppress(OverflowError):
            return _message(3, _packed(_integer_bytes(key, array.astype(np.int64))))
        raise InvalidValueError(f"feature {key!r} has integers that are not between -2**63 and 2**63 - 1")
    given = f"an array of {array.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    raise InvalidTypeError(
        f"feature {key!r} must be numbers or strings, or an array or a list of one kind of those, got {given}"
    )


def _as_strings(key: str, value: Any) -> list[bytes] | None:
    """Return the strings of a value as bytes, None if it is something else."""
    if isinstance(value, np.ndarray) and value.dtype.kind in "SUO":
        value = value.ravel().tolist()
        if not value:
            return []
    parts = value if isinstance(value, (list, tuple)) else [value]
    if not parts or not all(isinstance(part, (str, bytes, bytearray)) for part in parts):
        return None
    return [_utf8(key, part) if isinstance(part, str) else bytes(part) for part in parts]


def _utf8(key: str, text: str) -> bytes:
    try:
        return text.encode()
    except UnicodeEncodeError as error:
        raise InvalidValueError(f"feature {key!r} has text that UTF-8 cannot write: {error.reason}") from None


def _float_bytes(key: str, array: NDArray[Any]) -> bytes:
    try:
        with np.errstate(over="raise"):
            return array.astype(_FLOAT).tobytes()
    except FloatingPointError:
        raise InvalidValueError(f"feature {key!r} has numbers that are beyond float32: scale them") from None


def _integer_bytes(key: str, array: NDArray[Any]) -> bytes:
    if array.dtype == np.uint64 and array.size and array.max() > np.iinfo(np.int64).max:
        raise InvalidValueError(f"feature {key!r} has integers that are not between -2**63 and 2**63 - 1")
    flat = array.ravel().astype(np.int64)
    if len(flat) <= _FEW_NUMBERS:
        return b"".join([_varint_bytes(number) for number in flat.tolist()])
    return _varints(flat.view(np.uint64))


def _varints(values: NDArray[np.uint64]) -> bytes:
    sizes = np.ones(len(values), np.intp)
    for index in range(1, _LONGEST):
        sizes += values >= np.uint64(1 << 7 * index)
    ends = np.cumsum(sizes)
    starts = ends - sizes
    packed = np.empty(ends[-1], np.uint8)
    for index in range(int(sizes.max())):
        longer = np.flatnonzero(sizes > index)
        more = np.where(sizes[longer] > index + 1, 0x80, 0)
        packed[starts[longer] + index] = values[longer] >> np.uint64(7 * index) & np.uint64(0x7F) | more.astype(
            np.uint64
        )
    return packed.tobytes()


def _varint_bytes(number: int) -> bytes:
    number &= 2**64 - 1
    data = bytearray()
    while number >= 0x80:
        data.append(number & 0x7F | 0x80)
        number >>= 7
    data.append(number)
    return bytes(data)


def _message(number: int, content: bytes) -> bytes:
    """Return a field whose content are bytes."""
    return _varint_bytes(number << 3 | _BYTES) + _varint_bytes(len(content)) + content


def _packed(content: bytes) -> bytes:
    return _message(1, content) if content else b""

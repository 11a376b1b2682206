"""tf.train.Example as bytes: all encodings that protocol buffers allow are read; what is no Example is refused."""

from __future__ import annotations

import contextlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchup.errors import BatchUpError, InvalidTypeError, InvalidValueError
from batchup.formats.tfrecord import example as wire
from batchup.formats.tfrecord.example import ExampleParser, MalformedError, MissingFeaturesError, encoded_example

INT64 = st.integers(-(2**63), 2**63 - 1)
VALUES = st.one_of(
    st.lists(INT64, min_size=1, max_size=120).map(np.array),
    st.lists(st.floats(width=32), max_size=30).map(lambda numbers: np.array(numbers, np.float32)),
    st.lists(st.binary(max_size=9), min_size=1, max_size=5),
)


def parse(record: bytes, keys: list[str] | None = None) -> dict[str, Any]:
    """Return the features of a record that lies between other bytes."""
    return ExampleParser(keys).parse(b"before" + record + b"behind", 6, 6 + len(record))


def lists(record: bytes) -> dict[str, list[Any]]:
    return {key: values.tolist() for key, values in parse(record).items()}


def varint(number: int) -> bytes:
    number &= 2**64 - 1
    head = b""
    while number > 127:
        head += bytes([number & 127 | 128])
        number >>= 7
    return head + bytes([number])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def entry(key: bytes, feature: bytes) -> bytes:
    return field(1, field(1, key) + field(2, feature))


def floats(*numbers: float) -> bytes:
    return field(2, field(1, np.array(numbers, "<f4").tobytes()))


def integers(*numbers: int) -> bytes:
    return field(3, field(1, b"".join(map(varint, numbers))))


def example(*entries: bytes) -> bytes:
    return field(1, b"".join(entries))


UNKNOWN = (
    varint(9 << 3) + varint(300) + field(11, b"?") + varint(12 << 3 | 5) + b"four" + varint(13 << 3 | 1) + b"8" * 8
)
GROUP = varint(14 << 3 | 3) + UNKNOWN + varint(15 << 3 | 3) + varint(15 << 3 | 4) + varint(14 << 3 | 4)
ODD: dict[str, tuple[bytes, dict[str, list[Any]]]] = {
    "nothing": (b"", {}),
    "no features": (example(), {}),
    "a feature without a list": (example(entry(b"a", b""), entry(b"b", floats(1))), {"b": [1]}),
    "an entry without a feature": (example(field(1, field(1, b"a"))), {}),
    "an entry without a key": (example(field(1, field(2, integers(7)))), {"": [7]}),
    "empty lists": (
        example(entry(b"f", field(2, b"")), entry(b"i", field(3, b"")), entry(b"s", field(1, b""))),
        {"f": [], "i": [], "s": []},
    ),
    "an empty packed list": (example(entry(b"f", field(2, field(1, b"")))), {"f": []}),
    "floats that are not packed": (
        example(entry(b"a", field(2, b"\x0d" + np.float32(1.5).tobytes() + b"\x0d" + np.float32(2).tobytes()))),
        {"a": [1.5, 2]},
    ),
    "integers that are not packed": (
        example(entry(b"a", field(3, b"".join(b"\x08" + varint(n) for n in (1, -1, 300))))),
        {"a": [1, -1, 300]},
    ),
    "packed and not": (
        example(entry(b"a", field(3, field(1, varint(5) + varint(600)) + b"\x08" + varint(7) + field(1, varint(8))))),
        {"a": [5, 600, 7, 8]},
    ),
    "negative integers": (example(entry(b"a", integers(-1, -(2**63), 2**63 - 1))), {"a": [-1, -(2**63), 2**63 - 1]}),
    "a number with needless bytes": (example(entry(b"a", field(3, field(1, b"\x85\x80\x00")))), {"a": [5]}),
    "one key twice": (
        example(entry(b"a", floats(1)), entry(b"b", floats(2)), entry(b"a", integers(3))),
        {"a": [3], "b": [2]},
    ),
    "two kinds of list": (example(entry(b"a", floats(1) + integers(2, 3))), {"a": [2, 3]}),
    "two kinds of list, and back": (example(entry(b"a", floats(1) + integers(2) + floats(3))), {"a": [3]}),
    "a list in parts": (example(entry(b"a", floats(1) + floats(2, 3))), {"a": [1, 2, 3]}),
    "features in parts": (example(entry(b"a", floats(1))) + example(entry(b"b", integers(2))), {"a": [1], "b": [2]}),
    "the value before the key": (example(field(1, field(2, floats(4)) + field(1, b"a"))), {"a": [4]}),
    "unknown fields everywhere": (
        UNKNOWN
        + field(1, UNKNOWN + field(1, field(1, b"a") + field(2, UNKNOWN + field(2, UNKNOWN + field(1, b"")))))
        + UNKNOWN,
        {"a": []},
    ),
    "unknown groups": (GROUP + example(entry(b"a", GROUP + field(3, GROUP + b"\x08\x01"))), {"a": [1]}),
    "known numbers with other wire types": (
        b"\x08\x01" + example(b"\x08\x01", entry(b"a", b"\x08\x01" + field(1, b"\x08\x01" + field(1, b"text")))),
        {"a": [b"text"]},
    ),
    "a size of needless bytes": (b"\x0a\x80\x00", {}),
}  # fmt: skip


@pytest.mark.parametrize("name", ODD)
def test_odd_encodings(name: str) -> None:
    """What other writers may write, or protocol buffers allow, is read as protocol buffers say."""
    record, expected = ODD[name]
    assert lists(record) == expected


def test_unknown_fields_beside_a_key() -> None:
    """Unknown fields between a key and its value are skipped; implementations of protocol buffers differ there."""
    assert lists(example(field(1, UNKNOWN + field(1, b"a") + GROUP + field(2, floats(3))))) == {"a": [3]}


BAD: dict[str, bytes] = {
    "a field that goes on behind the end": b"\x0a\x05abc",
    "a number that does not end": b"\x08" + b"\xff" * 11,
    "a tag that does not end": b"\xff",
    "a size that does not end": b"\x0a\xff",
    "field number 0": b"\x02\x00",
    "the end of a group": b"\x0c",
    "wire type 6": b"\x0e",
    "fixed bytes that are missing": b"\x0d123",
    "a group that does not end": b"\x73\x08\x01",
    "a group with another's end": b"\x73\x7c",
    "groups too deep": b"\x73" * 200 + b"\x74" * 200,
    "floats of three bytes": example(entry(b"a", field(2, field(1, b"123")))),
    "an integer that does not end": example(entry(b"a", field(3, field(1, b"\x81")))),
    "an integer of eleven bytes": example(entry(b"a", field(3, field(1, b"\x81" * 10 + b"\x01")))),
    "one of eleven among many": example(entry(b"a", field(3, field(1, b"\x81" * 10 + b"\x01" * 100)))),
    "a key that is no text": example(entry(b"\xff", floats(1))),
    "text": b"to be or not to be",
}


@pytest.mark.parametrize("name", BAD)
def test_no_example(name: str) -> None:
    """What protocol buffers do not allow is refused."""
    with pytest.raises(MalformedError):
        parse(BAD[name])


@given(st.binary(max_size=60))
def test_any_bytes(record: bytes) -> None:
    """Any bytes are an Example, or are refused."""
    with contextlib.suppress(MalformedError):
        parse(record)


@given(st.lists(st.dictionaries(st.text(max_size=4), VALUES, max_size=4), max_size=6))
def test_round_trip(items: list[dict[str, Any]]) -> None:
    """What is written is read, by one parser for all, in the order of the dict."""
    parser = ExampleParser()
    for item in items * 2:
        record = encoded_example(item)
        parsed = parser.parse(record, 0, len(record))
        assert list(parsed) == list(item)
        for key, values in item.items():
            expected = np.array([*values, None], object)[:-1] if isinstance(values, list) else values
            assert parsed[key].dtype == expected.dtype
            np.testing.assert_array_equal(parsed[key], expected)
            assert parsed[key].flags.writeable
            assert not np.shares_memory(parsed[key], np.frombuffer(record, np.uint8))


@given(st.lists(st.tuples(st.lists(INT64, max_size=3), st.binary(max_size=4)), min_size=2, max_size=8), st.data())
def test_a_layout_holds_for_its_records_only(values: list[tuple[list[int], bytes]], data: st.DataObject) -> None:
    """A parser that knows other records reads each as a new one does, whatever bytes have changed."""
    parser = ExampleParser()
    for numbers, text in values:
        record = bytearray(encoded_example({"a": np.array(numbers, int), "b": text}))
        for place in data.draw(st.lists(st.integers(0, len(record) - 1), max_size=2)):
            record[place] = data.draw(st.integers(0, 255))
        outcomes = []
        for each in (ExampleParser(), parser):
            try:
                outcomes.append({key: part.tolist() for key, part in each.parse(bytes(record), 0, len(record)).items()})
            except MalformedError as error:
                outcomes.append({"error": [str(error)]})
        assert repr(outcomes[0]) == repr(outcomes[1])


def test_keys() -> None:
    """`keys` choose features and order them; a missing one is named, with those that there are."""
    record = encoded_example({"a": 1, "b": 2.0, "c": "3"})
    assert list(parse(record, ["c", "a"])) == ["c", "a"]
    with pytest.raises(MissingFeaturesError, match=r"has no \['d'\]: it has \['a', 'b', 'c'\]"):
        parse(record, ["a", "d"])
    assert parse(record, []) == {}


def test_layouts_are_few() -> None:
    """A parser does not keep a layout for every size of record that it sees, nor layouts of many parts."""
    parser = ExampleParser()
    for size in range(500):
        record = encoded_example({"a": "x" * size})
        for _ in range(2):  # the layout of the second of a size is kept
            assert parser.parse(record, 0, len(record))["a"].tolist() == [b"x" * size]
    assert parser._layouts[len(record)] is not None
    record = encoded_example({"a": ["x"] * 1000})
    for _ in range(3):
        parser.parse(record, 0, len(record))
    assert len(parser._layouts) <= 64
    assert parser._layouts[len(record)] is None


WRITTEN: dict[str, tuple[Any, list[Any]]] = {
    "a number": (3, [3]),
    "a bool": (True, [1]),
    "a float": (2.5, [2.5]),
    "a NumPy number": (np.uint8(200), [200]),
    "a text": ("süß", ["süß".encode()]),
    "bytes": (b"\0\xff", [b"\0\xff"]),
    "a bytearray": (bytearray(b"ab"), [b"ab"]),
    "texts and bytes": (["a", b"b"], [b"a", b"b"]),
    "an object array of numbers": (np.array([1, -2], object), [1, -2]),
    "an array of texts": (np.array([["a", "bc"], ["", "d"]]), [b"a", b"bc", b"", b"d"]),
    "an array of bytes": (np.array([b"a", b"bc"]), [b"a", b"bc"]),
    "an array of objects": (np.array(["a", b"bc"], object), [b"a", b"bc"]),
    "an array of two axes": (np.arange(6, dtype=np.int8).reshape(2, 3), [0, 1, 2, 3, 4, 5]),
    "in Fortran's order": (np.asfortranarray(np.arange(4.0).reshape(2, 2)), [0, 1, 2, 3]),
    "of other byte order": (np.arange(3, dtype=">i2"), [0, 1, 2]),
    "many integers": (np.arange(-5, 5000, 7), list(range(-5, 5000, 7))),
    "bools": (np.array([True, False]), [1, 0]),
    "float16": (np.array([0.5, 2], np.float16), [0.5, 2]),
    "float64": ([0.1], [float(np.float32(0.1))]),
    "infinity": ([float("inf")], [float("inf")]),
    "uint64": (np.array([2**63 - 1], np.uint64), [2**63 - 1]),
    "nothing": ([], []),
}


@pytest.mark.parametrize("name", WRITTEN)
def test_what_can_be_written(name: str) -> None:
    """All kinds of numbers and strings are written, flat."""
    value, expected = WRITTEN[name]
    assert lists(encoded_example({"a": value})) == {"a": expected}


REFUSED: dict[str, tuple[Any, type[BatchUpError], str]] = {
    "None": ({"a": None}, InvalidTypeError, "feature 'a'.*got NoneType"),
    "an object": ({"a": object()}, InvalidTypeError, "feature 'a'.*got object"),
    "mixed": ({"a": ["b", 1.5, None]}, InvalidTypeError, "feature 'a'.*got list"),
    "complex": ({"a": np.ones(2, complex)}, InvalidTypeError, "feature 'a'.*complex128"),
    "dates": ({"a": np.zeros(2, "M8[s]")}, InvalidTypeError, "feature 'a'.*datetime64"),
    "a key that is no str": ({1: 2}, InvalidTypeError, "str, got 1"),
    "uint64 beyond int64": ({"a": np.array([2**63], np.uint64)}, InvalidValueError, r"feature 'a'.*2\*\*63 - 1"),
    "an integer beyond uint64": ({"a": 2**70}, InvalidValueError, r"feature 'a'.*2\*\*63 - 1"),
    "a float beyond float32": ({"a": 1e300}, InvalidValueError, "feature 'a'.*float32"),
    "a surrogate": ({"a": "\ud800"}, InvalidValueError, "feature 'a'.*UTF-8"),
    "a surrogate in a key": ({"\ud800": 1}, InvalidValueError, "UTF-8"),
    "ragged": ({"a": [[1], [2, 3]]}, InvalidTypeError, "feature 'a'"),
    "numbers and texts": ({"a": [1, "b"]}, InvalidTypeError, "feature 'a'"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_written(name: str) -> None:
    """What is no list of one kind is refused; the error names the key."""
    item, kind, message = REFUSED[name]
    with pytest.raises(kind, match=message):
        encoded_example(item)


@given(
    st.dictionaries(
        st.text(max_size=3),
        st.one_of(
            st.lists(st.integers(-(2**63), 2**63 - 1), max_size=4),
            st.lists(st.floats(width=32), max_size=4),
            st.lists(st.binary(max_size=200), max_size=3),
        ),
        max_size=4,
    ),
    st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), max_size=3),
)
def test_the_quick_way_finds_what_the_thorough_one_finds(
    item: dict[str, list[Any]], changes: list[tuple[int, int]]
) -> None:
    """Records as all writers write them are parsed in a quick way, which gives up where it would differ."""
    record = bytearray(encoded_example(item))
    for place, byte in changes:
        if record:
            record[place % len(record)] = byte
    try:
        quick = wire._usual_features(record, 0, len(record))
    except MalformedError:
        return  # a length that does not end
    if quick is not None:
        thorough = wire._features(record, 0, len(record))
        assert list(quick) == list(thorough)
        for name, feature in quick.items():
            assert (feature.number, feature.spans) == (thorough[name].number, thorough[name].spans)
            assert not thorough[name].loose
    if not changes and all(item.values()):
        assert quick is not None or not item

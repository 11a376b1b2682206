"""TFRecord files and TensorFlow: each reads what the other writes, odd encodings too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf.message import DecodeError
from hypothesis import given
from hypothesis import strategies as st

from batchup.formats import read_tfrecord, write_tfrecord
from batchup.formats.tfrecord.example import ExampleParser, MalformedError, encoded_example

from ..test_formats_example import ODD, VALUES, WRITTEN

OPTIONS = {None: "", "gzip": "GZIP", "zlib": "ZLIB"}
FEATURES = st.lists(st.dictionaries(st.text(max_size=5), VALUES, max_size=4), max_size=5)


def as_lists(example: Any) -> dict[str, list[Any]]:
    """Return the features that TensorFlow's own class has, those without a list left out."""
    kinds = {key: feature.WhichOneof("kind") for key, feature in example.features.feature.items()}
    return {key: list(getattr(example.features.feature[key], kind).value) for key, kind in kinds.items() if kind}


def of_tensorflow(record: bytes) -> dict[str, list[Any]]:
    return as_lists(tf.train.Example.FromString(record))


def ours(record: bytes) -> dict[str, list[Any]]:
    return {key: values.tolist() for key, values in ExampleParser().parse(record, 0, len(record)).items()}


def as_example(item: dict[str, Any]) -> Any:
    """Return TensorFlow's Example of lists of bytes, arrays of floats, and arrays of integers."""
    example = tf.train.Example()
    for key, values in item.items():
        feature = example.features.feature[key]
        if isinstance(values, list):
            feature.bytes_list.value.extend(values)
        elif values.dtype.kind == "f":
            feature.float_list.value.extend(values.tolist())
        else:
            feature.int64_list.value.extend(values.tolist())
    return example


@pytest.mark.parametrize("name", ODD)
def test_odd_encodings(name: str) -> None:
    """What the tests say of odd encodings is what TensorFlow reads."""
    record, expected = ODD[name]
    assert of_tensorflow(record) == expected == ours(record)


@pytest.mark.parametrize("name", WRITTEN)
def test_what_is_written(name: str) -> None:
    """TensorFlow reads all kinds of values that can be written."""
    value, expected = WRITTEN[name]
    assert of_tensorflow(encoded_example({"a": value})) == {"a": expected}


@given(FEATURES, st.sampled_from(list(OPTIONS)))
def test_written_by_tensorflow(
    tmp_path_factory: pytest.TempPathFactory, items: list[dict[str, Any]], compression: str | None
) -> None:
    """Files that TensorFlow writes are read."""
    path = str(tmp_path_factory.mktemp("tf") / "a")
    with tf.io.TFRecordWriter(path, OPTIONS[compression]) as writer:
        for item in items:
            writer.write(as_example(item).SerializeToString())
    read = [
        {key: values.tolist() for key, values in item.items()} for item in read_tfrecord(path, compression=compression)
    ]
    assert repr([sorted(item.items()) for item in read]) == repr(
        [sorted(as_lists(as_example(item)).items()) for item in items]
    )


@given(FEATURES, st.sampled_from(list(OPTIONS)))
def test_read_by_tensorflow(
    tmp_path_factory: pytest.TempPathFactory, items: list[dict[str, Any]], compression: str | None
) -> None:
    """TensorFlow reads files that are written here."""
    path = str(tmp_path_factory.mktemp("tf") / "a")
    write_tfrecord(items, path, compression)
    read = [of_tensorflow(record.numpy()) for record in tf.data.TFRecordDataset(path, OPTIONS[compression])]
    assert repr([sorted(item.items()) for item in read]) == repr(
        [sorted(as_lists(as_example(item)).items()) for item in items]
    )


@given(FEATURES.filter(any), st.data())
def test_damaged_examples(items: list[dict[str, Any]], data: st.DataObject) -> None:
    """Of bytes that are damaged, both make the same, or nothing."""
    record = bytearray(encoded_example({key: value for item in items for key, value in item.items()}))
    for place in data.draw(st.lists(st.integers(0, len(record) - 1), min_size=1, max_size=3)):
        record[place] = data.draw(st.integers(0, 255))
    try:
        expected = sorted(of_tensorflow(bytes(record)).items())
    except DecodeError:
        return
    assert repr(sorted(ours(bytes(record)).items())) == repr(expected)


def test_parse_single_example(tmp_path: Path) -> None:
    """The graph operation that pipelines of TensorFlow use reads what is written here, in its own types."""
    rng = np.random.default_rng(0)
    items = [{"x": rng.random(16, np.float32), "y": n - 2, "name": f"{n}"} for n in range(5)]
    write_tfrecord(items, tmp_path / "a")
    kinds = {
        "x": tf.io.FixedLenFeature([16], tf.float32),
        "y": tf.io.FixedLenFeature([], tf.int64),
        "name": tf.io.FixedLenFeature([], tf.string),
    }
    records = tf.data.TFRecordDataset(str(tmp_path / "a")).map(lambda record: tf.io.parse_single_example(record, kinds))
    for ours_, theirs in zip(read_tfrecord(tmp_path / "a"), records.as_numpy_iterator(), strict=True):
        np.testing.assert_array_equal(ours_["x"], theirs["x"])
        assert ours_["y"][0] == theirs["y"]
        assert ours_["name"][0] == theirs["name"]


@pytest.mark.parametrize("record", [b"\x0a\x05abc", b"\x0c", b"to be"])
def test_both_refuse(record: bytes) -> None:
    """What TensorFlow does not take as an Example is refused here too."""
    with pytest.raises(DecodeError):
        tf.train.Example.FromString(record)
    with pytest.raises(MalformedError):
        ours(record)

"""TensorFlow's tf.data: a pipeline of Python's numbers, and records of TFRecord files."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from declared import Work
from files import RowFiles
from items import LABEL, ROW, path_of, plus_one, wanted
from slices import Epoch

from contenders import Ways

tf: Any = importlib.import_module("tensorflow")

PARSED_AT_ONCE = 256


def in_graph(work: Work, numbers: list[int]) -> Epoch:
    """`from_generator(numbers)`, then `map`, `filter`, `batch(256)`, `map(cast)` in the graph, `as_numpy_iterator`."""
    items = tf.data.Dataset.from_generator(lambda: numbers, output_signature=tf.TensorSpec((), tf.int64))
    kept = items.map(lambda number: number + 1).filter(lambda number: number % 3 != 0)
    return kept.batch(work.batch).map(lambda batch: tf.cast(batch, tf.float32)).as_numpy_iterator


def in_python(work: Work, numbers: list[int]) -> Epoch:
    """`from_generator` of a generator that calls the two functions, `batch(256)`, `as_numpy_iterator`."""

    def items() -> Iterator[int]:
        return filter(wanted, map(plus_one, numbers))

    signature = tf.TensorSpec((), tf.float32)
    return tf.data.Dataset.from_generator(items, output_signature=signature).batch(work.batch).as_numpy_iterator


def parsed(work: Work, files: RowFiles) -> Epoch:
    """`TFRecordDataset(path).map(parse_single_example).as_numpy_iterator()`."""
    return _parsed(work, files).as_numpy_iterator


def parsed_ahead(work: Work, files: RowFiles) -> Epoch:
    """The same with `map(..., num_parallel_calls=AUTOTUNE)` and `prefetch(AUTOTUNE)`."""
    return _parsed(work, files, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE).as_numpy_iterator


def _parsed(work: Work, files: RowFiles, **options: Any) -> Any:
    features = _features(work)
    records = tf.data.TFRecordDataset(path_of(files))
    return records.map(lambda record: tf.io.parse_single_example(record, features), **options)


def parsed_at_once(work: Work, files: RowFiles) -> Epoch:
    """`TFRecordDataset(path).batch(256).map(parse_example).prefetch(AUTOTUNE)`, taken apart in Python."""
    features = _features(work)
    records = tf.data.TFRecordDataset(path_of(files)).batch(PARSED_AT_ONCE)
    batches = records.map(lambda batch: tf.io.parse_example(batch, features)).prefetch(tf.data.AUTOTUNE)

    def epoch() -> Iterator[Any]:
        for batch in batches.as_numpy_iterator():
            for row, label in zip(batch[ROW], batch[LABEL], strict=True):
                yield {ROW: row, LABEL: label}

    return epoch


def _features(work: Work) -> dict[str, Any]:
    return {ROW: tf.io.FixedLenFeature(work.shape, tf.float32), LABEL: tf.io.FixedLenFeature((1,), tf.int64)}


WAYS: Ways = {
    "per_item": {"tf.data from_generator": in_graph, "tf.data from_generator, Python": in_python},
    "records_in_order": {
        "tf.data": parsed,
        "tf.data, parallel map": parsed_ahead,
        "tf.data, 256 parsed at once": parsed_at_once,
    },
}

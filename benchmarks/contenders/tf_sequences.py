"""TensorFlow's tf.data: sequences sorted into buckets by their length, and padded."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from declared import Work
from sequences import Sequences
from slices import Epoch

from contenders import Ways

tf: Any = importlib.import_module("tensorflow")

BUCKETS = 50


def bucketed(work: Work, sequences: Sequences) -> Epoch:
    """`range(n).shuffle(n).repeat()`, a slice of the values for each, `bucket_by_sequence_length`, `prefetch`."""
    values, offsets = tf.constant(sequences.values), tf.constant(sequences.offsets)
    edges = np.unique(np.ceil(np.quantile(sequences.lengths, np.linspace(0, 1, BUCKETS + 1)[1:]))).astype(int)
    boundaries = (edges + 1).tolist()  # each is the first length that is too long
    sizes = [work.batch // int(edge) for edge in edges]
    numbers = tf.data.Dataset.range(len(sequences)).shuffle(len(sequences)).repeat()
    rows = numbers.map(lambda number: values[offsets[number] : offsets[number + 1]])
    dataset = rows.bucket_by_sequence_length(_length, boundaries, [*sizes, sizes[-1]])
    return lambda: iter(dataset.prefetch(tf.data.AUTOTUNE))


def _length(row: Any) -> Any:
    return tf.shape(row)[0]


WAYS: Ways = {"ragged": {"tf.data buckets": bucketed}}

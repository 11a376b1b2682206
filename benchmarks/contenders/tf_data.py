"""TensorFlow's tf.data: a shuffled dataset of slices, and a shuffled dataset of indices with a gather."""

from __future__ import annotations

import importlib
from typing import Any

from declared import Work
from slices import Epoch
from sources import Array

from contenders import Ways

tf: Any = importlib.import_module("tensorflow")


def shuffled_slices(work: Work, rows: Array) -> Epoch:
    """`from_tensor_slices(X).shuffle(n).batch(B).prefetch(AUTOTUNE)`: shuffled wholly, as the others are."""
    slices = tf.data.Dataset.from_tensor_slices(rows)
    dataset = slices.shuffle(work.rows).batch(work.batch).prefetch(tf.data.AUTOTUNE)
    return lambda: iter(dataset)


def shuffled_indices(work: Work, rows: Array) -> Epoch:
    """`from_tensor_slices(tf.random.shuffle(tf.range(n))).batch(B)`, a `tf.gather`, `prefetch(AUTOTUNE)`."""
    tensor = tf.constant(rows)

    def permuted(_: Any) -> Any:
        order = tf.random.shuffle(tf.range(work.rows))
        return tf.data.Dataset.from_tensor_slices(order).batch(work.batch)

    indices = tf.data.Dataset.from_tensors(0).flat_map(permuted)
    dataset = indices.map(lambda index: tf.gather(tensor, index)).prefetch(tf.data.AUTOTUNE)
    return lambda: iter(dataset)


WAYS: Ways = {"shuffled": {"tf.data": shuffled_slices, "tf.data indices": shuffled_indices}}

"""TensorFlow's tf.data: a shuffled dataset of slices, shuffled indices with a gather, or with a decoder."""

from __future__ import annotations

import importlib
from typing import Any

from declared import Work
from jpegs import CROP, Jpegs
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


def decoded(work: Work, jpegs: Jpegs) -> Epoch:
    """Shuffled indices, `map(tf.io.decode_jpeg and the crop, num_parallel_calls=2)`, `batch(B)`, `prefetch`."""
    strings = tf.constant([jpegs.encoded(i).tobytes() for i in range(len(jpegs))])

    def permuted(_: Any) -> Any:
        return tf.data.Dataset.from_tensor_slices(tf.random.shuffle(tf.range(work.rows)))

    def image(index: Any) -> Any:
        return tf.io.decode_jpeg(strings[index], 3, dct_method="INTEGER_ACCURATE")[CROP, CROP]

    images = tf.data.Dataset.from_tensors(0).flat_map(permuted).map(image, num_parallel_calls=2)
    dataset = images.batch(work.batch).prefetch(tf.data.AUTOTUNE)
    return lambda: iter(dataset)


WAYS: Ways = {
    "shuffled": {"tf.data": shuffled_slices, "tf.data indices": shuffled_indices},
    "decode": {"tf.data": decoded},
}

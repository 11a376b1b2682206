"""TensorFlow's tf.data: images scaled in the graph."""

from __future__ import annotations

import importlib
from typing import Any

from declared import Work
from files import RowFiles
from slices import Epoch

from contenders import Ways

tf: Any = importlib.import_module("tensorflow")


def scaled(work: Work, files: RowFiles) -> Epoch:
    """`from_tensor_slices(X).shuffle(n).batch(B)`, then cast and `/ 255` in a parallel `map`, `prefetch(AUTOTUNE)`."""
    batches = tf.data.Dataset.from_tensor_slices(files.rows()).shuffle(work.rows).batch(work.batch)
    dataset = batches.map(_scale, num_parallel_calls=tf.data.AUTOTUNE).prefetch(tf.data.AUTOTUNE)
    return lambda: iter(dataset)


def _scale(pixels: Any) -> Any:
    return tf.cast(pixels, tf.float32) / 255


WAYS: Ways = {"scaled": {"tf.data": scaled}}

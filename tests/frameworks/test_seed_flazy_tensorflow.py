"""The examples that users of Flazy know, as far as they need TensorFlow, but for a table of what is gone."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from batchup import Dataset

from ..hsq import child
from ..test_seed_flazy import BLOCKS

REPLACED = [
    # the import
    ("from flazy import Dataset", "from batchup import Dataset"),
    # what is only announced: the dataset and the model of the test
    ("data = # a Dataset instance ...", "data = dataset()"),
    ("model = # build a Keras model ...", "model = built()"),
    # Keras has fit() for generators, too, and cannot shuffle them; what never ends is an epoch after some steps
    (
        "model.fit_generator(iter(data), ...)",
        "history = model.fit(iter(data), steps_per_epoch=8, epochs=4, shuffle=False, verbose=0)",
    ),
    # TensorFlow 2 has no sessions: its datasets are iterated over, and give tensors with a method numpy()
    ("with tf.Session() as sess:\n", "if True:\n"),
    ("input_op = dataset.make_one_shot_iterator().get_next()", "items = dataset.as_numpy_iterator()"),
    ("sess.run(input_op)", "next(items)"),
]


def code_of(number: int) -> str:
    code = BLOCKS[number]
    for old, new in REPLACED:
        code = code.replace(old, new)
    return code


def test_keras() -> None:
    """A model learns from an iterator; in a program of its own, as the backend is chosen when Keras is imported."""
    code = "from tests.frameworks.test_seed_flazy_tensorflow import fit; fit()"
    child(code, environment={"KERAS_BACKEND": "tensorflow"})


def fit() -> None:
    """Check that the model of the example is trained by batches of a dataset that never ends."""
    import keras

    rng = np.random.default_rng(1)
    features = rng.standard_normal((64, 3)).astype(np.float32)

    def built() -> Any:
        model = keras.Sequential([keras.layers.Input((3,)), keras.layers.Dense(1)])
        model.compile("sgd", "mse")
        return model

    def dataset() -> Dataset:
        return Dataset(features, features.sum(axis=1, keepdims=True)).shuffle(seed=1).batch(8).repeat()

    names: dict[str, Any] = {"dataset": dataset, "built": built}
    exec(code_of(8), names)
    losses = names["history"].history["loss"]
    assert len(losses) == 4
    assert losses == sorted(losses, reverse=True)


def test_tensorflow(capsys: pytest.CaptureFixture[str]) -> None:
    """The three items are printed as the block shows them: arrays of three, and the labels 1, 2, 3."""
    import tensorflow as tf

    names: dict[str, Any] = {}
    exec(code_of(9), names)
    shown = capsys.readouterr().out.splitlines()
    form = r"\{'feature': array\(\[(.*), (.*), (.*)\]\), 'label': (?:np\.int64\()?(\d)\)?\}"
    items = [re.fullmatch(form, line) for line in shown]
    assert [item and item[4] for item in items] == ["1", "2", "3"]
    assert isinstance(names["dataset"], tf.data.Dataset)
    assert names["dataset"].element_spec == {
        "feature": tf.TensorSpec((3,), tf.float64),
        "label": tf.TensorSpec((), tf.int64),
    }
    again = [item["feature"] for item in names["dataset"].as_numpy_iterator()]
    for item, feature in zip(items, again, strict=True):
        assert item is not None
        assert np.allclose([float(item[place]) for place in (1, 2, 3)], feature)

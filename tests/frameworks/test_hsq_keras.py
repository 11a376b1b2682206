"""Keras 3 on .hsq files: the examples that users of hypersequence know, and model.fit on batches of all kinds.

Keras takes its backend when it is imported; so all of it happens in one child process, on the torch backend.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup import hypersequence as hs

from ..hsq import DATA, ROOT, Arrays, numbered, of, write

PAGE = (DATA / "hypersequence_examples.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
REPLACED = [
    # the two imports that change for users
    ("import hypersequence as hs", "from batchup import hypersequence as hs"),
    ("import tensorflow.keras as tfk", "import keras as tfk"),
    # where the file lies
    ('"/data/myset.hsq"', "test_file_of_the_test"),
    # Keras 3 has another name for it
    ("tfk.layers.InputLayer(input_shape=", "tfk.layers.InputLayer(shape="),
    # where Keras 3 takes Python's integers only
    ("np.prod(out_dtype.shape)", "int(np.prod(out_dtype.shape))"),
    # fewer epochs say as much
    ("epochs=16", "epochs=2"),
]


class Child:
    """A process in which Keras runs."""

    def __init__(self) -> None:
        code = "from tests.frameworks.test_hsq_keras import serve; serve()"
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "KERAS_BACKEND": "torch", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, "-c", code]
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )

    def run(self, name: str, folder: Path, argument: Any) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps([name, str(folder), argument]) + "\n")
        self._process.stdin.flush()
        error = json.loads(self._process.stdout.readline() or '"the process has ended"')
        assert error is None, error

    def close(self) -> None:
        self._process.communicate(timeout=60)


@pytest.fixture(name="keras", scope="module")
def keras_child() -> Iterator[Child]:
    """Yield a process with Keras on the torch backend."""
    child = Child()
    try:
        yield child
    finally:
        child.close()


def serve() -> None:
    """Run checks by their names, as they are asked for; tell what went wrong."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    sys.stdout = open(os.devnull, "w")  # noqa: SIM115  the progress bars
    for line in sys.stdin:
        name, folder, argument = json.loads(line)
        try:
            CHECKS[name](Path(folder), *([] if argument is None else [argument]))
            answers.write("null\n")
        except BaseException:  # noqa: BLE001
            answers.write(json.dumps(traceback.format_exc()) + "\n")
        answers.flush()


CHECKS: dict[str, Callable[..., None]] = {}


def in_the_child(check: Callable[..., None]) -> Callable[..., None]:
    """Make a test of a check that runs in the child."""
    CHECKS[check.__name__] = check

    def test(keras: Child, tmp_path: Path) -> None:
        keras.run(check.__name__, tmp_path, None)

    test.__name__, test.__doc__ = check.__name__, check.__doc__
    return test


# the examples


def code_of(number: int) -> str:
    code = BLOCKS[number]
    for old, new in REPLACED:
        code = code.replace(old, new)
    return code


def written(names: dict[str, Any]) -> None:
    with hs.HyperSequenceFile(names["test_file_of_the_test"], verify=True) as hsq:
        assert (len(hsq), hsq.batch_size()) == (625, 16)
        assert hsq.columns["i0"].shape == (10_000, 10, 10)
        assert hsq.columns["o0"].shape == (10_000, 2, 10, 2)
        last = hsq[-1]
        assert (last[0][-1] == names["inp"]).all()
        assert (last[1][-1] == names["out"]).all()


def trained(batches: int, names: dict[str, Any]) -> None:
    history = names["model"].history
    assert len(history.epoch) == 2
    assert all(np.isfinite(loss) for loss in history.history["loss"])
    assert history.params["steps"] == batches
    assert names["model"].output_shape == (None, 2, 10, 2)


def validated(batches: int, names: dict[str, Any]) -> None:
    trained(batches, names)
    assert len(names["model"].history.history["val_loss"]) == 2
    assert len(names["train"]) == batches
    assert len(names["train"]) + len(names["validation"]) == len(names.get("hsq64", names["hsq"]))


def written_multi(names: dict[str, Any]) -> None:
    with hs.HyperSequenceFile(names["test_file_of_the_test"], verify=True) as hsq:
        inputs, outputs = hsq.dtypes()
        assert [d.shape for d in inputs] == [(10, 10), (100,), (3, 3, 3)]
        assert [d.shape for d in outputs] == [(2, 10, 2), (100,)]
        last = hsq[-1]
        assert all((last[0][i][-1] == names[f"inp{i + 1}"]).all() for i in range(3))
        assert all((last[1][i][-1] == names[f"out{i + 1}"]).all() for i in range(2))


EXAMPLES: list[tuple[list[int], Callable[[dict[str, Any]], None]]] = [
    ([], written),
    ([0], partial(trained, 625)),
    ([], written_multi),
    ([0], partial(validated, 500)),
    ([0, 3], partial(validated, 126)),
]


def example(folder: Path, number: int) -> None:
    names: dict[str, Any] = {"test_file_of_the_test": str(folder / "myset.hsq")}
    before, check = EXAMPLES[number]
    for each in [*before, number]:
        exec(compile(code_of(each), f"example {each}", "exec"), names)
    check(names)


CHECKS["example"] = example


def test_every_example_has_a_check() -> None:
    """No example is left out, and nothing is replaced that is not there."""
    assert len(BLOCKS) == len(EXAMPLES) == 5
    assert [old for old, _ in REPLACED if not any(old in block for block in BLOCKS)] == []


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_example(number: int, keras: Child, tmp_path: Path) -> None:
    """An example runs behind those that it builds on, and does what its page says."""
    keras.run("example", tmp_path, number)


# batches for model.fit


def model_of(inputs: int = 1, outputs: int = 1) -> Any:
    """Return a model of so many inputs of two numbers, and outputs of one."""
    import keras

    keras.utils.set_random_seed(1)
    given = [keras.Input((2,)) for _ in range(inputs)]
    joined = keras.layers.Concatenate()(given) if inputs > 1 else given[0]
    made = [keras.layers.Dense(1, name=f"out{i}")(joined) for i in range(outputs)]
    model = keras.Model(given if inputs > 1 else given[0], made if outputs > 1 else made[0])
    model.compile(optimizer=keras.optimizers.SGD(1e-4), loss=["mse"] * outputs if outputs > 1 else "mse")
    return model


def floats(rows: int, inputs: int = 1, outputs: int = 1) -> Arrays:
    base = np.linspace(0, 1, rows)
    made = [np.stack([base * (i + 1), base - i], 1).astype(np.float32) for i in range(inputs)]
    return Arrays(tuple(made), tuple((base * (i + 2))[:, None].astype(np.float32) for i in range(outputs)))


def firsts(sequence: Any) -> list[int]:
    """Return the first row of each batch, by what `numbered` rows hold."""
    return [int(sequence[i][1][0]) for i in range(len(sequence))]


@in_the_child
def test_the_backend(folder: Path) -> None:
    """The child has Keras 3 on the torch backend, and KerasSequence is its PyDataset."""
    import keras

    assert keras.backend.backend() == "torch"
    assert keras.__version__.startswith("3.")
    assert issubclass(hs.KerasSequence, keras.utils.PyDataset)
    assert "tensorflow" not in sys.modules


@in_the_child
def test_several_inputs_and_outputs(folder: Path) -> None:
    """model.fit takes several inputs and outputs, with a validation split; so do evaluate and predict."""
    arrays = floats(150, 2, 3)
    with hs.HyperSequenceFile(write(folder / "a.hsq", arrays, 16)) as hsq:
        train, validation = hsq.split(0.7)
        model = model_of(2, 3)
        history = model.fit(
            train.as_keras(shuffle_on_epoch=True, seed=1), epochs=3, validation_data=validation.as_keras(), verbose=0
        ).history
        assert len(history["loss"]) == len(history["val_loss"]) == 3
        assert history["loss"][-1] < history["loss"][0]
        assert {"out0_loss", "out1_loss", "out2_loss"} <= {*history}
        plain = model.evaluate(list(arrays.inputs), list(arrays.outputs), batch_size=16, verbose=0)
        np.testing.assert_allclose(model.evaluate(hsq.as_keras(), verbose=0), plain, rtol=1e-4)
        predicted = model.predict(hsq.as_keras(), verbose=0)
        for ours, want in zip(predicted, model.predict(list(arrays.inputs), verbose=0), strict=True):
            np.testing.assert_allclose(ours, want, rtol=1e-5, atol=1e-6)
            assert ours.shape == (150, 1)


@in_the_child
def test_as_fit_on_arrays(folder: Path) -> None:
    """Training from a file in its order is training on its arrays, the short last batch included."""
    arrays = floats(75)
    with hs.HyperSequenceFile(write(folder / "a.hsq", arrays, 16)) as hsq:
        ours, plain = model_of(), model_of()
        a = ours.fit(hs.KerasSequence(hsq), epochs=3, shuffle=False, verbose=0).history["loss"]
        b = plain.fit(*map(of, arrays), batch_size=16, epochs=3, shuffle=False, verbose=0).history["loss"]
        np.testing.assert_allclose(a, b, rtol=1e-4)
        for x, y in zip(ours.get_weights(), plain.get_weights(), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-4, atol=1e-6)


@in_the_child
def test_predict_without_outputs(folder: Path) -> None:
    """A file without outputs gives inputs alone; predict has a row for each of its rows."""
    arrays = floats(37)
    with hs.HyperSequenceFile(write(folder / "a.hsq", Arrays(arrays.inputs), 8)) as hsq:
        sequence = hs.KerasSequence(hsq)
        assert len(sequence) == 5
        assert len(sequence[0]) == 1
        model = model_of()
        predicted = model.predict(sequence, verbose=0)
        np.testing.assert_allclose(predicted, model.predict(arrays.inputs[0], verbose=0), rtol=1e-5, atol=1e-6)
    both = floats(37, 2)
    with hs.HyperSequenceFile(write(folder / "b.hsq", Arrays(both.inputs), 8)) as hsq:
        model = model_of(2)
        predicted = model.predict(hs.KerasSequence(hsq), verbose=0)
        np.testing.assert_allclose(predicted, model.predict(list(both.inputs), verbose=0), rtol=1e-5, atol=1e-6)


@in_the_child
def test_orders_of_epochs(folder: Path) -> None:
    """shuffle_on_epoch has an order of its own in each epoch; a seed brings them again; the file's order stays."""
    with hs.HyperSequenceFile(write(folder / "a.hsq", numbered(77), 4)) as hsq:
        plain = list(range(0, 77, 4))

        def epochs(**options: Any) -> list[list[int]]:
            sequence, found = hs.KerasSequence(hsq, **options), []
            for _ in range(4):
                found.append(firsts(sequence))
                sequence.on_epoch_end()
            assert [int(y[0]) for _, y in hsq] == plain
            return found

        assert epochs() == [plain] * 4
        first = epochs(shuffle_on_epoch=True, seed=5)
        assert first == epochs(shuffle_on_epoch=True, seed=5)
        assert first != epochs(shuffle_on_epoch=True, seed=6)
        assert epochs(shuffle_on_epoch=True) != epochs(shuffle_on_epoch=True)
        assert all(sorted(order) == plain for order in first)
        assert len({tuple(order) for order in [plain, *first]}) == 5
        part = hsq.split(0.5)[0]
        before = [int(y[0]) for _, y in part]
        assert sorted(firsts(hs.KerasSequence(part, True))) == sorted(before) == before
        assert [int(y[0]) for _, y in part] == before


@in_the_child
def test_every_batch_once_in_each_epoch(folder: Path) -> None:
    """model.fit reads each batch once in each epoch, in other orders, also with several threads and processes."""
    import keras

    class Noting(hs.KerasSequence):
        def __init__(self, *args: Any, **kwargs: Any) -> None:
            self.seen: list[int] = []
            super().__init__(*args, **kwargs)

        def __getitem__(self, index: int) -> Any:
            x, y = super().__getitem__(index)
            self.seen.append(int(y[0]))
            return x.astype(np.float32) / 300, y[:, None].astype(np.float32) / 100

    with hs.HyperSequenceFile(write(folder / "a.hsq", numbered(77), 4)) as hsq:
        for workers in (1, 3):
            sequence = Noting(hsq, True, seed=2, workers=workers, max_queue_size=4)
            model = model_of()
            model.fit(sequence, epochs=3, verbose=0, shuffle=False)
            counts = np.bincount(sequence.seen, minlength=77)[::4]
            if workers == 1:
                read = sequence.seen[-60:]  # Keras looks at a batch or two before it begins
                orders = [read[i : i + 20] for i in range(0, 60, 20)]
                assert all(sorted(order) == list(range(0, 77, 4)) for order in orders)
                assert orders[0] != orders[1] != orders[2]
            assert counts.min() >= (3 if workers == 1 else 1)  # threads of Keras may read on while it shuffles
        losses = []
        for options in ({}, {"workers": 2}, {"workers": 2, "use_multiprocessing": True}):
            arrays = floats(75)
            with hs.HyperSequenceFile(write(folder / "b.hsq", arrays, 16)) as other:
                model = model_of()
                history = model.fit(hs.KerasSequence(other, **options), epochs=2, shuffle=False, verbose=0)
                losses.append(history.history["loss"])
        np.testing.assert_allclose(losses[1], losses[0], rtol=1e-5)
        np.testing.assert_allclose(losses[2], losses[0], rtol=1e-5)
    assert keras.backend.backend() == "torch"


@in_the_child
def test_batches_are_the_holders(folder: Path) -> None:
    """Frameworks get arrays that are aligned, writable and their own; torch takes them without a copy or a warning."""
    import torch

    arrays = Arrays((np.ones((9, 3), np.uint8), floats(9).inputs[0]), floats(9).outputs)
    with hs.HyperSequenceFile(write(folder / "a.hsq", arrays, 4)) as hsq:
        sequence = hs.KerasSequence(hsq)
        (a, b), y = sequence[0]
        for array in (a, b, y):
            assert array.flags.writeable
            assert array.flags.aligned
            torch.from_numpy(array)[...] = 0
        assert sequence[0][0][1].any()
        assert [len(sequence[i][1]) for i in range(3)] == [4, 4, 1]
        with pytest.raises(TypeError, match="HyperSequence"):
            hs.KerasSequence([1, 2])


@in_the_child
def test_rebatched(folder: Path) -> None:
    """Rebatched files train too, all rows of them, as `as_keras` and as `KerasSequence`."""
    arrays = floats(75)
    with hs.HyperSequenceFile(write(folder / "a.hsq", arrays, 16)) as hsq:
        for size, batches in ((10, 8), (64, 2), (1, 75)):
            sequence = hsq.rebatch(size).as_keras()
            assert len(sequence) == batches
            model = model_of()
            assert model.fit(sequence, verbose=0).params["steps"] == batches
            assert model.predict(sequence, verbose=0).shape == (75, 1)

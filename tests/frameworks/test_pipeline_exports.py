"""A lazy dataset as what TensorFlow, JAX, pandas and Arrow take; what PyTorch takes is in a file of its own."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import tensorflow as tf

from batchup import Dataset
from batchup.errors import InvalidTypeError, InvalidValueError

X = np.arange(20.0).reshape(10, 2)
Y = list(range(10))
ROWS = Dataset(x=X, y=Y)
BATCHES = Dataset(X, Y).batch(4)


def refused_at_three(number: int) -> int:
    if number == 3:
        raise KeyError("the third is refused")
    return number


def spec(shape: tuple[int | None, ...], dtype: Any) -> tf.TensorSpec:
    return tf.TensorSpec(shape, dtype)


SIGNATURES: dict[str, tuple[Dataset, Any]] = {
    "numbers": (Dataset(range(3)), spec((), tf.int64)),
    "floats": (Dataset([1.5]), spec((), tf.float64)),
    "bools": (Dataset([True]), spec((), tf.bool)),
    "arrays": (Dataset(X.astype(np.float16)), spec((2,), tf.float16)),
    "lists": (Dataset([[1, 2], [3, 4]]), spec((2,), tf.int64)),
    "tuples": (Dataset(X, Y), (spec((2,), tf.float64), spec((), tf.int64))),
    "dicts": (ROWS, {"x": spec((2,), tf.float64), "y": spec((), tf.int64)}),
    "nested": (
        Dataset([{"a": (1, 2.5), "b": {"c": np.zeros(3, np.uint8)}}]),
        {"a": (spec((), tf.int64), spec((), tf.float64)), "b": {"c": spec((3,), tf.uint8)}},
    ),
    "texts": (Dataset(["a", "b"]), spec((), tf.string)),
    "bytes": (Dataset([b"a", b"b"]), spec((), tf.string)),
    "batches": (BATCHES, (spec((None, 2), tf.float64), spec((None,), tf.float32))),
    "batches without the last": (Dataset(X).batch(4, drop_last=True), spec((4, 2), tf.float64)),
    "batches of texts": (Dataset(["a", "bc", "d"]).batch(2), spec((None,), tf.string)),
    "batches, some": (Dataset(X).batch(4).take(2).prefetch(2).repeat(2), spec((None, 2), tf.float64)),
    "batches, mapped": (Dataset(X).batch(4).map(lambda batch: batch * 2), spec((None, 2), tf.float64)),
    "batches, selected": (ROWS.batch(4).select("y"), {"y": spec((None,), tf.float32)}),
    "batches, side by side": (
        Dataset(X).batch(4).zip(Dataset(Y).batch(4)),
        (spec((None, 2), tf.float64), spec((None,), tf.float32)),
    ),
    "batches, one after the other": (Dataset(X).batch(4) + Dataset(X).batch(3), spec((None, 2), tf.float64)),
    "padded": (Dataset([[1, 2], [3], [4, 5, 6]]).padded_batch(2), spec((None, None), tf.int64)),
    "padded, with numbers": (
        Dataset([([1, 2], 0), ([3], 1), ([4, 5, 6], 0)]).padded_batch(2),
        (spec((None, None), tf.int64), spec((None,), tf.float32)),
    ),
}


def plain(item: Any) -> Any:
    """Return an item as what can be compared: lists, and texts as UTF-8."""
    if isinstance(item, dict):
        return {key: plain(part) for key, part in item.items()}
    if isinstance(item, tuple):
        return tuple(plain(part) for part in item)
    array = np.asarray(item)
    return np.char.encode(array, "utf-8").tolist() if array.dtype.kind == "U" else array.tolist()


@pytest.mark.parametrize("name", SIGNATURES)
def test_tensorflow_signature(name: str) -> None:
    """Only what may differ has no length: the first axis of batches, all of padded ones. The items are the same."""
    dataset, expected = SIGNATURES[name]
    made = dataset.tensorflow()
    assert isinstance(made, tf.data.Dataset)
    assert made.element_spec == expected
    assert [plain(item) for item in made.as_numpy_iterator()] == [plain(item) for item in dataset]


def test_tensorflow_texts() -> None:
    """Texts are UTF-8, and bytes keep a zero at their end, by themselves and in batches."""
    assert list(Dataset(["bü", ""]).tensorflow().as_numpy_iterator()) == ["bü".encode(), b""]
    data = Dataset([b"a", b"b\0"])
    assert list(data.tensorflow().as_numpy_iterator()) == [b"a", b"b\0"]
    assert next(data.batch(2).tensorflow().as_numpy_iterator()).tolist() == [b"a", b"b\0"]


def test_tensorflow_cardinality() -> None:
    """TensorFlow knows how many items there are, that there is no end, or that only the items tell."""
    data = Dataset(X)
    found = [int(one.tensorflow().cardinality()) for one in (data, data.batch(3), data.repeat(), data.filter(np.any))]
    assert found == [10, 4, tf.data.INFINITE_CARDINALITY, tf.data.UNKNOWN_CARDINALITY]


def test_tensorflow_twice() -> None:
    """Each iteration is a pass; with a seed the same, without one another."""
    seeded = Dataset(range(100)).shuffle(seed=1).tensorflow()
    first, second = list(seeded.as_numpy_iterator()), list(seeded.as_numpy_iterator())
    assert first == second == Dataset(range(100)).shuffle(seed=1).list()
    drawn = Dataset(range(100)).shuffle().tensorflow()
    assert list(drawn.as_numpy_iterator()) != list(drawn.as_numpy_iterator())


def test_tensorflow_of_what_is_read_once() -> None:
    """An iterator has one pass, and all of it is in the dataset of TensorFlow."""
    assert list(Dataset(iter(range(3))).tensorflow().as_numpy_iterator()) == [0, 1, 2]


def test_tensorflow_left_early() -> None:
    """What is left in the middle ends: of a dataset without end, with threads."""
    data = Dataset(range(10)).repeat().map(lambda number: number + 1, num_threads=2)
    assert list(data.tensorflow().take(3).as_numpy_iterator()) == [1, 2, 3]


def test_tensorflow_error() -> None:
    """Items before an error arrive, and then the error with what it says."""
    items = Dataset(range(6)).map(refused_at_three).tensorflow().as_numpy_iterator()
    assert [next(items) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(tf.errors.OpError, match="the third is refused"):
        next(items)


def test_tensorflow_without_items() -> None:
    """Of nothing, the signature is not known: the error says how to give it, which works."""
    for empty in (Dataset([]), Dataset(X).take(0), Dataset(X).filter(lambda row: False)):
        with pytest.raises(InvalidValueError, match="give output_signature"):
            empty.tensorflow()
    made = Dataset([]).tensorflow(spec((), tf.float32))
    assert made.element_spec == spec((), tf.float32)
    assert list(made) == []


def test_tensorflow_given_signature() -> None:
    """What is given is taken, and items of different lengths pass."""
    data = Dataset([[1], [2, 3]])
    made = data.tensorflow(output_signature=spec((None,), tf.int32))
    assert [item.tolist() for item in made.as_numpy_iterator()] == [[1], [2, 3]]
    assert made.element_spec.dtype == tf.int32


def test_tensorflow_in_a_pipeline() -> None:
    """It can be plugged into more of tf.data."""
    made = ROWS.tensorflow().map(lambda item: item["y"] * 2).batch(4)
    assert [batch.tolist() for batch in made.as_numpy_iterator()] == [[0, 2, 4, 6], [8, 10, 12, 14], [16, 18]]


def test_jax_arrays() -> None:
    """Arrays and numbers are arrays of JAX, of the dtype that JAX gives them; the rest of the dataset is as before."""
    data = Dataset(X.astype(np.float32), Y).jax()
    assert len(data) == 10
    x, y = data[3]
    assert isinstance(x, jax.Array)
    assert isinstance(y, jax.Array)
    assert (x.dtype, y.dtype) == (np.float32, jax.numpy.asarray(1).dtype)
    assert np.array_equal(np.stack([x for x, _ in data]), X)
    first, *_, last = BATCHES.jax()
    assert (first[0].shape, last[0].shape) == ((4, 2), (2, 2))
    assert isinstance(last[1], jax.Array)


def test_jax_nested_and_texts() -> None:
    """Parts of parts are arrays of JAX; texts, and arrays of them, are left alone."""
    item = {"a": (np.ones(2, np.int16), "x"), "b": {"c": 2.5, "d": b"y"}}
    found = Dataset([item]).jax().first()
    assert isinstance(found["a"][0], jax.Array)
    assert found["a"][0].dtype == np.int16
    assert isinstance(found["b"]["c"], jax.Array)
    assert (found["a"][1], found["b"]["d"]) == ("x", b"y")
    batch = Dataset([item, item]).batch(2).jax().first()
    assert isinstance(batch["a"][0], jax.Array)
    assert batch["a"][1].tolist() == ["x", "x"]
    assert batch["b"]["d"].tolist() == [b"y", b"y"]


def test_jax_device() -> None:
    """Arrays go to the device that is given, and are made by whoever asks for them, behind threads too."""
    device = jax.devices("cpu")[0]
    data = Dataset(X).map(lambda row: row + 1, num_threads=2).batch(5).jax(device=device)
    batches = data.list()
    assert all(batch.devices() == {device} for batch in batches)
    assert np.array_equal(np.concatenate(batches), X + 1)


def test_jax_state() -> None:
    """A pass goes on from a state."""
    data = Dataset(X).shuffle(seed=1).batch(3).jax()
    with iter(data) as items:
        next(items)
        state = items.state_dict()
        rest = [np.asarray(batch).tolist() for batch in items]
    again = iter(data)
    again.load_state_dict(state)
    assert [np.asarray(batch).tolist() for batch in again] == rest


def test_pandas_dicts() -> None:
    """Keys are columns; numbers and texts are columns of their kind, arrays are in cells."""
    frame = Dataset(x=X.astype(np.float32), y=Y, z=[f"text {number}" for number in Y], w=X[:, 0]).pandas()
    assert list(frame.columns) == ["x", "y", "z", "w"]
    assert len(frame) == 10
    assert (frame["y"].dtype, frame["w"].dtype) == (np.int64, np.float64)
    assert frame["z"].tolist()[:2] == ["text 0", "text 1"]
    assert frame["x"][3].dtype == np.float32
    assert np.array_equal(np.stack(list(frame["x"])), X)


def test_pandas_tuples_and_numbers() -> None:
    """Parts of tuples are columns by place, and items without parts are one column."""
    frame = Dataset(Y, np.float32(Y)).pandas()
    assert list(frame.columns) == [0, 1]
    assert frame[1].dtype == np.float32
    frame = Dataset(range(3)).map(lambda number: number * 2).pandas()
    assert frame[0].tolist() == [0, 2, 4]


def test_pandas_cells() -> None:
    """Arrays of one item, of different lengths, and of one element stay arrays."""
    for arrays in ([np.zeros(2)], [np.zeros(1), np.zeros(3)], [np.zeros(1), np.zeros(1)], [np.zeros((2, 2))] * 2):
        cells = Dataset([{"x": array} for array in arrays]).pandas()["x"]
        assert [cell.shape for cell in cells] == [array.shape for array in arrays]


def test_pandas_there_and_back() -> None:
    """A DataFrame that becomes a dataset comes back as it was, its index counted anew."""
    frame = pd.DataFrame({"a": [1, 2, 3], "b": ["x", "y", "z"], "c": [0.5, np.nan, 1.5]}, index=[7, 8, 9])
    pd.testing.assert_frame_equal(Dataset(frame).pandas(), frame.reset_index(drop=True))


def test_pandas_without_items() -> None:
    """Of no items, there are no rows."""
    assert len(Dataset([]).pandas()) == 0


def test_arrow_dicts() -> None:
    """Keys are columns, arrays are lists; what is read back is what was there."""
    table = Dataset(x=X, y=Y, z=[f"text {number}" for number in Y]).arrow()
    assert table.schema == pa.schema({"x": pa.list_(pa.float64()), "y": pa.int64(), "z": pa.string()})
    assert table.to_pydict() == {"x": X.tolist(), "y": Y, "z": [f"text {number}" for number in Y]}


@pytest.mark.parametrize("dtype", ["uint8", "int16", "float32", "float64", "bool"])
def test_arrow_dtypes(dtype: str) -> None:
    """Numbers and arrays of NumPy keep their dtype, with several axes too."""
    kind = pa.from_numpy_dtype(np.dtype(dtype))
    array = np.ones((3, 2, 2), dtype)
    table = Dataset(a=array[:, 0, 0], b=array[:, 0], c=array).arrow()
    assert table.schema == pa.schema({"a": kind, "b": pa.list_(kind), "c": pa.list_(pa.list_(kind))})
    assert table["c"].to_pylist() == array.tolist()


def test_arrow_tuples_numbers_and_nothing() -> None:
    """Columns of tuples have their places as names; None is null; of no items there are no rows."""
    table = Dataset([1, 2], ["x", None]).arrow()
    assert table.to_pydict() == {"0": [1, 2], "1": ["x", None]}
    assert Dataset([1.5, 2.5]).arrow().to_pydict() == {"0": [1.5, 2.5]}
    assert Dataset([]).arrow().num_rows == 0


@pytest.mark.parametrize("verb", ["pandas", "arrow"])
def test_tables_want_columns(verb: str) -> None:
    """Items with other columns, and datasets without end, are refused, and what is wrong is told."""
    with pytest.raises(InvalidTypeError, match="item 1 has the columns"):
        getattr(Dataset([{"a": 1}, {"b": 2}]), verb)()
    with pytest.raises(InvalidValueError, match="never ends"):
        getattr(Dataset([1]).repeat(), verb)()

"""Arrays whose samples are made when they are read: indexed like NumPy's, gathered like columns."""

from __future__ import annotations

import itertools
import pickle
import sys
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchup import ArrayDataSource, WorkerProcessPool, loader
from batchup.columns import ChosenRows, ScaledArray, as_column, is_mapped, lazy
from batchup.errors import IndexRangeError, InvalidTypeError, InvalidValueError

RNG = np.random.default_rng(1)
PIXELS = RNG.integers(0, 256, (40, 3, 5, 4), dtype=np.uint8)
ROWS = RNG.integers(0, 40, 25)
LIMITS = [(0.0, 1.0), (-1.0, 1.0), (0.0, 255.0), (1.0, 0.0), (0.25, 0.25)]
INDICES: list[Any] = [
    3,
    -1,
    np.int64(4),
    slice(None),
    slice(20, 3, -2),
    slice(5, 5),
    [1, 5, 5],
    np.array([-1, 0]),
    [],
    (2, 1),
    (2, 1, 3, 3),
    (slice(2, 9), 0),
    (slice(2, 9), slice(None), slice(1, 3), slice(None, None, 2)),
    ([1, 2], [0, 2]),
    (slice(1, 9, 3), [0, 2]),
    ([1, 2, 3], slice(None), 2),
    Ellipsis,
    (Ellipsis, 0),
    (3, Ellipsis),
    None,
    (slice(None), None, 0),
    np.arange(25) % 2 == 0,
    RNG.random((25, 3)) < 0.5,
    np.array([[1, 2], [3, 4]]),
    (),
]


def by_0_2(pixels: Any, lower: float, upper: float) -> Any:
    """Return pixels scaled as batchup 0.2 did it."""
    return pixels.astype(np.float32) * np.float32((upper - lower) / 255.0) + np.float32(lower)


@pytest.mark.parametrize("index", INDICES, ids=lambda index: repr(index)[:40].replace("\n", ""))
def test_indices(index: Any) -> None:
    """Square brackets give what those of the array would."""
    chosen, plain = ChosenRows(PIXELS, ROWS), PIXELS[ROWS]
    np.testing.assert_array_equal(chosen[index], plain[index])
    assert type(chosen[index]) is type(plain[index])
    for array, pixels in ((ScaledArray(plain), plain), (ScaledArray(chosen), plain)):
        scaled, expected = array[index], by_0_2(pixels[index], 0, 1)
        np.testing.assert_array_equal(scaled, expected)
        assert type(scaled) is type(expected)
        assert scaled.dtype == np.float32


PARTS: list[Any] = [0, slice(None), slice(1, 9, 2), [0, 1], Ellipsis, None, np.array([True, False, True]), (0, 1), True]


@pytest.mark.parametrize("first", [*PARTS, np.True_, (), -1, [2]], ids=repr)
def test_indices_together(first: Any) -> None:
    """So do tuples of indices of all kinds; what is an error there is one here."""
    chosen, plain = ChosenRows(PIXELS, ROWS), PIXELS[ROWS]
    for rest in [*itertools.product(PARTS, repeat=1), *itertools.product(PARTS, repeat=2)]:
        try:
            expected = plain[(first, *rest)]
        except IndexError:
            with pytest.raises(IndexError):
                chosen[(first, *rest)]
        else:
            np.testing.assert_array_equal(chosen[(first, *rest)], expected, err_msg=repr((first, *rest)))


def test_rows_are_ones_own() -> None:
    """The rows that were chosen are those of then, whatever becomes of their array."""
    rows = np.array([0, 1, 2])
    chosen = ChosenRows(PIXELS, rows)
    rows[:] = 1000
    np.testing.assert_array_equal(chosen[:], PIXELS[:3])
    with pytest.raises(ValueError, match="read-only"):
        chosen.rows[0] = 7


def test_rows_of_a_dataset(tmp_path: Path) -> None:
    """Rows of an HDF5 dataset may be chosen in any order."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["x"] = PIXELS
    with h5py.File(tmp_path / "a.h5", "r") as file:
        chosen, plain = ChosenRows(file["x"], ROWS), PIXELS[ROWS]
        for index in (slice(None), [5, 2, 2], np.arange(25) % 3 == 0, 4, (slice(3, 9), 0), ([3, 1], slice(None), 2)):
            np.testing.assert_array_equal(chosen[index], plain[index])
        np.testing.assert_array_equal(np.asarray(ScaledArray(chosen)), by_0_2(plain, 0, 1))


@pytest.mark.parametrize(("lower", "upper"), LIMITS)
def test_scaled_like_0_2(lower: float, upper: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """By index, gathered, by slice and as a whole, all values are bit for bit those of batchup 0.2."""
    monkeypatch.setattr(lazy, "BLOCK", 7 * 60)
    every = np.arange(256, dtype=np.uint8).repeat(60).reshape(256, 3, 5, 4)
    expected = by_0_2(every, lower, upper)
    array = ScaledArray(every, lower, upper)
    order = np.random.default_rng(2).permutation(256)
    out = np.empty((256, 3, 5, 4), np.float32)
    assert array.gather(order, out) is out
    for came, wanted in (
        (array[:], expected),
        (np.asarray(array), expected),
        (array.gather(slice(3, 250)), expected[3:250]),
        (out, expected[order]),
    ):
        assert came.tobytes() == wanted.tobytes()
    assert expected.min() == min(lower, upper)


@given(
    st.integers(1, 300).flatmap(lambda n: st.tuples(st.just(n), st.lists(st.integers(0, n - 1), max_size=400))),
    st.integers(1, 5000),
)
def test_gathers_like_numpy(rows: tuple[int, list[int]], block: int) -> None:
    """Whatever the rows and the pieces in which they are scaled, a batch is that of NumPy."""
    count, order = rows
    pixels = np.random.default_rng(count).integers(0, 256, (count, 7), dtype=np.uint8)
    indices = np.array(order, np.intp)
    before, lazy.BLOCK = lazy.BLOCK, block
    try:
        assert (ScaledArray(pixels).gather(indices) == by_0_2(pixels[indices], 0, 1)).all()
        chosen = ScaledArray(ChosenRows(pixels, indices[::-1]))
        assert (chosen.gather(np.arange(len(order))) == by_0_2(pixels[indices[::-1]], 0, 1)).all()
    finally:
        lazy.BLOCK = before


def test_looks_like_an_array() -> None:
    """What asks an array for its looks is answered."""
    array = ScaledArray(ChosenRows(PIXELS, ROWS), -1, 1)
    assert (array.shape, array.ndim, array.size, array.nbytes) == ((25, 3, 5, 4), 4, 1500, 6000)
    assert (array.dtype, len(array), array.sample_shape) == (np.float32, 25, (3, 5, 4))
    assert np.asarray(array, np.float64).dtype == np.float64
    assert sum(1 for _ in array) == 25
    assert repr(ScaledArray(PIXELS, -1)) == "ScaledArray(array=<uint8 (40, 3, 5, 4)>, lower=-1.0)"
    assert as_column(array) is array
    np.testing.assert_array_equal(np.add(array, 1), array[:] + 1)


def test_batches_from_a_mapped_file(tmp_path: Path) -> None:
    """Batches are right in any order, in this process and in others, and through pickle."""
    np.save(tmp_path / "x.npy", PIXELS)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    for array, expected in (
        (ScaledArray(mapped), by_0_2(PIXELS, 0, 1)),
        (ScaledArray(ChosenRows(mapped, ROWS)), by_0_2(PIXELS[ROWS], 0, 1)),
    ):
        ds = ArrayDataSource([array], include_indices=True)
        for keywords in ({}, {"shuffle": 3}, {"copy": False}):
            for index, batch in ds.batch_iterator(7, **keywords):
                np.testing.assert_array_equal(batch, expected[index])
                assert batch.flags.writeable
        again = pickle.loads(pickle.dumps(array))
        np.testing.assert_array_equal(again[:], expected)
        if sys.platform == "linux":
            assert len(pickle.dumps(array)) < 1000 + array.shape[0] * 8
            assert is_mapped(again.array if isinstance(again.array, np.ndarray) else again.array.array)
        with WorkerProcessPool(2) as pool:
            for index, batch in loader(ds, 7, shuffle=3, pool=pool):
                np.testing.assert_array_equal(batch, expected[index])


def test_errors() -> None:
    """What cannot be scaled or chosen from is refused, and the message says why."""
    with pytest.raises(InvalidTypeError, match="array must be of uint8, whose values go from 0 to 255, got float64"):
        ScaledArray(np.zeros(3))
    with pytest.raises(InvalidTypeError, match=r"array must be an array \(with dtype, shape and samples\), got list"):
        ScaledArray([1, 2])
    with pytest.raises(InvalidTypeError, match="array must be an array"):
        ScaledArray(np.uint8(3))
    with pytest.raises(InvalidValueError, match="the limits of pixels must be finite as float32, got"):
        ScaledArray(PIXELS, 0.0, np.inf)
    with pytest.raises(IndexRangeError, match="index 40 is out of range for 40 samples"):
        ChosenRows(PIXELS, [0, 40])
    with pytest.raises(IndexError):
        ScaledArray(ChosenRows(PIXELS, [0]))[1]
    with pytest.raises(InvalidValueError, match="the elements of a ScaledArray have to be made"):
        ScaledArray(PIXELS).__array__(copy=False)

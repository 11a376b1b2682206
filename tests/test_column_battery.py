"""What every column must do; the columns are those of `cases.COLUMNS`."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup.columns import as_column
from batchup.data_source import ArrayDataSource

from .cases import COLUMNS, ColumnCase

every_column = pytest.mark.parametrize("case", COLUMNS.values(), ids=COLUMNS.keys())
INDICES = np.array([3, 0, 11, 3, 7], dtype=np.intp)
SEEDED = {"shuffle": 3}


def equal(batch: Any, expected: np.ndarray[Any, Any]) -> bool:
    """Compare element by element, and the kinds of dtype."""
    batch = np.asarray(batch)
    return batch.dtype.kind == expected.dtype.kind and batch.tolist() == expected.tolist()


def indices_of(size: int, shuffle: Any, epoch: int = 0) -> list[np.ndarray[Any, Any]]:
    """Return the index batches of an epoch over 12 samples."""
    plain = ArrayDataSource([np.arange(12)])
    return [batch for (batch,) in plain.batch_iterator(size, shuffle, epoch=epoch)]


@every_column
def test_gather(case: ColumnCase, tmp_path: Path) -> None:
    """Samples are gathered in any order, repeatedly, by array and by slice, also none of them."""
    column = as_column(case.make(case.array, tmp_path))
    assert len(column) == 12
    assert equal(column.gather(INDICES), case.array[INDICES])
    assert equal(column.gather(slice(2, 9)), case.array[2:9])
    assert equal(column.view(slice(0, 12)), case.array)
    assert len(column.gather(slice(4, 4))) == 0


@every_column
def test_gather_into_a_buffer(case: ColumnCase, tmp_path: Path) -> None:
    """A column that takes `out` fills exactly it; one that does not know its dtype or shape does not."""
    column = as_column(case.make(case.array, tmp_path))
    if not column.takes_out:
        return
    assert column.dtype is not None
    assert column.sample_shape is not None
    assert column.sample_shape == case.array.shape[1:]
    for indices in (INDICES, slice(2, 7)):
        out = np.empty((5, *column.sample_shape), column.dtype)
        assert column.gather(indices, out) is out
        assert equal(out, case.array[indices])


@every_column
def test_dtype_is_kept(case: ColumnCase, tmp_path: Path) -> None:
    """A batch has the dtype of its array, byte order and fields included."""
    data = case.make(case.array, tmp_path)
    (batch,) = next(ArrayDataSource([data]).batch_iterator(5, shuffle=1))
    assert np.asarray(batch).dtype == getattr(data, "dtype", np.asarray(batch).dtype)


@every_column
@pytest.mark.parametrize("size", [1, 5, 12, 20])
def test_source_over_the_column(case: ColumnCase, size: int, tmp_path: Path) -> None:
    """In order, seeded, by generator, as views and by index, a source hands out the right samples."""
    ds = ArrayDataSource([case.make(case.array, tmp_path)])
    for shuffle in (None, 3):
        for (batch,), indices in zip(ds.batch_iterator(size, shuffle), indices_of(size, shuffle), strict=True):
            assert equal(batch, case.array[indices])
    views = ds.batch_iterator(size, copy=False)
    for (batch,), indices in zip(views, indices_of(size, None), strict=True):
        assert equal(batch, case.array[indices])
    (batch,) = ds.samples_by_indices([-1, 0, 5])
    assert equal(batch, case.array[[-1, 0, 5]])


@every_column
@pytest.mark.parametrize("order", [{}, SEEDED], ids=["in order", "shuffled"])
def test_a_batch_belongs_to_its_holder(case: ColumnCase, order: dict[str, Any], tmp_path: Path) -> None:
    """Batches are writable, and writing into them changes neither the data nor another batch."""
    data = case.make(case.array.copy(), tmp_path)
    batches = [batch for (batch,) in ArrayDataSource([data]).batch_iterator(5, **order)]
    for i, batch in enumerate(batches):
        assert batch.flags.writeable
        batch[...] = batch[::-1].copy()
        batch[:1] = batches[i - 1][:1]
    for batch, indices in zip(batches, indices_of(5, **order) if order else indices_of(5, None), strict=True):
        assert equal(batch[1:], case.array[indices[::-1]][1:])
    again = ArrayDataSource([data]).samples_by_indices(np.arange(12))
    assert equal(again[0], case.array)


@every_column
def test_one_sample(case: ColumnCase, tmp_path: Path) -> None:
    """An int gives one sample, without the axis of the batch."""
    ds = ArrayDataSource([case.make(case.array, tmp_path)])
    for index in (4, -1, np.int32(7)):
        (sample,) = ds.samples_by_indices(index)
        assert np.asarray(sample).tolist() == np.asarray(case.array[index]).tolist()


@every_column
def test_no_samples_by_index(case: ColumnCase, tmp_path: Path) -> None:
    """No indices give a batch of no samples."""
    (batch,) = ArrayDataSource([case.make(case.array, tmp_path)]).samples_by_indices(np.array([], np.intp))
    assert len(batch) == 0


@every_column
def test_pickled_source(case: ColumnCase, tmp_path: Path) -> None:
    """A source over the column goes through pickle."""
    if not case.pickles:
        return
    ds = ArrayDataSource([case.make(case.array, tmp_path)])
    again = pickle.loads(pickle.dumps(ds))
    (batch,) = again.samples_by_indices(INDICES)
    assert equal(batch, case.array[INDICES])


@every_column
def test_repr_shows_no_samples(case: ColumnCase, tmp_path: Path) -> None:
    """The repr of a source is short and on one line."""
    shown = repr(ArrayDataSource([case.make(case.array, tmp_path)] * 2))
    assert shown.startswith("ArrayDataSource(data=[")
    assert "\n" not in shown
    assert len(shown) < 300


def test_views_are_read_only_and_not_copied() -> None:
    """With copy=False, batches in order are views, and nobody can write through them."""
    data = np.arange(100.0).reshape(20, 5)
    for array in (data, np.asfortranarray(data), data[:, ::2]):
        for (batch,) in ArrayDataSource([array]).batch_iterator(3, copy=False):
            assert np.shares_memory(batch, array)
            assert not batch.flags.writeable
        assert array.flags.writeable
        for (batch,) in ArrayDataSource([array]).batch_iterator(3, shuffle=1, copy=False):
            assert not np.shares_memory(batch, array)


def test_contiguous_batches() -> None:
    """Batches from C-contiguous arrays are C-contiguous."""
    data = np.arange(240).reshape(20, 3, 4)
    for order in ({}, SEEDED):
        for batch in ArrayDataSource([data, list(data)]).batch_iterator(6, **order):
            assert all(part.flags.c_contiguous for part in batch)


def test_variable_width_strings() -> None:
    """A column of NumPy's variable-width strings works, held batches included."""
    dtypes = getattr(np, "dtypes", None)
    if not hasattr(dtypes, "StringDType"):
        return
    texts = np.array(["a" * i for i in range(40)], dtype=dtypes.StringDType())
    batches = list(ArrayDataSource([texts, np.arange(40)]).batch_iterator(4, shuffle=2))
    assert all([len(text) for text in text_batch] == indices.tolist() for text_batch, indices in batches)

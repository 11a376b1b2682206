"""Tensors, pandas objects and HDF5 datasets as columns."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import jax
import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
import torch

from batchup.data_source import ArrayDataSource, CompositeDataSource

X = np.arange(46 * 3, dtype=np.float32).reshape(46, 3)
LABELS = np.arange(100, 146)  # of an index that is not the place


def in_hdf5(array: np.ndarray[Any, Any], folder: Path, **kwargs: Any) -> Any:
    return h5py.File(folder / "data.h5", "w").create_dataset("x", data=array, **kwargs)


COLUMNS: dict[str, tuple[Callable[[Path], Any], np.ndarray[Any, Any]]] = {
    "torch tensor": (lambda p: torch.from_numpy(X.copy()), X),
    "torch tensor, integers": (lambda p: torch.arange(46), np.arange(46)),
    "torch tensor, transposed": (lambda p: torch.from_numpy(X.T.copy()).T, X),
    "list of torch tensors": (lambda p: list(torch.from_numpy(X.copy())), X),
    "jax array": (lambda p: jax.numpy.asarray(X), X),
    "tensorflow tensor": (lambda p: tf.constant(X), X),
    "pandas Series": (lambda p: pd.Series(X[:, 0]), X[:, 0]),
    "pandas Series with labels": (lambda p: pd.Series(X[:, 0], index=LABELS[::-1]), X[:, 0]),
    "pandas Series of text": (
        lambda p: pd.Series([f"text {i}" for i in range(46)]),
        np.array([f"text {i}" for i in range(46)]),
    ),
    "pandas DataFrame": (lambda p: pd.DataFrame(X, index=LABELS), X),
    "pandas Categorical": (lambda p: pd.Series(pd.Categorical(["a", "b"] * 23)), np.array(["a", "b"] * 23)),
    "pandas Index": (lambda p: pd.Index(LABELS), LABELS),
    "h5py dataset": (lambda p: in_hdf5(X, p), X),
    "h5py dataset, chunked": (lambda p: in_hdf5(X, p, chunks=(4, 3), compression="gzip"), X),
    "h5py dataset, 1-D": (lambda p: in_hdf5(np.arange(46), p), np.arange(46)),
}
every_column = pytest.mark.parametrize("name", COLUMNS)


def lists(batch: Any) -> Any:
    return np.asarray(batch).tolist()


@every_column
@pytest.mark.parametrize("size", [1, 7, 46, 50])
@pytest.mark.parametrize("shuffle", [None, 3])
def test_samples_are_right(name: str, size: int, shuffle: int | None, tmp_path: Path) -> None:
    """In order and shuffled, repeated and cut, each batch holds the samples of its indices."""
    make, expected = COLUMNS[name]
    ds = ArrayDataSource([make(tmp_path)], include_indices=True, repeats=2)
    batches = list(ds.batch_iterator(size, shuffle))
    assert all(lists(batch) == expected[indices].tolist() for indices, batch in batches)
    assert sorted(int(i) for indices, _ in batches for i in indices) == sorted([*range(46)] * 2)


@every_column
def test_by_index(name: str, tmp_path: Path) -> None:
    """Samples are read by index: several, in any order, repeatedly; one; none."""
    make, expected = COLUMNS[name]
    ds = ArrayDataSource([make(tmp_path)])
    assert lists(ds.samples_by_indices([5, 0, 5, -1])[0]) == expected[[5, 0, 5, -1]].tolist()
    assert lists(ds.samples_by_indices(7)[0]) == expected[7].tolist()
    assert len(ds.samples_by_indices(np.array([], int))[0]) == 0


@every_column
def test_batches_do_not_lead_to_the_data(name: str, tmp_path: Path) -> None:
    """Writing into a batch, where that is possible, does not change the data."""
    make, expected = COLUMNS[name]
    ds = ArrayDataSource([make(tmp_path)])
    for shuffle in (None, 1):
        for (batch,) in ds.batch_iterator(7, shuffle):
            if isinstance(batch, (np.ndarray, torch.Tensor)):
                batch[:] = batch[0]
    assert lists(ds.samples_by_indices(np.arange(46))[0]) == expected.tolist()


@every_column
def test_in_trees(name: str, tmp_path: Path) -> None:
    """In composites and maps, batches are cut and counted like arrays."""
    make, expected = COLUMNS[name]
    source = ArrayDataSource([make(tmp_path)])
    ds = CompositeDataSource([source, ArrayDataSource([np.arange(9)])])
    cut = [lists(batch) for batch, _ in ds.map(lambda x, i: (x, i)).batch_iterator(4)]
    assert cut == [expected[:4].tolist(), expected[4:8].tolist(), expected[8:9].tolist()]
    (joined,) = source.batch_map_concat(lambda x: np.asarray(x), 7)
    assert joined.tolist() == expected.tolist()


@pytest.mark.parametrize("name", ["torch tensor", "pandas Series with labels", "pandas DataFrame", "jax array"])
def test_pickled(name: str, tmp_path: Path) -> None:
    """A source over what can be pickled goes through pickle, and shows itself by dtype and shape."""
    make, expected = COLUMNS[name]
    ds = ArrayDataSource([make(tmp_path)])
    again = pickle.loads(pickle.dumps(ds))
    assert lists(again.samples_by_indices([3, 1])[0]) == expected[[3, 1]].tolist()
    assert "\n" not in repr(ds)
    assert len(repr(ds)) < 150


def test_hdf5_is_read_in_order_without_the_detour(tmp_path: Path) -> None:
    """Reading in order after a shuffled epoch is still right (the detour by single samples is remembered)."""
    data = in_hdf5(X, tmp_path)
    ds = ArrayDataSource([data])
    list(ds.batch_iterator(7, shuffle=1))
    assert [lists(batch) for (batch,) in ds.batch_iterator(20)] == [X[i : i + 20].tolist() for i in (0, 20, 40)]


def test_results_of_frameworks_are_joined_and_averaged() -> None:
    """Concat and mean take tensors, which know how to become arrays."""
    ds = ArrayDataSource([X])
    for convert in (torch.from_numpy, jax.numpy.asarray, tf.constant):
        (joined,) = ds.batch_map_concat(lambda x, convert=convert: convert(x) * 2, 7)
        assert joined.tolist() == (X * 2).tolist()
        (mean,) = ds.batch_map_mean(lambda x, convert=convert: convert(x), 7, sum_axis=0)
        np.testing.assert_allclose(mean, X.mean(axis=0))

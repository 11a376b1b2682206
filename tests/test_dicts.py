"""Sources of dicts: batches are dicts, functions get keywords, composites merge."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from batchup.data_source import ArrayDataSource, ChoiceDataSource, CompositeDataSource

from .cases import named, numbers
from .helpers import as_lists, first


def test_batches_are_dicts_in_the_order_of_the_columns() -> None:
    """The keys of a batch are those of the data, in their order."""
    ds = ArrayDataSource({"b": np.arange(5), "a": np.eye(5)})
    for order in ({}, {"shuffle": 1}):
        for batch in ds.batch_iterator(2, **order):
            assert type(batch) is dict
            assert list(batch) == ["b", "a"]
            assert batch["a"].tolist() == np.eye(5)[batch["b"]].tolist()


def test_indices_come_under_index() -> None:
    """With include_indices the sample indices are under `index`, first."""
    ds = named(9, "a", include_indices=True, indices=[8, 2, 5])
    batch = next(ds.batch_iterator(4))
    assert as_lists(batch) == {"index": [8, 2, 5], "a": [8, 2, 5]}
    assert list(batch) == ["index", "a"]
    assert as_lists(ds.samples_by_indices([0])) == {"index": [8], "a": [8]}
    assert as_lists(ds.samples_by_indices(-1)) == {"index": 5, "a": 5}


def test_a_column_may_be_named_index_without_include_indices() -> None:
    """`index` is a name like any other where no indices are included."""
    assert first(ArrayDataSource({"index": np.arange(2)}).batch_iterator(2)) == [{"index": [0, 1]}]


def test_maps_get_keywords() -> None:
    """A mapped function is called with keywords, and may return a dict or a tuple."""
    ds = named(4, "a", "b")
    assert first(ds.map(lambda a, b: {"sum": a + b}).batch_iterator(2))[0] == {"sum": [100, 102]}
    assert first(ds.map(lambda a, b: (b, a)).batch_iterator(2))[0] == [[100, 101], [0, 1]]
    assert first(ds.map(lambda **batch: batch).map(lambda b, **rest: {**rest}).batch_iterator(9)) == [
        {"a": [0, 1, 2, 3]}
    ]
    assert first(numbers(4).map(lambda x: {"x": x}).map(lambda x: (x * 2,)).batch_iterator(4)) == [[[0, 2, 4, 6]]]


def test_composites_merge_dicts() -> None:
    """Flattened, the dicts of the members become one; cut to the shortest."""
    ds = CompositeDataSource([named(3, "a"), CompositeDataSource([named(5, "b"), named(4, "c", "d")])])
    assert first(ds.batch_iterator(2))[1] == {"a": [2], "b": [2], "c": [2], "d": [102]}
    assert as_lists(ds.samples_by_indices([[0], [[1], [2]]])) == {"a": [0], "b": [1], "c": [2], "d": [102]}
    nested = CompositeDataSource([named(3, "a"), named(5, "a")], flatten=False)
    assert first(nested.batch_iterator(2))[0] == [{"a": [0, 1]}, {"a": [0, 1]}]


def test_nested_dicts_are_trimmed() -> None:
    """Dicts within tuples are cut to the shortest too, also when they are not random access."""
    members = [named(7, "a"), numbers(4).map(lambda x: (x, {"deep": x * 2}))]
    ds: Any = CompositeDataSource(members, flatten=False)
    assert first(ds.batch_iterator(5))[0] == [{"a": [0, 1, 2, 3]}, [[0, 1, 2, 3], {"deep": [0, 2, 4, 6]}]]


def test_choices_of_dicts() -> None:
    """A choice hands on the dicts of its members, which may differ."""
    ds = ChoiceDataSource([named(2, "a"), named(2, "b")])
    assert first(ds.batch_iterator(2)) == [{"a": [0, 1]}, {"b": [0, 1]}]


def test_functions_get_keywords_in_concat_and_mean() -> None:
    """Concat and mean call with keywords; names of results are the function's own."""
    ds = named(5, "a", "b")
    assert ds.batch_map_mean(lambda a, b: (a.sum(), b.sum()), 2) == (2.0, 102.0)
    assert ds.batch_map_mean(lambda k, a, b: {"x": a.sum() * k}, 2, prepend_args=[2]) == {"x": 4.0}
    assert list(ds.batch_map_concat(lambda **batch: batch, 2)) == ["a", "b"]


@pytest.mark.parametrize("stop", [1, 2, 5])
def test_dict_batches_are_independent(stop: int) -> None:
    """Changing a batch, keys included, changes no other batch."""
    ds = named(9, "a", "b")
    for batch in ds.batch_iterator(stop):
        batch["a"][...] = -1
        del batch["b"]
    assert first(ds.batch_iterator(9)) == [{"a": list(range(9)), "b": list(range(100, 109))}]

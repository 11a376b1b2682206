"""Errors: raised where the mistake is made, of the types that callers expect, naming what came and what to do."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest

from batchup import errors
from batchup.data_source import (
    ArrayDataSource,
    CallableDataSource,
    ChoiceBatch,
    ChoiceDataSource,
    CompositeDataSource,
    IteratorDataSource,
    MapDataSource,
    RandomAccessDataSource,
    batch_map_concat,
    batch_map_mean,
    coerce_data_source,
)
from batchup.sampling import StandardSampler, SubsetSampler, WeightedSampler, WeightedSubsetSampler

from . import users
from .cases import handed, named, numbers

WRONG_TYPE = (TypeError, errors.InvalidTypeError)
WRONG_VALUE = (ValueError, errors.InvalidValueError)
WRONG_LENGTH = (ValueError, errors.LengthError)
OUT_OF_RANGE = (IndexError, errors.IndexRangeError)
UNSUPPORTED = (NotImplementedError, errors.UnsupportedError)


@dataclass(frozen=True)
class Mistake:
    """A call, the two types of what it raises, and words that the message holds."""

    call: Callable[[], Any]
    raises: tuple[type[BaseException], type[BaseException]]
    words: tuple[str, ...]


def mistake(call: Callable[[], Any], raises: tuple[type[BaseException], type[BaseException]], *words: str) -> Mistake:
    return Mistake(call, raises, words)


def composite(**kwargs: Any) -> CompositeDataSource:
    return CompositeDataSource([numbers(6), numbers(9)], **kwargs)


def choice(**kwargs: Any) -> ChoiceDataSource:
    return ChoiceDataSource([numbers(6), numbers(9)], **kwargs)


def weighted(n: int = 3) -> ArrayDataSource:
    return numbers(n, sampler=WeightedSampler(np.ones(n)))


def mapped(result: Any) -> Any:
    """Return the first batch of a map that returns `result`."""
    return next(numbers(4).map(lambda x: result).batch_iterator(4))


def concat(result: Any, **kwargs: Any) -> Any:
    return numbers(4).batch_map_concat(lambda x: result, 2, **kwargs)


def mean(result: Any, **kwargs: Any) -> Any:
    return numbers(4).batch_map_mean(lambda x: result, 2, **kwargs)


def in_turn(*results: Any) -> Callable[[Any], Any]:
    """Return a function that returns one result after the other."""
    left = iter(results)
    return lambda *batch: next(left)


X = np.zeros((4, 2))

MISTAKES = {
    # data
    "no columns": mistake(lambda: ArrayDataSource([]), WRONG_VALUE, "at least one"),
    "no columns, dict": mistake(lambda: ArrayDataSource({}), WRONG_VALUE, "at least one"),
    "tuple as data": mistake(lambda: ArrayDataSource((X, X)), WRONG_TYPE, "list", "tuple"),
    "array as data": mistake(lambda: ArrayDataSource(X), WRONG_TYPE, "list", "ndarray", "[array]"),
    "unequal lengths": mistake(lambda: ArrayDataSource([X, X[:3]]), WRONG_LENGTH, "data[0] has 4", "data[1] has 3"),
    "unequal lengths, dict": mistake(
        lambda: ArrayDataSource({"x": X, "y": [1]}), WRONG_LENGTH, "data['x'] has 4", "data['y'] has 1"
    ),
    "a number as column": mistake(lambda: ArrayDataSource([5]), WRONG_TYPE, "array-like", "int"),
    "None as column": mistake(lambda: ArrayDataSource([X, None]), WRONG_TYPE, "array-like", "NoneType"),
    "text as column": mistake(lambda: ArrayDataSource(["text"]), WRONG_TYPE, "array-like", "str"),
    "a dict as column": mistake(lambda: ArrayDataSource([{0: 1}]), WRONG_TYPE, "array-like", "dict"),
    "a set as column": mistake(lambda: ArrayDataSource([{1, 2}]), WRONG_TYPE, "array-like", "set"),
    "a generator as column": mistake(lambda: ArrayDataSource([iter([1])]), WRONG_TYPE, "array-like"),
    "a 0-d array as column": mistake(lambda: ArrayDataSource([np.array(5)]), WRONG_TYPE, "0-dimensional"),
    "ragged list": mistake(lambda: ArrayDataSource([[[1], [1, 2]]]), WRONG_VALUE, "one shape"),
    "arrays of different shapes": mistake(
        lambda: ArrayDataSource([[np.zeros(2), np.zeros(3)]]), WRONG_VALUE, "number 1", "(3,)"
    ),
    "arrays of different dtypes": mistake(
        lambda: ArrayDataSource([[np.zeros(2), np.zeros(2, int)]]), WRONG_VALUE, "number 1", "int64"
    ),
    "keys that are not text": mistake(lambda: ArrayDataSource({1: X}), WRONG_TYPE, "strings", "1"),
    "a column named index": mistake(
        lambda: ArrayDataSource({"index": X}, include_indices=True), WRONG_VALUE, "'index'", "rename"
    ),
    # indices
    "float indices": mistake(lambda: numbers(5, indices=[1.0, 2.0]), WRONG_TYPE, "integers", "float64"),
    "a mask as indices": mistake(
        lambda: numbers(3, indices=np.array([True, False, True])), WRONG_TYPE, "bool", "flatnonzero"
    ),
    "text as indices": mistake(lambda: numbers(3, indices=["a"]), WRONG_TYPE, "integers"),
    "2-d indices": mistake(lambda: numbers(5, indices=[[1, 2]]), WRONG_VALUE, "1-dimensional", "(1, 2)"),
    "an index too large": mistake(lambda: numbers(5, indices=[0, 5]), OUT_OF_RANGE, "index 5", "5 samples"),
    "an index too small": mistake(lambda: numbers(5, indices=[-6, 0]), OUT_OF_RANGE, "index -6", "5 samples"),
    "an index beyond 64 bits": mistake(
        lambda: numbers(5, indices=np.array([2**64 - 1], np.uint64)), OUT_OF_RANGE, str(2**64 - 1)
    ),
    "a subset too large for the data": mistake(
        lambda: numbers(5, sampler=SubsetSampler([7])), OUT_OF_RANGE, "index 7", "5 samples"
    ),
    "a sampler too long for the data": mistake(lambda: numbers(5, sampler=StandardSampler(7)), OUT_OF_RANGE, "7", "5"),
    "a weighted subset too large for the data": mistake(
        lambda: numbers(5, sampler=WeightedSubsetSampler([1], [5])), OUT_OF_RANGE, "index 5", "5 samples"
    ),
    "float indices of a sampler": mistake(lambda: SubsetSampler([0.5]), WRONG_TYPE, "integers", "float64"),
    "read an index too large": mistake(
        lambda: numbers(5).samples_by_indices([0, 5]), OUT_OF_RANGE, "index 5", "5 samples"
    ),
    "read an index too small": mistake(
        lambda: numbers(5).samples_by_indices_nomapping(np.array([-6])), OUT_OF_RANGE, "index -6", "5 samples"
    ),
    "read one index too large": mistake(lambda: numbers(5).samples_by_indices(5), OUT_OF_RANGE, "index 5", "5 samples"),
    "read floats": mistake(lambda: numbers(5).samples_by_indices([0.0]), WRONG_TYPE, "integers", "float64"),
    "read a mask": mistake(
        lambda: numbers(2).samples_by_indices(np.array([True, False])), WRONG_TYPE, "bool", "flatnonzero"
    ),
    "read a position outside the subset": mistake(
        lambda: numbers(50, indices=[4, 5, 6]).samples_by_indices([0, 3]), OUT_OF_RANGE, "index 3", "3 samples"
    ),
    "read one position outside the subset": mistake(
        lambda: numbers(50, indices=[4, 5, 6]).samples_by_indices(3), OUT_OF_RANGE, "index 3", "3 samples"
    ),
    "read outside, mapped": mistake(
        lambda: numbers(5).map(users.halves).samples_by_indices([9]), OUT_OF_RANGE, "index 9", "5 samples"
    ),
    "a user's sampler outside the data": mistake(
        lambda: list(numbers(5, sampler=users.Backwards(6)).batch_iterator(2)), OUT_OF_RANGE, "index -6", "5 samples"
    ),
    # batch sizes
    **{
        f"batch size {size!r} of {name}": mistake(
            lambda make=make, size=size: make().batch_iterator(size), raises, "batch_size", repr(size)
        )
        for size, raises in [
            (0, WRONG_VALUE),
            (-1, WRONG_VALUE),
            (2.5, WRONG_VALUE),
            ("a", WRONG_TYPE),
            (True, WRONG_TYPE),
            (None, WRONG_TYPE),
            (math.nan, WRONG_VALUE),
        ]
        for name, make in [
            ("an array source", lambda: numbers(5)),
            ("a composite", composite),
            ("a choice", choice),
            ("a map", lambda: numbers(5).map(users.halves)),
            ("a callable", handed),
        ]
    },
    "batch size of a sampler": mistake(
        lambda: StandardSampler(5).in_order_indices_batch_iterator(0), WRONG_VALUE, "batch_size", "0"
    ),
    "batch size of a shuffled sampler": mistake(
        lambda: WeightedSampler([1]).shuffled_indices_batch_iterator("3", np.random), WRONG_TYPE, "batch_size", "'3'"
    ),
    "batch size of indices": mistake(lambda: numbers(5).batch_indices_iterator(0), WRONG_VALUE, "batch_size", "0"),
    "batch size of concat": mistake(
        lambda: numbers(5).batch_map_concat(users.halves, 0), WRONG_VALUE, "batch_size", "0"
    ),
    # weights
    "too few weights": mistake(lambda: numbers(5, sampler=WeightedSampler([1, 2])), WRONG_LENGTH, "got 2", "5 samples"),
    "too many weights": mistake(
        lambda: numbers(1, sampler=WeightedSampler([1, 2])), WRONG_LENGTH, "got 2", "1 samples"
    ),
    "weights and indices differ": mistake(lambda: WeightedSubsetSampler([1, 2], [1]), WRONG_LENGTH, "2", "1"),
    "a negative weight": mistake(lambda: WeightedSampler([1, -2.5, 3]), WRONG_VALUE, "-2.5", "position 1"),
    "negative weights": mistake(lambda: WeightedSampler([-1, 1, -1]), WRONG_VALUE, "position 0", "2 such", "0, 2"),
    "a weight of NaN": mistake(lambda: WeightedSampler([1, 1, math.nan]), WRONG_VALUE, "nan", "position 2"),
    "an infinite weight": mistake(lambda: WeightedSampler([1, math.inf]), WRONG_VALUE, "inf", "position 1"),
    "opposite infinities": mistake(lambda: WeightedSampler([math.inf, -math.inf]), WRONG_VALUE, "inf", "position 0"),
    "weights of 0": mistake(lambda: WeightedSampler([0, 0, 0]), WRONG_VALUE, "more than 0", "3 weights"),
    "no weights": mistake(lambda: WeightedSampler([]), WRONG_VALUE, "more than 0", "0 weights"),
    "weights beyond float32": mistake(
        lambda: WeightedSampler(np.full(3, 3e38, np.float32)), WRONG_VALUE, "finite sum", "scale"
    ),
    "2-d weights": mistake(lambda: WeightedSampler([[1, 2]]), WRONG_VALUE, "1-dimensional", "(1, 2)"),
    "weights of text": mistake(lambda: WeightedSampler(["a"]), WRONG_TYPE, "numbers"),
    "complex weights": mistake(lambda: WeightedSampler([1j]), WRONG_TYPE, "numbers", "complex128"),
    "sub-weights of 0": mistake(lambda: WeightedSubsetSampler([0.0], [3]), WRONG_VALUE, "more than 0"),
    "a negative class": mistake(
        lambda: WeightedSampler.class_balancing_sampler([0, -1]), WRONG_VALUE, "-1", "sample 1"
    ),
    "a class beyond n_classes": mistake(
        lambda: WeightedSampler.class_balancing_sampler([0, 3, 1], n_classes=3), WRONG_VALUE, "3", "sample 1"
    ),
    "classes of floats": mistake(lambda: WeightedSampler.class_balancing_sampler([0.5]), WRONG_TYPE, "float64"),
    "no classes": mistake(lambda: WeightedSampler.class_balancing_sampler([]), WRONG_VALUE, "at least one"),
    "balance outside the data": mistake(
        lambda: WeightedSubsetSampler.class_balancing_sampler([0, 1], [2]), OUT_OF_RANGE, "index 2", "2 samples"
    ),
    # orders
    **{
        f"shuffle {shuffle!r} of {name}": mistake(
            lambda call=call, shuffle=shuffle: call(shuffle), raises, "shuffle", came
        )
        for shuffle, raises, came in [
            ("yes", WRONG_TYPE, "str"),
            (1.5, WRONG_VALUE, "1.5"),
            (-3, WRONG_VALUE, "-3"),
            ([1], WRONG_TYPE, "list"),
        ]
        for name, call in [
            ("an array source", lambda s: numbers(5).batch_iterator(2, s)),
            ("a composite", lambda s: composite().batch_iterator(2, shuffle=s)),
            ("a choice", lambda s: choice().batch_iterator(2, shuffle=s)),
            ("indices", lambda s: numbers(5).batch_indices_iterator(2, s)),
            ("concat", lambda s: numbers(5).batch_map_concat(users.halves, 2, shuffle=s)),
            ("a composite with a callable", lambda s: CompositeDataSource([numbers(5), handed()]).batch_iterator(2, s)),
        ]
    },
    "an epoch of -1": mistake(lambda: numbers(5).batch_iterator(2, 1, epoch=-1), WRONG_VALUE, "epoch", "-1"),
    "an epoch of 1.5": mistake(lambda: numbers(5).batch_iterator(2, 1, epoch=1.5), WRONG_VALUE, "epoch", "1.5"),
    "an epoch of text": mistake(lambda: numbers(5).batch_iterator(2, 1, epoch="1"), WRONG_TYPE, "epoch", "'1'"),
    "an epoch for a callable": mistake(
        lambda: handed().batch_iterator(2, epoch=1), WRONG_TYPE, "epoch", "CallableDataSource"
    ),
    "an epoch for an iterator within": mistake(
        lambda: CompositeDataSource([numbers(5), IteratorDataSource(iter([]))]).batch_iterator(2, epoch=1),
        WRONG_TYPE,
        "epoch",
        "IteratorDataSource",
    ),
    "weighted, in order": mistake(lambda: weighted().batch_iterator(2), UNSUPPORTED, "shuffle"),
    "weighted, shuffle=False": mistake(
        lambda: weighted().batch_iterator(2, shuffle=False), UNSUPPORTED, "WeightedSampler"
    ),
    "weighted in a composite, in order": mistake(
        lambda: CompositeDataSource([numbers(3), weighted()]).batch_iterator(2), UNSUPPORTED, "shuffle"
    ),
    "weighted in a choice, in order": mistake(
        lambda: ChoiceDataSource([numbers(3), weighted()]).batch_iterator(2), UNSUPPORTED, "shuffle"
    ),
    "weighted in a map, in order": mistake(
        lambda: weighted().map(users.halves).batch_iterator(2), UNSUPPORTED, "shuffle"
    ),
    "weighted beside a callable, in order": mistake(
        lambda: CompositeDataSource([handed(), weighted()]).batch_iterator(2), UNSUPPORTED, "shuffle"
    ),
    "weighted in turn with a callable, in order": mistake(
        lambda: ChoiceDataSource([handed(), weighted()]).batch_iterator(2), UNSUPPORTED, "shuffle"
    ),
    "weighted sampler, in order": mistake(
        lambda: WeightedSubsetSampler([1], [0]).in_order_indices_batch_iterator(2), UNSUPPORTED, "shuffle"
    ),
    # unknown keywords
    **{
        f"unknown keyword of {name}": mistake(call, WRONG_TYPE, "'colour'")
        for name, call in [
            ("an array source", lambda: numbers(5).batch_iterator(2, colour=1)),
            ("a composite", lambda: composite().batch_iterator(2, colour=1)),
            ("a choice", lambda: choice().batch_iterator(2, colour=1)),
            ("a map", lambda: numbers(5).map(users.halves).batch_iterator(2, colour=1)),
            ("indices", lambda: numbers(5).batch_indices_iterator(2, colour=1)),
            ("concat", lambda: numbers(5).batch_map_concat(users.halves, 2, colour=1)),
        ]
    },
    # samplers and sources
    "repeats 0": mistake(lambda: numbers(5, repeats=0), WRONG_VALUE, "repeats", "0"),
    "repeats -2": mistake(lambda: numbers(5, repeats=-2), WRONG_VALUE, "repeats", "-2"),
    "repeats 1.5": mistake(lambda: numbers(5, repeats=1.5), WRONG_VALUE, "repeats", "1.5"),
    "repeats 0 of a subset": mistake(lambda: SubsetSampler([1], 0), WRONG_VALUE, "repeats", "0"),
    "repeats -2 of a sampler": mistake(lambda: StandardSampler(5, repeats=-2), WRONG_VALUE, "repeats", "-2"),
    "nothing for ever": mistake(lambda: numbers(0, repeats=-1), WRONG_VALUE, "no samples", "for ever"),
    "an empty subset for ever": mistake(lambda: numbers(5, indices=[], repeats=-1), WRONG_VALUE, "no samples"),
    "a sampler and indices": mistake(
        lambda: numbers(5, indices=[1], sampler=StandardSampler(5)), WRONG_VALUE, "sampler", "indices"
    ),
    "a sampler and repeats": mistake(
        lambda: numbers(5, repeats=2, sampler=StandardSampler(5)), WRONG_VALUE, "sampler", "repeats"
    ),
    "a sampler class": mistake(lambda: numbers(5, sampler=StandardSampler), WRONG_TYPE, "sampler", "type"),
    "a negative length": mistake(lambda: RandomAccessDataSource(-1), WRONG_VALUE, "length", "-1"),
    "a length of text": mistake(lambda: StandardSampler("5"), WRONG_TYPE, "length", "'5'"),
    "composite of nothing": mistake(lambda: CompositeDataSource([]), WRONG_VALUE, "at least one"),
    "choice of nothing": mistake(lambda: ChoiceDataSource([]), WRONG_VALUE, "at least one"),
    "composite of arrays": mistake(
        lambda: CompositeDataSource([numbers(5), X]), WRONG_TYPE, "number 1", "ndarray", "coerce_data_source"
    ),
    "map of an array": mistake(lambda: MapDataSource(X, users.halves), WRONG_TYPE, "source", "ndarray"),
    "map by an array": mistake(lambda: numbers(5).map(X), WRONG_TYPE, "callable", "ndarray"),
    "callable source of an array": mistake(lambda: CallableDataSource(X), WRONG_TYPE, "callable", "ndarray"),
    "callable that returns no iterator": mistake(
        lambda: CallableDataSource(lambda size: 5).batch_iterator(2), WRONG_TYPE, "iterator", "int"
    ),
    **{
        f"{count!r} samples": mistake(call, WRONG_TYPE, "number of samples", repr(count))
        for count in ("3", 3.0, True, math.nan, [])
        for call in (
            lambda count=count: CallableDataSource(users.batches_of_nine, count),
            lambda count=count: IteratorDataSource(iter([]), count),
        )
    },
    "iterator source of a list": mistake(lambda: IteratorDataSource([1]), WRONG_TYPE, "iterator", "list", "iter("),
    "coerce nothing": mistake(lambda: coerce_data_source([]), WRONG_VALUE, "empty"),
    "coerce no tuple": mistake(lambda: coerce_data_source(()), WRONG_VALUE, "empty"),
    "coerce a number": mistake(lambda: coerce_data_source(5), WRONG_TYPE, "data source", "int"),
    "coerce an array": mistake(lambda: coerce_data_source(X), WRONG_TYPE, "data source", "ndarray"),
    "coerce None": mistake(lambda: coerce_data_source(None), WRONG_TYPE, "data source", "NoneType"),
    # indices of trees
    "composite by too few": mistake(lambda: composite().samples_by_indices([[0]]), WRONG_VALUE, "2 entries", "got 1"),
    "composite by too many": mistake(
        lambda: composite().samples_by_indices_nomapping([[0]] * 3), WRONG_VALUE, "2 entries", "got 3"
    ),
    "composite by an array": mistake(
        lambda: composite().samples_by_indices(np.array([0, 1])), WRONG_TYPE, "list", "ndarray"
    ),
    "composite by an int": mistake(lambda: composite().samples_by_indices(0), WRONG_TYPE, "list", "int"),
    "composite outside a member": mistake(
        lambda: composite().samples_by_indices([[0], [9]]), OUT_OF_RANGE, "index 9", "9 samples"
    ),
    "choice by a list": mistake(lambda: choice().samples_by_indices([0]), WRONG_TYPE, "ChoiceBatch", "list"),
    "choice by a tuple": mistake(
        lambda: choice().samples_by_indices_nomapping(([0], 1)), WRONG_TYPE, "ChoiceBatch", "tuple"
    ),
    "choice of no such member": mistake(
        lambda: choice().samples_by_indices(ChoiceBatch([0], 2)), WRONG_VALUE, "2 members", "ds_index 2"
    ),
    "choice of member -1": mistake(
        lambda: choice().samples_by_indices(ChoiceBatch([0], -1)), WRONG_VALUE, "2 members", "-1"
    ),
    "composite with a callable by index": mistake(
        lambda: CompositeDataSource([numbers(5), handed()]).samples_by_indices([[0], [0]]),
        WRONG_TYPE,
        "CallableDataSource",
        "random access",
    ),
    "choice with a callable by index": mistake(
        lambda: ChoiceDataSource([numbers(5), handed()]).batch_indices_iterator(3), WRONG_TYPE, "random access"
    ),
    "map of a callable by index": mistake(
        lambda: handed().map(users.halves).samples_by_indices([0]), WRONG_TYPE, "random access"
    ),
    # what maps return
    "map to None": mistake(lambda: mapped(None), WRONG_TYPE, "<lambda>", "NoneType"),
    "map to a number": mistake(lambda: mapped(5.0), WRONG_TYPE, "<lambda>", "float"),
    "map to nothing": mistake(lambda: mapped(()), WRONG_TYPE, "<lambda>", "tuple"),
    "map to different lengths": mistake(lambda: mapped((np.zeros(4), np.zeros(3))), WRONG_LENGTH, "<lambda>", "4", "3"),
    "map to different lengths, dict": mistake(
        lambda: mapped({"a": np.zeros(2), "b": np.zeros(3)}), WRONG_LENGTH, "2", "3"
    ),
    "map to different lengths, nested": mistake(
        lambda: mapped((np.zeros(2), (np.zeros(2), np.zeros(5)))), WRONG_LENGTH, "2", "5"
    ),
    "map to different lengths, by index": mistake(
        lambda: numbers(4).map(lambda x: (x, x[1:])).samples_by_indices([0, 1]), WRONG_LENGTH, "2", "1"
    ),
    # dicts
    "the same key twice": mistake(
        lambda: next(CompositeDataSource([named(4, "a", "b"), named(4, "b")]).batch_iterator(2)),
        WRONG_VALUE,
        "'b'",
        "flatten=False",
    ),
    "the same key twice, when built": mistake(
        lambda: CompositeDataSource([named(4, "a", "b"), named(4, "b")]), WRONG_VALUE, "'b'", "flatten=False"
    ),
    "indices of two dicts, when built": mistake(
        lambda: CompositeDataSource([named(4, n, include_indices=True) for n in "ab"]), WRONG_VALUE, "'index'"
    ),
    "dict with tuple": mistake(
        lambda: next(CompositeDataSource([named(4, "a"), numbers(4)]).batch_iterator(2)),
        WRONG_TYPE,
        "dict",
        "tuple",
        "flatten=False",
    ),
    "dict with tuple by index": mistake(
        lambda: CompositeDataSource([named(4, "a"), numbers(4)]).samples_by_indices([[0], [0]]), WRONG_TYPE, "dict"
    ),
    # concat and mean
    "concat to a list": mistake(lambda: concat([X]), WRONG_TYPE, "array", "list"),
    "concat to a number": mistake(lambda: concat(1.5), WRONG_TYPE, "array", "float"),
    "concat to text": mistake(lambda: concat("text"), WRONG_TYPE, "array", "str"),
    "concat to a NumPy scalar": mistake(lambda: concat(np.float64(1)), WRONG_TYPE, "0-dimensional"),
    "concat to a 0-d array": mistake(lambda: concat(np.array(1)), WRONG_TYPE, "0-dimensional"),
    "concat to a tuple of numbers": mistake(lambda: concat((X, 5)), WRONG_TYPE, "array", "int"),
    "concat to a tuple with None": mistake(lambda: concat((X, None)), WRONG_TYPE, "array", "NoneType"),
    "concat to different numbers of results": mistake(
        lambda: numbers(4).batch_map_concat(in_turn((X, X), (X,)), 2), WRONG_TYPE, "[0, 1]", "[0]"
    ),
    "concat to different keys": mistake(
        lambda: numbers(4).batch_map_concat(in_turn({"a": X}, {"b": X}), 2), WRONG_TYPE, "'a'", "'b'"
    ),
    "concat of different shapes": mistake(
        lambda: numbers(4).batch_map_concat(in_turn(X, X[:, :1]), 2), WRONG_VALUE, "(1,)", "(2,)"
    ),
    "concat without end": mistake(
        lambda: numbers(3, repeats=-1).batch_map_concat(users.halves, 2), WRONG_VALUE, "n_batches"
    ),
    "concat weighted without end": mistake(
        lambda: weighted().batch_map_concat(users.halves, 2, shuffle=1), WRONG_VALUE, "n_batches"
    ),
    "concat a map without end": mistake(
        lambda: numbers(3, repeats=-1).map(users.halves).batch_map_concat(users.halves, 2), WRONG_VALUE, "n_batches"
    ),
    "concat a callable without end": mistake(
        lambda: handed(math.inf).batch_map_concat(users.halves, 2), WRONG_VALUE, "n_batches"
    ),
    "mean without end": mistake(
        lambda: numbers(3, repeats=-1).batch_map_mean(users.halves, 2), WRONG_VALUE, "n_batches"
    ),
    "concat, n_batches -1": mistake(lambda: concat(X, n_batches=-1), WRONG_VALUE, "n_batches", "-1"),
    "concat, n_batches 1.5": mistake(lambda: concat(X, n_batches=1.5), WRONG_VALUE, "n_batches", "1.5"),
    "mean, n_batches of text": mistake(lambda: mean(1.0, n_batches="2"), WRONG_TYPE, "n_batches", "'2'"),
    "out too short": mistake(
        lambda: numbers(4).batch_map_concat(lambda x: x, 2, out=np.empty(3, int)), WRONG_LENGTH, "out has 3 rows"
    ),
    "out of another shape": mistake(
        lambda: numbers(4).batch_map_concat(lambda x: x, 2, out=np.empty((4, 2))), WRONG_VALUE, "()", "(2,)"
    ),
    "out of another dtype": mistake(
        lambda: numbers(4).batch_map_concat(lambda x: x / 2, 2, out=np.empty(4, int)), WRONG_TYPE, "float64", "int64"
    ),
    "out for too few results": mistake(
        lambda: numbers(4).batch_map_concat(lambda x: (x, x), 2, out=np.empty(4, int)), WRONG_VALUE, "out", "1"
    ),
    "out for too many results": mistake(
        lambda: numbers(4).batch_map_concat(lambda x: x, 2, out=(np.empty(4, int), np.empty(4, int))),
        WRONG_VALUE,
        "out",
        "1",
    ),
    "out without the key": mistake(
        lambda: numbers(4).batch_map_concat(lambda x: {"a": x}, 2, out={"b": np.empty(4)}), WRONG_VALUE, "out", "'a'"
    ),
    "out that is a list": mistake(lambda: concat(X, out=[[1, 2]]), WRONG_TYPE, "out", "array"),
    "out that is read-only": mistake(
        lambda: concat(X, out=np.frombuffer(bytes(64)).reshape(4, 2)), WRONG_TYPE, "out", "writable"
    ),
    "mean of text": mistake(lambda: mean("text"), WRONG_TYPE, "number", "str"),
    "mean of an array of text": mistake(lambda: mean(np.array(["a"])), WRONG_TYPE, "numbers"),
    "mean of a tuple with None": mistake(lambda: mean((1.0, None)), WRONG_TYPE, "number", "NoneType"),
    "mean of different numbers of results": mistake(
        lambda: numbers(4).batch_map_mean(in_turn((1.0, 2.0), 1.0), 2), WRONG_TYPE, "[0, 1]", "[0]"
    ),
    "mean of different keys": mistake(
        lambda: numbers(4).batch_map_mean(in_turn({"a": 1.0}, {"b": 1.0}), 2), WRONG_TYPE, "'a'", "'b'"
    ),
    "concat of no batches": mistake(lambda: batch_map_concat(lambda x: X, iter([5])), WRONG_TYPE, "batch", "int"),
    "mean of no batches": mistake(lambda: batch_map_mean(lambda x: 1.0, iter([5])), WRONG_TYPE, "batch", "int"),
    # iterators
    "len of an endless iterator": mistake(
        lambda: len(numbers(3, repeats=-1).batch_iterator(2)), WRONG_TYPE, "infinite"
    ),
    "len of an unknown iterator": mistake(lambda: len(handed(None).batch_iterator(2)), WRONG_TYPE, "not known"),
}


@pytest.mark.parametrize("case", MISTAKES.values(), ids=MISTAKES.keys())
def test_mistakes(case: Mistake) -> None:
    """Each mistake raises the built-in exception and batchup's own, in words that lead on."""
    with pytest.raises(case.raises[0]) as raised:
        case.call()
    assert isinstance(raised.value, case.raises[1])
    assert isinstance(raised.value, errors.BatchUpError)
    assert [word for word in case.words if word not in str(raised.value)] == []


class Unreadable(users.Wrapped):
    """An array-like whose samples cannot be read."""

    def __init__(self, error: Exception) -> None:
        super().__init__(np.arange(6))
        self.error = error

    def __getitem__(self, index: Any) -> Any:
        raise self.error


class OddError(Exception):
    """An exception of the user's."""


class OddLookupError(LookupError):
    """An exception of the user's that derives from one that batchup looks out for."""


ERRORS = [
    OSError(5, "disk"),
    OddError("odd"),
    OddLookupError("odd"),
    ValueError("bad"),
    TypeError("bad"),
    KeyError("k"),
    MemoryError(),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("shuffle", [None, 1])
def test_errors_of_array_likes_come_through(error: Exception, shuffle: Any) -> None:
    """What an array-like raises is raised as it is: the same object."""
    ds = ArrayDataSource([np.arange(6), Unreadable(error)])
    for call in (lambda: next(ds.batch_iterator(4, shuffle)), lambda: ds.samples_by_indices([1])):
        with pytest.raises(type(error)) as raised:
            call()
        assert raised.value is error


@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_errors_of_gather_come_through(error: Exception) -> None:
    """What `gather` raises is raised as it is; it is not tried in other ways."""

    class Gathers(users.Wrapped):
        def gather(self, indices: Any) -> Any:
            raise error

        def __getitem__(self, index: Any) -> Any:
            raise AssertionError("tried in another way")

    with pytest.raises(type(error)) as raised:
        next(ArrayDataSource([Gathers(np.arange(6))]).batch_iterator(4))
    assert raised.value is error


def test_the_error_of_the_whole_batch_stands() -> None:
    """If neither an array nor single ints can be read, the error about the array is raised, and no other beside it."""

    class Broken(users.Wrapped):
        def __getitem__(self, index: Any) -> Any:
            if type(index) is int:
                raise OddError("by the way")
            raise KeyError("the matter")

    with pytest.raises(KeyError, match="the matter") as raised:
        next(ArrayDataSource([Broken(np.arange(6))]).batch_iterator(4))
    assert raised.value.__suppress_context__ or raised.value.__context__ is None


def test_one_bad_sample_leaves_the_others_readable() -> None:
    """An error on one sample is the user's own; the samples before and after it can still be read."""

    class Holey(users.Wrapped):
        def __getitem__(self, index: Any) -> Any:
            if type(index) is not int:
                raise TypeError("an int")
            if index == 7:
                raise OSError(5, "sample 7")
            return self.array[index]

    ds = ArrayDataSource([Holey(np.arange(12))])
    batches = ds.batch_iterator(4)
    assert next(batches)[0].tolist() == [0, 1, 2, 3]
    with pytest.raises(OSError, match="sample 7"):
        next(batches)
    assert ds.samples_by_indices([8, 9])[0].tolist() == [8, 9]


@pytest.mark.parametrize("result", [np.arange(3), np.arange(5), 7, None])
def test_array_likes_of_the_wrong_length(result: Any) -> None:
    """An array-like that gives another number of samples than was asked for is named."""

    class Wrong(users.Wrapped):
        def __getitem__(self, index: Any) -> Any:
            return result

    with pytest.raises(errors.LengthError, match=r"Wrong was asked for 4 samples"):
        next(ArrayDataSource([Wrong(np.arange(8))]).batch_iterator(4))


def test_data_that_changes_its_length() -> None:
    """A list that grows, an array-like that shrinks: the epoch stops with an error that names both lengths."""
    growing = [np.zeros(2) for _ in range(8)]
    shrinking = users.Everything(np.arange(8))
    for data, change in (
        (growing, lambda: growing.append(np.zeros(2))),
        (shrinking, lambda: setattr(shrinking, "array", np.arange(7))),
    ):
        for wrap in (lambda ds: ds, lambda ds: CompositeDataSource([ds, numbers(8)]), lambda ds: ds.map(lambda *b: b)):
            del growing[8:]
            shrinking.array = np.arange(8)
            batches = wrap(ArrayDataSource([data])).batch_iterator(2)
            next(batches)
            change()
            with pytest.raises(errors.LengthError, match=r"8.*(9|7)"):
                next(batches)


def test_data_that_shrank_before_the_epoch() -> None:
    """A source whose data shrank since it was made says so at the call; data that grew is read as it was."""
    data = users.Everything(np.arange(8))
    ds = ArrayDataSource([data])
    data.array = np.arange(7)
    with pytest.raises(errors.LengthError, match=r"8.*7"):
        ds.batch_iterator(2)
    data.array = np.arange(20)
    assert [batch.tolist() for (batch,) in ds.batch_iterator(5)] == [[0, 1, 2, 3, 4], [5, 6, 7]]


def test_columns_that_come_apart() -> None:
    """Columns that no longer have one length are named at the call."""
    data = users.Everything(np.arange(8))
    ds = ArrayDataSource([data, np.arange(8)])
    data.array = np.arange(9)
    with pytest.raises(errors.LengthError, match=r"data\[0\] has 9, data\[1\] has 8"):
        ds.batch_iterator(2)


@pytest.mark.parametrize("wrap", [lambda ds: ds, lambda ds: CompositeDataSource([ds, numbers(9)])])
def test_errors_in_maps_come_through(wrap: Callable[[Any], Any]) -> None:
    """What a mapped function raises is raised as it is; after it the iterator is exhausted, but not the source."""

    def fail(x: Any) -> Any:
        if x[0] == 2:
            raise OddError("batch 1")
        return (x,)

    ds = wrap(numbers(6).map(fail))
    for _ in range(2):
        batches = ds.batch_iterator(2)
        assert next(batches)[0].tolist() == [0, 1]
        with pytest.raises(OddError, match="batch 1"):
            next(batches)
        assert next(batches, None) is None
        assert batches.position == 1


def test_no_generator_is_touched_by_a_mistake() -> None:
    """A call that raises has drawn nothing."""
    rng = np.random.RandomState(0)
    before = rng.get_state()[2]
    for call in (
        lambda: numbers(5).batch_iterator(0, rng),
        lambda: numbers(5).batch_iterator(2, rng, colour=1),
        lambda: numbers(5).batch_iterator(2, rng, epoch=-1),
    ):
        with pytest.raises(errors.BatchUpError):
            call()
    assert rng.get_state()[2] == before


def test_exception_tree() -> None:
    """Every exception is one of batchup's, and the built-in one that callers would expect."""
    builtin = {
        "InvalidTypeError": TypeError,
        "InvalidValueError": ValueError,
        "IndexRangeError": (ValueError, IndexError),
        "LengthError": ValueError,
        "UnsupportedError": NotImplementedError,
        "MissingExtraError": ImportError,
    }
    for name in errors.__all__:
        assert issubclass(getattr(errors, name), errors.BatchUpError)
    for name, kinds in builtin.items():
        for kind in kinds if isinstance(kinds, tuple) else (kinds,):
            assert issubclass(getattr(errors, name), kind)

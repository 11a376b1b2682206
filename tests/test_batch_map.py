"""`batch_map_concat` and `batch_map_mean`: functions over every batch, joined or averaged."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import tqdm
from hypothesis import given
from hypothesis import strategies as st

from batchup.data_source import (
    ArrayDataSource,
    CallableDataSource,
    ChoiceDataSource,
    CompositeDataSource,
    batch_map_concat,
    batch_map_mean,
)

from . import users
from .cases import handed, named, numbers

X = np.arange(46.0).reshape(23, 2)


def source(**kwargs: Any) -> ArrayDataSource:
    return ArrayDataSource([X, np.arange(23)], **kwargs)


def some(batches: int, rows: Callable[[int], int] = lambda i: 4) -> Iterator[tuple[Any]]:
    """Yield batches of counting numbers with so many rows each."""
    at = 0
    for i in range(batches):
        yield (np.arange(at, at + rows(i)),)
        at += rows(i)


@given(st.integers(1, 60), st.integers(1, 70))
def test_concat_gives_a_row_per_sample(n: int, size: int) -> None:
    """The result equals the function of all the data at once."""
    data = np.arange(n * 2.0).reshape(n, 2)
    ds = ArrayDataSource([data, np.arange(n)])
    for batches in (ds.batch_iterator(size), (b for b in ds.batch_iterator(size))):
        doubled, total = batch_map_concat(lambda x, y: (x * 2, x.sum(axis=1) + y), batches)
        assert doubled.tolist() == (data * 2).tolist()
        assert total.tolist() == (data.sum(axis=1) + np.arange(n)).tolist()
    (alone,) = ds.batch_map_concat(lambda x, y: y, batch_size=size)
    assert alone.tolist() == list(range(n))


@given(st.lists(st.integers(0, 50), max_size=12))
def test_concat_of_very_different_row_counts(rows: list[int]) -> None:
    """Batches may have any number of rows, also none."""
    result = batch_map_concat(lambda x: x, some(len(rows), lambda i: rows[i]))
    if rows:
        assert result[0].tolist() == list(range(sum(rows)))
    else:
        assert result is None


@pytest.mark.parametrize("n_batches", [None, 3])
def test_concat_of_rows_that_do_not_match_the_samples(n_batches: int | None) -> None:
    """A function may filter rows, or give more than it got, all the time or only later."""
    ds = numbers(23)
    odd = [i for i in range(23 if n_batches is None else 12) if i % 2]
    (filtered,) = ds.batch_map_concat(lambda x: x[x % 2 == 1], 4, n_batches=n_batches)
    assert filtered.tolist() == odd
    (late,) = ds.batch_map_concat(lambda x: x if x[0] < 4 else x[x % 2 == 1], 4, n_batches=n_batches)
    assert late.tolist() == [0, 1, 2, 3] + [i for i in odd if i > 3]
    (more,) = ds.batch_map_concat(lambda x: np.repeat(x, 1 if x[0] < 4 else 5), 4, n_batches=n_batches)
    assert more.tolist() == [0, 1, 2, 3] + [i for i in range(4, 23 if n_batches is None else 12) for _ in range(5)]
    (first_none,) = ds.batch_map_concat(lambda x: x[:0] if x[0] < 4 else x, 4, n_batches=n_batches)
    assert first_none.tolist() == list(range(4, 23 if n_batches is None else 12))


@pytest.mark.parametrize(
    ("dtypes", "expected"),
    [
        (["i4", "i4"], "i4"),
        (["i4", "i8"], "i8"),
        (["i4", "f4"], "f8"),
        (["f4", "f8"], "f8"),
        (["f8", "f4"], "f8"),
        (["?", "i2"], "i2"),
        (["u1", "i1", "f4"], "f4"),
        (["U1", "U5"], "U5"),
        (["f8", "c8"], "c16"),
        (["i8", "O"], "O"),
        (["M8[s]", "M8[ms]"], "M8[ms]"),
    ],
)
def test_concat_promotes_dtypes(dtypes: list[str], expected: str) -> None:
    """Results of different dtypes are joined as np.concatenate does, in every order of batches."""
    for known in (True, False):
        batches = numbers(4 * len(dtypes)).batch_iterator(4)
        parts = [np.array([1, 0, 1, 1]).astype(dtype) for dtype in dtypes]
        left = iter(parts)
        (joined,) = batch_map_concat(lambda x, left=left: next(left), batches if known else iter(list(batches)))
        assert joined.dtype == np.dtype(expected) == np.concatenate(parts).dtype
        assert joined.tolist() == np.concatenate(parts).tolist()


def test_concat_never_reads_memory_that_was_not_written(monkeypatch: pytest.MonkeyPatch) -> None:
    """Promotion touches the rows that are there: whatever the rest of the memory holds causes no warning."""
    empty = np.empty

    def soiled(*args: Any, **kwargs: Any) -> Any:
        array = empty(*args, **kwargs)
        if array.flags.c_contiguous and not array.dtype.hasobject:
            array.reshape(-1).view(np.uint8)[...] = np.resize(np.array([1, 0, 160, 127], np.uint8), array.nbytes)
        return array

    monkeypatch.setattr(np, "empty", soiled)  # float32 NaNs that signal when they are converted
    results = iter([np.zeros(4, np.float32), np.ones(4)])
    (joined,) = batch_map_concat(lambda x: next(results), numbers(8).batch_iterator(4))
    assert joined.tolist() == [0, 0, 0, 0, 1, 1, 1, 1]


def test_concat_passes_over_none() -> None:
    """Batches for which the function returns None leave no rows; if it always does, there is no result."""
    (kept,) = numbers(12).batch_map_concat(lambda x: None if x[0] % 8 else x, 4)
    assert kept.tolist() == [0, 1, 2, 3, 8, 9, 10, 11]
    (late,) = numbers(12).batch_map_concat(lambda x: None if x[0] < 8 else x, 4)
    assert late.tolist() == [8, 9, 10, 11]
    assert numbers(12).batch_map_concat(lambda x: None, 4) is None


def test_concat_of_records_objects_and_wide_rows() -> None:
    """Results may be structured, objects, of many dimensions, or have no elements."""
    for make in (
        lambda x: np.rec.fromarrays([x, x * 2.5], names="a,b").view(np.ndarray),
        lambda x: np.array([[str(i), None] for i in x], dtype=object),
        lambda x: np.ones((len(x), 2, 3, 4)) * x[:, None, None, None],
        lambda x: np.ones((len(x), 0)),
        lambda x: np.asfortranarray(np.outer(x, x[:2])),
    ):
        expected = np.concatenate([make(np.arange(i, min(i + 4, 10))) for i in range(0, 8, 4)])
        (joined,) = numbers(8).batch_map_concat(make, 4)
        assert joined.dtype == expected.dtype
        assert joined.tolist() == expected.tolist()


def test_concat_of_dicts() -> None:
    """Dict batches come as keywords; results may be dicts, whatever the batches are."""
    ds = named(10, "a", "b")
    result = ds.batch_map_concat(lambda a, b: {"sum": a + b, "a": a}, 4)
    assert list(result) == ["sum", "a"]
    assert result["sum"].tolist() == [2 * i + 100 for i in range(10)]
    (only,) = ds.batch_map_concat(lambda a, b: a, 4)
    assert only.tolist() == list(range(10))
    assert numbers(5).batch_map_concat(lambda x: {"x": x}, 2)["x"].tolist() == [0, 1, 2, 3, 4]
    prepended = ds.batch_map_concat(lambda scale, a, b: {"a": a * scale}, 4, prepend_args=(3,))
    assert prepended["a"].tolist() == [3 * i for i in range(10)]


def test_concat_of_nested_batches() -> None:
    """A nested batch is handed to the function part by part, as `fn(*batch)`."""
    ds = CompositeDataSource([source(), CompositeDataSource([numbers(30), numbers(25)], flatten=False)], flatten=False)
    left, right = ds.batch_map_concat(lambda one, two: (one[1], two[1][0] * 2), 4)
    assert left.tolist() == list(range(23))
    assert right.tolist() == [2 * i for i in range(23)]


def test_concat_of_the_batch_itself() -> None:
    """A function may return the very arrays it was given, or views of them."""
    same, flipped = source().batch_map_concat(lambda x, y: (x, y[::-1]), 4)
    assert same.tolist() == X.tolist()
    assert flipped[:4].tolist() == [3, 2, 1, 0]
    same[...] = 0
    assert source().batch_map_concat(lambda x, y: x, 4)[0].tolist() == X.tolist()
    assert X[1, 0] == 2


def test_concat_result_owns_itself() -> None:
    """The result is a plain array of its own, writable, and of just its size."""
    (joined,) = source().batch_map_concat(lambda x, y: x[y % 3 == 0], 4)
    assert joined.base is None
    assert joined.flags.writeable
    assert joined.flags.c_contiguous


def test_concat_into_out() -> None:
    """With `out`, results are written there, in the part that they fill; smaller dtypes are converted."""
    out = np.full((30, 2), -1.0)
    (joined,) = source().batch_map_concat(lambda x, y: x.astype(np.float32), 4, out=out)
    assert np.shares_memory(joined, out)
    assert joined.tolist() == X.tolist()
    assert (out[23:] == -1).all()
    exact = np.empty((23, 2)), np.empty(23, np.int16)
    a, b = source().batch_map_concat(lambda x, y: (x, y), 4, out=exact)
    assert a.shape == (23, 2)
    assert exact[1].tolist() == b.tolist() == list(range(23))
    named_out = {"y": np.empty(23)}
    result = source().batch_map_concat(lambda x, y: {"y": y}, 4, out=named_out)
    assert result["y"].tolist() == named_out["y"].tolist() == list(range(23))
    strided = np.zeros((46, 2))[::2]
    source().batch_map_concat(lambda x, y: x, 4, out=strided)
    assert strided.tolist() == X.tolist()
    assert batch_map_concat(lambda x: x, iter([]), out=np.empty(3)) is None


def test_concat_into_a_memory_map(tmp_path: Any) -> None:
    """`out` may be a memory map on disk."""
    out = np.lib.format.open_memmap(tmp_path / "out.npy", "w+", np.float64, (23, 2))
    source().batch_map_concat(lambda x, y: x, 4, out=out)
    out.flush()
    assert np.load(tmp_path / "out.npy").tolist() == X.tolist()


@pytest.mark.parametrize("n_batches", [0, 1, 3, 6, 7, 1000, sys.maxsize])
def test_n_batches(n_batches: int) -> None:
    """`n_batches` is where to stop at the latest; what lies behind is not read."""
    samples = min(23, 4 * n_batches)
    joined = source().batch_map_concat(lambda x, y: y, 4, n_batches=n_batches)
    mean = source().batch_map_mean(lambda x, y: y.sum(), 4, n_batches=n_batches)
    if n_batches == 0:
        assert joined is None
        assert mean is None
    else:
        assert joined[0].tolist() == list(range(samples))
        assert mean == (np.mean(range(samples)),)
    batches = some(8)
    batch_map_concat(lambda x: x, batches, n_batches=2)
    assert next(batches)[0].tolist() == [8, 9, 10, 11]


def test_endless_sources_with_n_batches() -> None:
    """An endless source is read for `n_batches` batches."""
    ds = numbers(3, repeats=-1)
    assert ds.batch_map_concat(lambda x: x, 4, n_batches=2)[0].tolist() == [0, 1, 2, 0, 1, 2, 0, 1]
    assert ds.batch_map_mean(lambda x: x.sum(), 4, n_batches=3) == (1.0,)


class Bar:
    """A progress bar that notes what it is told."""

    def __init__(self) -> None:
        self.told: list[Any] = []
        self.steps = 0

    def __call__(self, iterator: Any, total: Any, leave: bool) -> Iterator[Any]:
        self.told.append((total, leave))
        for item in iterator:
            self.steps += 1
            yield item


@pytest.mark.parametrize("method", ["batch_map_concat", "batch_map_mean"])
@pytest.mark.parametrize(
    ("ds", "n_batches", "total", "steps"),
    [
        (numbers(23), None, 6, 6),
        (numbers(23), 2, 2, 2),
        (numbers(3, repeats=-1), 5, 5, 5),
        (handed(None), None, None, 3),
        (handed(9), None, 3, 3),
        (CompositeDataSource([numbers(23), numbers(9)]), None, 3, 3),
        (ChoiceDataSource([numbers(8), numbers(9)], stratified=True), None, 5, 5),
    ],
)
def test_progress(method: str, ds: Any, n_batches: int | None, total: int | None, steps: int) -> None:
    """The bar is told the number of batches where it is known, and leave=False; it sees every batch."""
    bar = Bar()
    getattr(ds, method)(
        lambda *batch: batch[0],
        4,
        progress_iter_func=bar,
        n_batches=n_batches,
        **({} if method == "batch_map_concat" else {"sum_axis": 0}),
    )
    assert bar.told == [(total, False)]
    assert bar.steps == steps


def test_progress_by_tqdm(capsys: pytest.CaptureFixture[str]) -> None:
    """tqdm.tqdm is such a bar."""
    (joined,) = numbers(23).batch_map_concat(lambda x: x, 4, progress_iter_func=tqdm.tqdm)
    assert joined.tolist() == list(range(23))
    assert "/6" in capsys.readouterr().err


def test_prepended_arguments() -> None:
    """`prepend_args` come before the batch."""
    (joined,) = source().batch_map_concat(lambda k, x, y: y * k, 4, prepend_args=[3])
    assert joined.tolist() == [3 * i for i in range(23)]
    assert source().batch_map_mean(lambda k, c, x, y: (y * k + c).sum(), 4, prepend_args=(2, 1)) == (23.0,)


@pytest.mark.parametrize(
    ("function", "sum_axis", "expected"),
    [
        (lambda x, y: y.sum(), None, [11.0]),
        (lambda x, y: float(y.sum()), None, [11.0]),
        (lambda x, y: int(y.sum()), None, [11.0]),
        (lambda x, y: np.float32(y.sum()), None, [11.0]),
        (lambda x, y: np.asarray(y.sum()), None, [11.0]),
        (lambda x, y: x.sum(axis=0), None, [[22.0, 23.0]]),
        (lambda x, y: [x.sum(axis=0), y.sum()], None, [[22.0, 23.0], 11.0]),
        (lambda x, y: (y.sum(), y.sum() * 2), None, [11.0, 22.0]),
        (lambda x, y: y, 0, [11.0]),
        (lambda x, y: x, 0, [[22.0, 23.0]]),
        (lambda x, y: (x, y), 0, [[22.0, 23.0], 11.0]),
        (lambda x, y: x, (0, 1), [45.0]),
        (lambda x, y: x.T, 1, [[22.0, 23.0]]),
        (lambda x, y: x.T, -1, [[22.0, 23.0]]),
        (lambda x, y: y % 2 == 0, 0, [12 / 23]),
        (lambda x, y: complex(y.sum(), len(y)), None, [11 + 1j]),
    ],
)
def test_mean(function: Any, sum_axis: Any, expected: list[Any]) -> None:
    """Sums per batch, or values per sample with `sum_axis`, become a tuple of totals over the number of samples."""
    for batches in (source().batch_iterator(4), iter(list(source().batch_iterator(5)))):
        result = batch_map_mean(function, batches, sum_axis=sum_axis)
        assert isinstance(result, tuple)
        for ours, wanted in zip(result, expected, strict=True):
            np.testing.assert_allclose(ours, wanted)


def test_mean_does_not_change_what_the_function_returned() -> None:
    """Totals are kept apart from the arrays that the function gave, also if it gives the same one always."""
    sums = np.array([1.0, 2.0])
    result = numbers(8).batch_map_mean(lambda x: sums, 4)
    assert sums.tolist() == [1, 2]
    assert result[0].tolist() == [0.25, 0.5]


def test_mean_of_dicts_and_none() -> None:
    """Results may be dicts; batches for which the function returns None do not count."""
    assert named(4, "a").batch_map_mean(lambda a: {"a": a.sum(), "one": float(len(a))}, 3) == {"a": 1.5, "one": 1.0}
    assert numbers(12).batch_map_mean(lambda x: None if x[0] < 8 else x.sum(), 4) == (9.5,)
    assert numbers(12).batch_map_mean(lambda x: None, 4) is None


def test_mean_accumulates_in_double_precision() -> None:
    """Sums of float32, float16 and small integers neither drift nor overflow."""
    ones = ArrayDataSource([np.full((30_000, 1), 0.1, np.float32)])
    (mean,) = ones.batch_map_mean(lambda x: x.sum(axis=0), 3)
    np.testing.assert_allclose(mean, [np.float32(0.1)], rtol=1e-6)
    halves = ArrayDataSource([np.full(10_000, 60_000, np.float16)])
    assert halves.batch_map_mean(lambda x: x, 100, sum_axis=0) == (float(np.float16(60_000)),)
    bytes_ = ArrayDataSource([np.full(1000, 255, np.uint8)])
    assert bytes_.batch_map_mean(lambda x: x, 100, sum_axis=0) == (255.0,)
    assert bytes_.batch_map_mean(lambda x: x[0], 1) == (255.0,)


def test_mean_weighs_samples_not_batches() -> None:
    """A short batch counts by its samples."""
    result = batch_map_mean(lambda x: x.sum(), some(3, lambda i: [1, 10, 3][i]))
    assert result == (np.mean(range(14)),)


def test_mean_of_sums_that_do_not_match() -> None:
    """Values per sample without `sum_axis` are not added across batches, even where broadcasting could."""
    for n in (9, 10):  # the last batch has 1 sample, or 2
        with pytest.raises(ValueError, match="shape"):
            numbers(n).batch_map_mean(lambda x: x, 4)


@pytest.mark.parametrize("ds", [numbers(0), named(0, "a"), numbers(5, indices=[]), numbers(0).map(users.halves)])
def test_no_samples(ds: Any) -> None:
    """Without samples there is no result, and the function is never called."""

    def never(*args: Any, **kwargs: Any) -> Any:
        raise AssertionError("called")

    assert ds.batch_map_concat(never, 4) is None
    assert ds.batch_map_mean(never, 4) is None


def test_keywords_reach_the_iterator() -> None:
    """The methods hand `shuffle` and other keywords to `batch_iterator`."""
    ds = numbers(20)
    (joined,) = ds.batch_map_concat(lambda x: x, 6, shuffle=np.random.RandomState(3))
    assert joined.tolist() == np.random.RandomState(3).permutation(20).tolist()
    (seeded,) = ds.batch_map_concat(lambda x: x, 6, shuffle=3, epoch=2)
    assert seeded.tolist() == [i for (b,) in ds.batch_iterator(6, 3, epoch=2) for i in b]
    told: list[Any] = []

    def batches(size: int, **kwargs: Any) -> Iterator[Any]:
        told.append((size, kwargs))
        return iter([(np.arange(3),)])

    CallableDataSource(batches).batch_map_mean(lambda x: x.sum(), 3, colour="red")
    CallableDataSource(batches).batch_map_concat(lambda x: x, 3, shuffle=True)
    assert told == [(3, {"colour": "red"}), (3, {"shuffle": True})]


def test_errors_of_the_function_come_through() -> None:
    """What the function raises is raised as it is."""

    class OddError(Exception):
        pass

    def fail(x: Any) -> Any:
        raise OddError("here")

    for method in (numbers(5).batch_map_concat, numbers(5).batch_map_mean):
        with pytest.raises(OddError, match="here"):
            method(fail, 2)

"""Bad input and failing functions of lazy datasets: errors at their place, with what to do about them."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Iterator
from decimal import Decimal
from itertools import count, islice
from typing import Any

import numpy as np
import pytest

from batchup import Dataset
from batchup.errors import BatchUpError, IndexRangeError, InvalidTypeError, InvalidValueError, LengthError, StateError

from .pipelines import Counted, Rows, drawn
from .pools import PlainError, end_of_patience, leaving_nothing  # noqa: F401

WHERE: dict[str, dict[str, Any]] = {
    "here": {},
    "thread": {"num_threads": 1},
    "threads": {"num_threads": 2},
    "threads, one ahead": {"num_threads": 2, "buffer_size": 1},
    "background": {"background": True},
}


def one(item: Any) -> Any:
    return item


def always(item: Any) -> bool:
    return True


def stop(*args: Any) -> Any:
    raise StopIteration("mine")


class FailsAt:
    """A function that fails at one item, and counts its calls."""

    def __init__(self, place: int, error: type[BaseException] = PlainError) -> None:
        self.place, self.error = place, error
        self.calls: list[Any] = []

    def __call__(self, item: Any) -> Any:
        self.calls.append(item)
        if item == self.place:
            raise self.error("text")
        return item


def notes(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", []))


def take_all(items: Iterator[Any]) -> tuple[list[Any], BaseException]:
    """Return the items that come before an error, and it."""
    found = []
    try:
        for item in items:
            found.append(item)  # noqa: PERF402  those before an error are kept
    except Exception as error:  # noqa: BLE001  it is what is asked for
        return found, error
    raise AssertionError("no error")


# functions that fail


@pytest.mark.parametrize("place", [0, 1, 7, 49])
@pytest.mark.parametrize("where", WHERE)
def test_an_error_comes_at_its_place(where: str, place: int) -> None:
    """All items before come first; then the error, with a note that tells the verb and the item."""
    fails = FailsAt(place)
    dataset = Dataset(range(50)).map(fails, **WHERE[where])
    with leaving_nothing():
        for _ in range(2):
            items = iter(dataset)
            found, error = take_all(items)
            assert found == list(range(place))
            assert type(error) is PlainError
            assert "map(FailsAt)" in notes(error)
            assert f"item {place}" in notes(error)
            assert notes(error).count("in the dataset") == 1
            del error


@pytest.mark.parametrize("where", WHERE)
@pytest.mark.parametrize("verb", ["map", "filter", "flatmap", "starmap"])
def test_all_verbs_tell_their_place(verb: str, where: str) -> None:
    """Whatever calls functions says which verb failed, at which item, behind other functions, too."""

    def fail(*item: Any) -> Any:
        if 9 in item:
            raise PlainError("text")
        return item

    dataset = Dataset(range(50)).map(lambda x: x - 1).filter(lambda x: x >= 0).map(lambda x: (x,))
    dataset = getattr(dataset, verb)(fail if verb == "starmap" else lambda item: fail(*item), **WHERE[where])
    found, error = take_all(iter(dataset))
    assert len(found) == 9
    assert f"{verb}(" in notes(error)
    assert "item 10" in notes(error) or "item 9" in notes(error)


@pytest.mark.parametrize("where", WHERE)
def test_a_pass_that_failed_is_over(where: str) -> None:
    """After an error, the iterator refuses to go on, as often as it is asked; a new one works."""
    dataset = Dataset(range(20)).map(FailsAt(5), **WHERE[where]).batch(2, None)
    items = iter(dataset)
    assert [batch.tolist() for batch in islice(items, 2)] == [[0, 1], [2, 3]]
    state = items.state_dict()
    with pytest.raises(PlainError):
        next(items)
    for _ in range(2):
        with pytest.raises(StateError, match="PlainError"):
            next(items)
    items.close()
    with pytest.raises(StateError):
        next(items)
    assert next(iter(dataset)).tolist() == [0, 1]
    items.load_state_dict(state)
    with pytest.raises(PlainError):
        next(items)


@pytest.mark.parametrize("where", ["here", "thread", "threads"])
def test_an_error_is_not_tried_again(where: str) -> None:
    """A function that fails once is called once: its error counts, though it would not fail again."""

    class FailsOnce(FailsAt):
        def __call__(self, item: Any) -> Any:
            if item in self.calls:
                return item
            return super().__call__(item)

    fails = FailsOnce(3)
    found, error = take_all(iter(Dataset(range(6)).map(fails, **WHERE[where])))
    assert found == [0, 1, 2]
    assert type(error) is PlainError
    assert fails.calls.count(3) == 1


@pytest.mark.parametrize("where", ["threads"])
def test_errors_come_as_they_are_done(where: str) -> None:
    """In any order, an error is raised, too, and only items that were made come before."""
    dataset = Dataset(range(50)).map(FailsAt(20), **WHERE[where], ordered=False)
    found, error = take_all(iter(dataset))
    assert type(error) is PlainError
    assert "item 20" in notes(error)
    assert 20 not in found
    assert len(set(found)) == len(found)


@pytest.mark.parametrize("error", [KeyError, IndexError, AttributeError, TypeError, ZeroDivisionError])
@pytest.mark.parametrize("where", WHERE)
def test_errors_of_all_kinds(where: str, error: type[BaseException]) -> None:
    """No kind of error of a function is taken for the end, or for something else."""
    items = iter(Dataset(range(10)).map(FailsAt(4, error), **WHERE[where]).filter(always))
    assert list(islice(items, 4)) == [0, 1, 2, 3]
    with pytest.raises(error) as caught:
        next(items)
    assert "text" in str(caught.value)


# a StopIteration of the user's must never end a pass


class StopsAt:
    """A sequence, a stream or an iterator that stops in odd places."""

    def __init__(self, where: str) -> None:
        self.where = where

    def __len__(self) -> int:
        return 5

    def __getitem__(self, index: int) -> int:
        if self.where == "getitem" and index == 2:
            raise StopIteration("mine")
        return index


class NoStart:
    def __iter__(self) -> Iterator[Any]:
        raise StopIteration("mine")


STOPS: dict[str, Callable[[], Dataset]] = {
    "map": lambda: Dataset(range(5)).map(stop),
    "filter": lambda: Dataset(range(5)).filter(stop),
    "flatmap": lambda: Dataset(range(5)).flatmap(stop),
    "starmap": lambda: Dataset(range(5), range(5)).starmap(stop),
    "map, threads": lambda: Dataset(range(5)).map(stop, num_threads=2),
    "map, background": lambda: Dataset(range(5)).map(stop, background=True),
    "map, batch": lambda: Dataset(range(5)).map(stop).batch(2),
    "map, window": lambda: Dataset(range(5)).map(stop).window(2),
    "map, shuffle": lambda: Dataset(range(5)).map(stop).shuffle(seed=1),
    "map, cache": lambda: Dataset(range(5)).map(stop).cache(),
    "map, zip": lambda: Dataset(range(5)).zip(Dataset(range(5)).map(stop)),
    "map, roundrobin": lambda: Dataset.roundrobin([Dataset(range(5)).map(stop)]),
    "map, mux": lambda: Dataset.mux([Dataset(range(5)).map(stop)]),
    "map, reversed": lambda: Dataset(range(5)).map(stop)[::-1],
    "transform": lambda: Dataset(range(5)).transform(stop),
    "transform, batch": lambda: Dataset(range(5)).transform(stop).batch(2),
    "transform, concat": lambda: Dataset([]) + Dataset(range(5)).transform(stop),
    "called": lambda: Dataset(stop),
    "called, taken": lambda: Dataset(stop).take(3),
    "called, prefetched": lambda: Dataset(stop).prefetch(),
    "called, threads": lambda: Dataset(stop).map(one, num_threads=1),
    "called, beside": lambda: Dataset(range(3), stop),
    "iter": lambda: Dataset(NoStart()),
    "getitem": lambda: Dataset(StopsAt("getitem")),
    "getitem, shuffle": lambda: Dataset(StopsAt("getitem")).shuffle(seed=1),
    "getitem, batch": lambda: Dataset(StopsAt("getitem")).batch(2),
    "getitem, columns": lambda: Dataset(x=StopsAt("getitem"), y=range(5)),
    "getitem, reversed": lambda: Dataset(StopsAt("getitem"))[::-1],
    "generator": lambda: Dataset(lambda: (stop() for _ in range(3))),
}


@pytest.mark.parametrize("verb", STOPS)
def test_stop_iteration_ends_no_pass(verb: str) -> None:
    """A StopIteration of a user's function or source is an error, not the end of the items."""
    with leaving_nothing():
        with pytest.raises(RuntimeError) as caught:
            STOPS[verb]().list()
        assert "mine" in "".join(traceback.format_exception(caught.value))
        del caught


# sources that fail


class NoIterator:
    def __iter__(self) -> Iterator[Any]:
        raise PlainError("no start")


def midway() -> Iterator[int]:
    yield 0
    yield 1
    raise PlainError("midway")


@pytest.mark.parametrize("where", WHERE)
def test_sources_that_fail(where: str) -> None:
    """What a source raises arrives, after the items before it."""
    for source, expected in ((NoIterator(), []), (midway, [0, 1])):
        found, error = take_all(iter(Dataset(source).map(one, **WHERE[where])))
        assert found == expected
        assert type(error) is PlainError
    assert Dataset(midway).take(2).map(one, **WHERE[where]).list() == [0, 1]


def test_an_iterator_gives_its_items_once() -> None:
    """A second pass over an iterator is an error, however often it is tried; one that begins at once is none."""
    dataset = Dataset(iter("abc"))
    assert dataset.list() == ["a", "b", "c"]
    for _ in range(2):
        items = iter(dataset)
        with pytest.raises(StateError, match="once"):
            next(items)
        with pytest.raises(StateError):
            next(items)
    with pytest.raises(StateError, match="cache"):
        Dataset(x for x in "ab").repeat(2).list()
    with pytest.raises(StateError):
        dataset.map(one, num_threads=1).list()
    cached = Dataset(x for x in "ab").cache()
    assert cached.list() == cached.list() == ["a", "b"]


def test_columns_of_different_lengths() -> None:
    """Columns have equally many items: known lengths are compared at once, others when one ends."""
    for make in (
        lambda: Dataset(range(3), range(4)),
        lambda: Dataset(x=range(3), y=[]),
        lambda: Dataset({"x": [1], "y": [1, 2]}),
        lambda: Dataset(np.zeros((3, 2)), np.zeros((2, 3))),
    ):
        with pytest.raises(LengthError, match=r"3|1"):
            make()
    for dataset in (
        Dataset(x=range(5), y=Counted(2)),
        Dataset(Counted(2), range(5)),
        Dataset(range(2), Counted(5)),
    ):
        found, error = take_all(iter(dataset))
        assert len(found) == 2
        assert isinstance(error, LengthError)


@pytest.mark.parametrize("nothing", [5, None, 1.5, True, object(), np.array(3), np.float64(2)])
def test_what_is_no_data(nothing: Any) -> None:
    """What cannot be iterated over is refused at once."""
    for make in (
        lambda: Dataset(nothing),
        lambda: Dataset(nothing, [1]),
        lambda: Dataset(x=nothing),
        lambda: Dataset.concat([nothing]),
        lambda: Dataset([1]).zip(nothing),
    ):
        with pytest.raises(InvalidTypeError):
            make()


def test_no_data() -> None:
    """A dataset needs data, of one kind."""
    for make in (lambda: Dataset(), lambda: Dataset({}), lambda: Dataset([1], x=[1])):
        with pytest.raises(InvalidTypeError, match="Dataset"):
            make()


def test_functions_that_return_nothing_to_iterate_over() -> None:
    """Functions that should return something to iterate over, and do not, are named."""
    for dataset in (
        Dataset(lambda: 5),
        Dataset(lambda: None),
        Dataset([1]).transform(lambda items: None),
        Dataset([1]).flatmap(lambda item: item),
    ):
        with pytest.raises(InvalidTypeError, match=r"int|NoneType"):
            dataset.list()


# arguments


COUNTS: dict[str, Callable[[Any], Any]] = {
    "take": lambda n: Dataset([1]).take(n),
    "skip": lambda n: Dataset([1]).skip(n),
    "batch": lambda n: Dataset([1]).batch(n),
    "padded_batch": lambda n: Dataset([1]).padded_batch(n),
    "window": lambda n: Dataset([1]).window(n),
    "window, step": lambda n: Dataset([1]).window(1, n),
    "sample": lambda n: Dataset([1]).sample(n),
    "shuffle": lambda n: Dataset([1]).shuffle("" if n is None else n),
    "seed": lambda n: Dataset([1]).shuffle(seed="" if n is None else n),
    "repeat": lambda n: Dataset([1]).repeat(n if n != -1 else -2),
    "prefetch": lambda n: Dataset([1]).prefetch(n),
    "epoch": lambda n: Dataset([1]).epoch(n),
    "n_active": lambda n: Dataset.mux([Dataset([1])], n_active="" if n is None else n),
    "num_threads": lambda n: Dataset([1]).map(one, num_threads="" if n is None else n),
    "num_processes": lambda n: Dataset([1]).filter(always, num_processes="" if n is None else n),
    "buffer_size": lambda n: Dataset([1]).map(one, num_threads=1, buffer_size="" if n is None else n),
}


@pytest.mark.parametrize("value", [-1, True, 1.5, "2", None, [1], float("nan"), 1 + 0j])
@pytest.mark.parametrize("verb", COUNTS)
def test_counts_are_checked_at_once(verb: str, value: Any) -> None:
    """A count is a whole number that is large enough, and no bool; the error tells what came."""
    with pytest.raises((InvalidTypeError, InvalidValueError)) as caught:
        COUNTS[verb](value)
    assert isinstance(caught.value, BatchUpError)


@pytest.mark.parametrize("verb", ["batch", "padded_batch", "window", "window, step", "shuffle", "prefetch", "n_active"])
def test_counts_of_nothing(verb: str) -> None:
    """What must be 1 at least is not 0."""
    with pytest.raises(InvalidValueError, match="at least 1"):
        COUNTS[verb](0)


@pytest.mark.parametrize("value", [True, 1.5, "2", None])
def test_enumerate_counts_from_integers(value: Any) -> None:
    """`enumerate` counts from an integer."""
    with pytest.raises((InvalidTypeError, InvalidValueError)):
        Dataset([1]).enumerate(value)


@pytest.mark.parametrize("verb", ["map", "starmap", "flatmap", "filter", "transform", "foreach"])
@pytest.mark.parametrize("value", [None, 5, "abc", [len]])
def test_functions_are_checked_at_once(verb: str, value: Any) -> None:
    """What cannot be called is refused at the call."""
    with pytest.raises(InvalidTypeError, match=verb):
        getattr(Dataset([1]), verb)(value)


@pytest.mark.parametrize(
    ("make", "error", "text"),
    [
        (lambda ds: ds.map(one, num_threads=1, num_processes=1), ValueError, "num_threads"),
        (lambda ds: ds.map(one, ordered=False), ValueError, "ordered"),
        (lambda ds: ds.map(one, buffer_size=2), ValueError, "buffer_size"),
        (lambda ds: ds.map(one, executor="threads"), TypeError, "executor"),
        (lambda ds: ds.filter(one, threads=2), TypeError, "threads"),
        (lambda ds: ds.map(one, seed=1), ValueError, "rng"),
        (lambda ds: ds.map(drawn, seed="1"), TypeError, "seed"),
        (lambda ds: ds.shuffle(seed=np.random.default_rng(1)), ValueError, "seed"),
        (lambda ds: ds.shuffle(seed=-1), ValueError, "seed"),
        (lambda ds: ds.batch(2, default_dtype="no dtype"), TypeError, "dtype"),
        (lambda ds: ds.collect("no dtype"), TypeError, "dtype"),
        (lambda ds: ds.data_source("no dtype"), TypeError, "dtype"),
        (lambda ds: ds["a"], TypeError, "integer"),
        (lambda ds: ds[1.0], TypeError, "integer"),
        (lambda ds: ds[None], TypeError, "integer"),
        (lambda ds: ds[1, 2], TypeError, "integer"),
        (lambda ds: ds["a":], TypeError, "integer"),
        (lambda ds: ds[::0], ValueError, "step"),
        (lambda ds: ds[3], IndexError, "3"),
        (lambda ds: ds[-4], IndexError, "-4"),
        (lambda ds: ds.select(), ValueError, "select"),
        (lambda ds: ds.select_tuple(), ValueError, "select"),
        (lambda ds: ds + "ab", TypeError, "str"),
        (lambda ds: ds.zip(), ValueError, "zip"),
        (lambda ds: Dataset.concat([]), ValueError, "concat"),
        (lambda ds: Dataset.concat(ds), TypeError, "concat"),
        (lambda ds: Dataset.roundrobin(5), TypeError, "roundrobin"),
        (lambda ds: Dataset.mux([]), ValueError, "mux"),
        (lambda ds: Dataset.mux([ds], weights=[1, 2]), ValueError, "weight"),
        (lambda ds: Dataset.mux([ds], weights=[0]), ValueError, "weights"),
        (lambda ds: Dataset.mux([ds], weights=[-1]), ValueError, "weights"),
        (lambda ds: Dataset.mux([ds], weights=[np.nan]), ValueError, "weights"),
        (lambda ds: Dataset.mux([ds], weights=["a"]), ValueError, "weight"),
        (lambda ds: Dataset.mux([ds], stop="never ever"), ValueError, "stop"),
        (lambda ds: Dataset.mux([ds], rate=3), ValueError, "n_active"),
        (lambda ds: Dataset.mux([ds], n_active=1, rate=0), ValueError, "rate"),
        (lambda ds: Dataset.mux([ds], n_active=1, rate=float("nan")), ValueError, "rate"),
        (lambda ds: Dataset.mux([ds], n_active=1, rate=float("inf")), ValueError, "rate"),
        (lambda ds: Dataset.mux([ds], n_active=1, rate="3"), (TypeError, ValueError), "rate"),
    ],
)
def test_arguments_are_checked_at_once(make: Any, error: Any, text: str) -> None:
    """Bad arguments are errors where they are given, in words."""
    with pytest.raises(error, match=text) as caught:
        make(Dataset(range(3)))
    assert isinstance(caught.value, BatchUpError) or text == "str"


def test_numbers_of_streams() -> None:
    """A stream has no items from its end, and none after it."""
    dataset = Dataset(Counted(3))
    for index in (-1, slice(-1, None), slice(None, None, -1), slice(None, -1)):
        with pytest.raises(IndexRangeError):
            dataset[index]
    with pytest.raises(IndexRangeError, match="3"):
        dataset[3]
    with pytest.raises(InvalidTypeError, match="length"):
        len(dataset)


# no items, and no end


def test_nothing_is_there() -> None:
    """Without items, there is no first one, and nothing to collect; other verbs have no items, too."""
    for empty in (Dataset([]), Dataset(Counted(0)), Dataset(range(9)).take(0), Dataset(range(3)).filter(lambda x: 0)):
        for action in (empty.first, empty.shape, empty.types):
            with pytest.raises(IndexRangeError, match="no items"):
                action()
        with pytest.raises(InvalidValueError, match="without items"):
            empty.collect()
        for verb in (
            empty.batch(3),
            empty.window(2),
            empty.shuffle(seed=1),
            empty.sample(2),
            empty.repeat(2),
            empty.unbatch(),
            empty.map(one, num_threads=1),
            empty.prefetch(),
            empty.cache(),
            Dataset.mux([empty, empty]),
            empty.zip(range(3)),
        ):
            assert verb.list() == []


def test_there_is_no_end() -> None:
    """What never ends has no length, and is not made into a list."""
    endless = Dataset(range(3)).repeat()
    for dataset in (
        endless,
        endless.map(one).batch(2),
        endless.skip(5),
        endless + Dataset([]),
        Dataset.mux([Dataset([1])], stop="never"),
        endless.shuffle(5),
        endless.zip(endless),
    ):
        with pytest.raises(TypeError, match="infinite"):
            len(dataset)
        for action in (dataset.list, dataset.collect, dataset.pandas, dataset.arrow):
            with pytest.raises(InvalidValueError, match="never ends"):
                action()
        with pytest.raises(InvalidValueError, match="never ends"):
            dataset.write  # noqa: B018
        assert len(dataset.take(7)) == len(dataset.take(7).list()) == 7
    with pytest.raises(InvalidValueError, match="never ends"):
        endless.sample(2).list()


def test_a_repeated_stream_has_no_end() -> None:
    """A stream that is repeated without end is not made into a list; if it has no items, it ends."""
    endless = Dataset(Counted(2)).repeat().enumerate().map(FailsAt((1000, 0)))
    for action in (endless.list, endless.collect, endless.sample(1).list, endless.filter(always).list):
        with pytest.raises(InvalidValueError, match="never ends"):
            action()
    assert list(islice(Dataset(Counted(2)).repeat(), 5)) == [0, 1, 0, 1, 0]
    assert next(iter(Dataset(count()))) == 0


def test_mux_of_nothing_without_end() -> None:
    """A mux that never stops and has no items is an error, not a hang."""
    for n_active in (None, 1, 2):
        with pytest.raises(ValueError, match=r"empty|without items"):
            next(iter(Dataset.mux([Dataset([]), Dataset(Counted(0))], n_active=n_active, stop="never", seed=1)))


# items that do not fit together


@pytest.mark.parametrize(
    ("items", "error", "text"),
    [
        ([np.zeros(2), np.zeros(3)], LengthError, "shapes"),
        ([np.zeros(2), np.zeros((2, 1))], LengthError, "shapes"),
        ([{"a": [1]}, {"a": [1, 2]}], LengthError, "'a'"),
        ([[1, 2], [1, [2]]], ValueError, None),
        ([(1, np.zeros(2)), (1, np.zeros(1))], LengthError, r"\[1\]"),
        ([{"a": 1}, {"b": 1}], ValueError, "keys"),
        ([{"a": 1}, {"a": 1, "b": 2}], ValueError, "keys"),
        ([{"x": {"a": 1}}, {"x": {"b": 1}}], ValueError, "'x'"),
        ([1, "a"], TypeError, "int.*str"),
        ([1, None], TypeError, "int.*NoneType"),
        ([None, 1.0], TypeError, "NoneType.*float"),
        ([1, np.zeros(2)], (TypeError, LengthError), None),
        ([np.zeros(2), 1], (TypeError, LengthError), None),
        ([1, True], TypeError, "int.*bool"),
        (["a", b"a"], TypeError, "str.*bytes"),
        ([(1, 2), 3], TypeError, "tuple"),
        ([3, (1, 2)], TypeError, "tuple"),
        ([(1, 2), (1, 2, 3)], TypeError, "tuple of 2.*tuple of 3"),
        ([(1,), {"a": 1}], TypeError, "tuple.*dict"),
        ([{"a": 1}, 1], TypeError, "dict.*int"),
        ([1, 10**400], ValueError, None),
        ([1, 2**64], None, None),
    ],
    ids=repr,
)
@pytest.mark.parametrize("verb", ["batch", "collect"])
def test_items_that_do_not_fit(items: list[Any], error: Any, text: str, verb: str) -> None:
    """Items that cannot be stacked are errors that tell the part, and for batches which items."""
    dataset = Dataset([items[0]] * 4 + items)
    for made in (dataset, Dataset(lambda: iter(dataset))):
        if error is None:
            assert made.batch(6).first()[-1] == np.float32(items[1])
            continue
        with pytest.raises(error, match=text) as caught:
            made.collect() if verb == "collect" else made.batch(2).list()
        if verb == "batch":
            assert "items 4 to 5" in notes(caught.value)
            assert "batch(2)" in notes(caught.value)


def test_large_numbers_are_errors_of_value() -> None:
    """Numbers that do not fit their dtype are errors of value."""
    for number, dtype in ((2**63, int), (-1, np.uint8), (300, np.int8), (2**64, None), (10**400, np.float32)):
        with pytest.raises(ValueError, match=r"dtype|fit"):
            Dataset([number]).batch(1, dtype).list()


def test_complex_numbers_are_numbers() -> None:
    """Complex numbers are not cut to floats: they stay, or are refused in words."""
    try:
        batch = Dataset([1j, 2]).batch(2).first()
    except BatchUpError:
        return
    assert batch.tolist() == [1j, 2]


def test_objects_stay_objects() -> None:
    """What is neither number nor array is kept in an array of objects."""
    things = [Decimal("1.5"), Decimal("2")]
    assert Dataset(things).batch(2).first().tolist() == things


def test_padding_that_cannot_be() -> None:
    """Arrays of different numbers of axes, and values that do not fit, are errors."""
    with pytest.raises(LengthError, match="axes"):
        Dataset([np.zeros(2), np.zeros((2, 2))]).padded_batch(2).list()
    with pytest.raises(ValueError, match="hold"):
        Dataset([np.zeros(1, np.int8), np.zeros(2, np.int8)]).padded_batch(2, value=0.5).list()


@pytest.mark.parametrize("item", [5, "ab", b"ab", None, np.array(1), {}, object()])
def test_what_is_no_batch(item: Any) -> None:
    """What cannot be taken apart is refused."""
    with pytest.raises((TypeError, ValueError), match="unbatch"):
        Dataset([item]).unbatch().list()


def test_uneven_batches() -> None:
    """Batches of arrays of different lengths are refused; those before them come first."""
    for bad in ((np.zeros(2), np.zeros(3)), {"a": [1], "b": []}):
        found, error = take_all(iter(Dataset([(np.zeros(1), np.zeros(1)), bad]).unbatch()))
        assert len(found) >= 1
        assert isinstance(error, LengthError)


@pytest.mark.parametrize("where", ["here", "threads"])
@pytest.mark.parametrize(
    ("items", "keys"), [([{"a": 1}], ("b",)), ([(1, 2)], (2,)), ([5], ("a",)), (["ab"], (0,)), ([{"a": 1}], ([],))]
)
def test_keys_that_are_missing(items: list[Any], keys: tuple[Any, ...], where: str) -> None:
    """Missing keys are named, with those that are there."""
    dataset = Dataset([items[0]] * 3).map(one, **WHERE[where])
    for verb in (dataset.select, dataset.select_tuple):
        with pytest.raises((TypeError, ValueError), match="select") as caught:
            verb(*keys).list()
        assert "item 0" in notes(caught.value)


def test_starmap_takes_parts() -> None:
    """Items without parts are refused, and so are those that the function does not take."""
    with pytest.raises(InvalidTypeError, match="map"):
        Dataset([1]).starmap(one).list()
    with pytest.raises(TypeError):
        Dataset([(1, 2)]).starmap(one).list()
    with pytest.raises(TypeError):
        Dataset(y=[1]).starmap(lambda x: x).list()


def test_rows_that_fail() -> None:
    """What a sequence raises arrives as it is."""

    class Broken(Rows):
        def __getitem__(self, index: int) -> int:
            if index == 3:
                raise PlainError("row")
            return super().__getitem__(index)

    for dataset in (Dataset(Broken(6)), Dataset(Broken(6)).batch(2), Dataset(Broken(6))[::-1], Dataset(x=Broken(6))):
        with pytest.raises(PlainError, match="row"):
            dataset.list()
        with pytest.raises(PlainError, match="row"):
            [dataset[number] for number in range(len(dataset))]

"""Lazy datasets on worker threads and processes: the same items, in the same order, from the same draws, as without."""

from __future__ import annotations

import json
import os
import threading
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchup import Dataset, work_pool

from .helpers import as_lists
from .pipelines import Chain, Counted, bases, copies, drawn, listed, lucky, plain_chains, seeded_chains, some, weighed
from .pools import (
    LockedError,
    OddError,
    PlainError,
    end_of_patience,  # noqa: F401
    eventually,
    fail_with,
    importable_tests,
    late,
    leaving_nothing,
)

few = settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture])
PLACES: dict[str, dict[str, Any]] = {
    "a thread": {"num_threads": 1},
    "threads": {"num_threads": 2},
    "threads, short": {"num_threads": 2, "buffer_size": 2},
    "background": {"background": True},
    "processes": {"num_processes": 2},
}
THREADS = [name for name in PLACES if name != "processes"]


@pytest.fixture(name="importable", scope="module", autouse=True)
def importable_here() -> Iterator[None]:
    """Let worker processes import what is defined here, and leave nothing."""
    with importable_tests(), leaving_nothing():
        yield


@pytest.fixture(name="where", scope="module")
def where_functions_are_called(importable: None) -> Iterator[dict[str, dict[str, Any]]]:
    """Yield the keywords for each place, with processes that serve all tests."""
    with work_pool.WorkerProcessPool(2) as pool:
        yield {**PLACES, "processes": {"executor": pool}}


def square(x: int) -> int:
    return x * x


def with_process(x: int) -> tuple[int, int]:
    return x, os.getpid()


def with_thread(x: int) -> tuple[int, int]:
    return x, threading.get_ident()


def fail_at_30(x: int) -> int:
    if x == 30:
        raise PlainError("thirty")
    return x


def die_at_30(x: int) -> int:
    if x == 30:
        os._exit(7)
    return x


def noisy(x: Any, rng: np.random.Generator) -> float:
    return float(x) + float(rng.random())


def some_copies(x: Any, rng: np.random.Generator) -> list[Any]:
    return [x] * int(rng.integers(3))


def long_row(dataset: Dataset, **where: Any) -> Dataset:
    """Return a dataset with all kinds of functions, the first of which says where they are called."""
    made = dataset.map(weighed, **where).filter(some).map(drawn, seed=3).flatmap(copies).filter(lucky, seed=4)
    return made.map(weighed).enumerate().starmap(lambda number, item: (item, number)).batch(3).shuffle(4, seed=1)


# the same as without


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("base", ["range", "stream", "rows", "dicts", "beside a stream"])
def test_workers_make_the_same_items(base: str, place: str, where: Any) -> None:
    """All kinds of functions give the same items in the same order, wherever they are called, pass after pass."""
    dataset = bases(60)[base]()
    expected = listed(long_row(dataset))
    assert len(expected) > 5
    with leaving_nothing():
        made = long_row(dataset, **where[place])
        assert listed(made) == expected
        assert listed(made) == expected
        assert listed(made.epoch(1)) == listed(long_row(dataset).epoch(1)) != expected


@few
@given(seeded_chains, st.sampled_from(THREADS), st.sampled_from([weighed, some]), st.integers(0, 2))
def test_threads_follow_the_laws(chain: Chain, place: str, fn: Any, drawing: int) -> None:
    """Behind any verbs, and before them, threads make what the consumer would."""

    def finished(where: dict[str, Any]) -> Dataset:
        dataset = bases(chain.length)[chain.base]().map(weighed, **where)
        for op in chain.ops:
            dataset = op.apply(dataset)
        if drawing == 1:
            dataset = dataset.map(drawn, seed=7, **where)
        return dataset.filter(fn).map(drawn, seed=8, **where) if drawing == 2 else dataset.map(weighed, **where)

    assert listed(finished(PLACES[place])) == listed(finished({}))


@settings(few, max_examples=6)
@given(seeded_chains, st.booleans())
def test_processes_follow_the_laws(where: Any, chain: Chain, drawing: bool) -> None:
    """Behind any verbs, processes make what the consumer would."""
    dataset = chain.make()
    expected = dataset.map(drawn, seed=7) if drawing else dataset.filter(some).map(weighed)
    there = where["processes"]
    made = dataset.map(drawn, seed=7, **there) if drawing else dataset.filter(some, **there).map(weighed)
    assert listed(made) == listed(expected)


@few
@given(plain_chains, st.sampled_from(["threads", "a thread", "threads, short"]))
def test_any_order_has_the_same_items(chain: Chain, place: str) -> None:
    """Items that come as they are done are the items."""
    dataset = chain.make()
    made = dataset.map(weighed, ordered=False, **{k: v for k, v in PLACES[place].items() if k != "background"})
    assert Counter(map(repr, listed(made))) == Counter(map(repr, listed(dataset.map(weighed))))


@pytest.mark.parametrize("place", ["threads", "processes"])
def test_slow_items_do_not_change_the_order(place: str, where: Any) -> None:
    """Items come in order though some take longer; in any order, all come."""
    dataset = Dataset(range(40))
    with leaving_nothing():
        assert dataset.map(late, **where[place]).list() == list(range(40))
        assert sorted(dataset.map(late, ordered=False, **where[place]).list()) == list(range(40))


@pytest.mark.parametrize("place", ["threads", "processes"])
def test_draws_do_not_depend_on_who_draws(place: str, where: Any) -> None:
    """What `rng` gives depends on the seed, the epoch and the place, also behind a filter, and for `flatmap`."""
    for make in (
        lambda there: Dataset(range(80)).map(noisy, seed=1, **there),
        lambda there: Dataset(range(80)).filter(some, **there).map(noisy, seed=1),
        lambda there: Dataset(range(80)).filter(lucky, seed=2, **there).map(noisy, seed=2),
        lambda there: Dataset(range(80)).flatmap(some_copies, seed=5, **there).map(noisy, seed=5),
        lambda there: Dataset(range(80)).shuffle(seed=1).map(noisy, seed=1, **there).map(noisy, seed=1),
        lambda there: Dataset(range(40)).map(noisy, seed=1, **there).repeat(2),
        lambda there: Dataset(range(80)).map(noisy, seed=1, **there).shuffle(seed=2),
    ):
        assert make(where[place]).list() == make({}).list()
        assert make(where[place]).epoch(2).list() == make({}).epoch(2).list()


def test_draws_without_a_seed_differ() -> None:
    """Without a seed, each pass draws anew; within a pass, items draw different numbers."""
    dataset = Dataset([0] * 50).map(noisy, num_threads=2)
    one, other = dataset.list(), dataset.list()
    assert one != other
    assert len({*one, *other}) == 100


# where functions are called


def test_processes_call_the_functions() -> None:
    """Functions are called in other processes, as many as asked for, those of the verbs that follow, too."""
    dataset = Dataset(range(40)).map(late, num_processes=2).map(with_process)
    pids = {pid for _, pid in dataset}
    assert os.getpid() not in pids
    assert 1 <= len(pids) <= 2
    assert {pid for _, pid in Dataset(range(4)).map(late, num_processes=1).map(with_process, num_processes=0)} == {
        os.getpid()
    }


@pytest.mark.parametrize(
    "between",
    [
        lambda ds: ds,
        lambda ds: ds.batch(1).unbatch(),
        lambda ds: ds.take(30).skip(1),
        lambda ds: ds.shuffle(3),
        lambda ds: ds.shuffle(seed=1),
        lambda ds: ds.sample(20, seed=1),
        lambda ds: ds.repeat(2),
        lambda ds: ds.cache(),
        lambda ds: ds[::-1],
        lambda ds: ds.prefetch(),
        lambda ds: ds.window(2).map(max),
        lambda ds: ds.transform(lambda items: items),
        lambda ds: ds.epoch(1),
        lambda ds: ds + ds,
        lambda ds: ds.zip(ds).map(max),
        lambda ds: Dataset.roundrobin([ds, ds]),
        lambda ds: Dataset.mux([ds, ds]),
    ],
)
def test_workers_are_handed_down(between: Any) -> None:
    """Functions of verbs further down are called by the same workers, until a verb says otherwise."""
    here = threading.get_ident()
    dataset = between(Dataset(range(40)).map(square, num_threads=2))
    assert here not in {thread for _, thread in dataset.map(with_thread)}
    assert {thread for _, thread in dataset.map(with_thread, num_threads=0)} == {here}
    assert {thread for _, thread in dataset.map(square, num_threads=0).map(with_thread)} == {here}


@pytest.mark.parametrize(
    "after", [lambda ds: ds.shuffle(seed=1), lambda ds: ds[::-1], lambda ds: ds.batch(2).shuffle(seed=1).unbatch()]
)
@pytest.mark.parametrize("first", [lambda ds: ds.map(square), lambda ds: ds.map(drawn, seed=1).map(lambda x: x[0])])
def test_items_by_number_are_made_by_workers(first: Any, after: Any) -> None:
    """Where verbs ask for items by number, workers make them, too."""
    here = threading.get_ident()
    seen: set[int] = set()

    def note(x: Any) -> Any:
        seen.add(threading.get_ident())
        return x

    dataset = after(first(Dataset(range(40)).map(note, num_threads=2)))
    dataset.list()
    assert here not in seen


@pytest.mark.parametrize("kind", ["threads", "processes", "futures"])
def test_workers_of_the_users_stay(kind: str) -> None:
    """Workers that are given serve many passes, and stay when they end, fail, or are left."""
    made = {
        "threads": work_pool.WorkerThreadPool,
        "processes": work_pool.WorkerProcessPool,
        "futures": ThreadPoolExecutor,
    }
    with leaving_nothing(), made[kind](2) as pool:
        dataset = Dataset(range(50)).map(square, executor=pool).map(drawn, seed=2)
        expected = Dataset(range(50)).map(square).map(drawn, seed=2).list()
        assert dataset.list() == dataset.list() == expected
        next(iter(dataset))
        with pytest.raises(PlainError, match="thirty") as caught:
            Dataset(range(50)).map(fail_at_30, executor=pool).list()
        assert any("item 30" in note for note in caught.value.__notes__)
        del caught
        one, other = iter(dataset), iter(dataset)
        assert [next(items) for items in (one, other, one, other)] == [*expected[:1] * 2, *expected[1:2] * 2]
        one.close()
        assert [*other] == expected[2:]
        unordered = Dataset(range(50)).map(square, executor=pool, ordered=False)
        assert sorted(unordered.list()) == [x * x for x in range(50)]


def test_two_kinds_of_workers_in_a_row() -> None:
    """A dataset may call functions in several places."""
    dataset = Dataset(range(50)).map(square, num_processes=1).map(with_thread, num_threads=2).prefetch(3)
    with leaving_nothing():
        assert [x for x, _ in dataset] == [x * x for x in range(50)]


def test_lambdas_and_closures_go_to_processes() -> None:
    """Functions that are defined anywhere are sent to processes."""
    offset = np.arange(3)
    dataset = Dataset(range(9)).map(lambda x: x + offset, num_processes=2).filter(lambda x: x[0] % 2 == 0)
    assert as_lists(dataset.list()) == [[x, x + 1, x + 2] for x in range(0, 9, 2)]


def test_functions_that_cannot_be_sent() -> None:
    """A function that cannot be pickled is an error that says so; nothing hangs."""
    lock = threading.Lock()
    with leaving_nothing():
        with pytest.raises((TypeError, ValueError), match=r"pickle|function|lock") as caught:
            Dataset(range(9)).map(lambda x: lock and x, num_processes=1).list()
        del caught


def test_items_that_cannot_be_sent() -> None:
    """Items, and results, that cannot be pickled are errors; nothing hangs."""
    with leaving_nothing():
        for dataset in (
            Dataset([threading.Lock()]).map(str, num_processes=1),
            Dataset(range(3)).map(lambda x: threading.Lock(), num_processes=1),
        ):
            with pytest.raises((TypeError, ValueError, RuntimeError)) as caught:
                dataset.list()
            del caught


# states


@few
@given(seeded_chains, st.sampled_from(THREADS), st.integers(0, 8))
def test_states_with_threads(chain: Chain, place: str, count: int) -> None:
    """A pass with threads goes on from a state as the one in which it was taken, with threads or without."""
    dataset = chain.make().map(drawn, seed=7, **PLACES[place]).filter(some)
    one = iter(dataset)
    head = [as_lists(item) for item in islice(one, count)]
    state = json.loads(json.dumps(one.state_dict()))
    rest = listed(one)
    for again in (dataset, chain.make().map(drawn, seed=7).filter(some)):
        items = iter(again)
        if place == "background" and again is not dataset:
            continue  # which is another verb
        items.load_state_dict(state)
        assert listed(items) == rest
    assert head + rest == listed(chain.make().map(drawn, seed=7).filter(some))


def test_states_with_processes(where: Any) -> None:
    """The same with processes, at some places, without a seed."""
    dataset = Dataset(range(30)).shuffle().map(drawn, **where["processes"]).batch(4)
    one = iter(dataset)
    for place in range(4):
        state = json.loads(json.dumps(one.state_dict()))
        again = iter(Dataset(range(30)).shuffle().map(drawn, **where["threads"]).batch(4))
        again.load_state_dict(state)
        rest = listed(again)
        other = iter(dataset)
        other.load_state_dict(state)
        assert listed(other) == rest
        assert as_lists(next(one)) == rest[0]
        assert len(rest) == 8 - place


# errors and ends


@pytest.mark.parametrize("place", PLACES)
def test_an_error_comes_at_its_place(place: str) -> None:
    """All items before an error come first, wherever it is raised."""
    items = iter(Dataset(range(60)).map(fail_at_30, **PLACES[place]).map(square))
    with leaving_nothing():
        assert list(islice(items, 30)) == [x * x for x in range(30)]
        with pytest.raises(PlainError, match="thirty") as caught:
            next(items)
        notes = "\n".join(caught.value.__notes__)
        assert "map(fail_at_30)" in notes
        assert "item 30" in notes
        del caught


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("kind", "error"), [("odd", OddError), ("locked", LockedError), ("stop", RuntimeError)])
def test_errors_that_travel_badly(kind: str, error: type[Exception], place: str, where: Any) -> None:
    """Errors that cannot be pickled, or end iterators, arrive, and tell what they were."""

    def fail(x: int) -> int:
        return fail_with(kind) if x == 3 else x

    items = iter(Dataset(range(9)).map(fail, **where[place]))
    with leaving_nothing():
        assert list(islice(items, 3)) == [0, 1, 2]
        with pytest.raises(Exception, match=r".") as caught:
            next(items)
        assert isinstance(caught.value, error) or place == "processes"
        del caught


def test_a_process_that_dies() -> None:
    """A worker that dies at an item is an error of workers, not a hang."""
    with leaving_nothing():
        with pytest.raises(RuntimeError, match="worker") as caught:
            Dataset(range(60)).map(die_at_30, num_processes=2).list()
        del caught


@pytest.mark.parametrize("place", PLACES)
def test_early_exit_ends_workers(place: str) -> None:
    """Leaving a pass, by break, close, an error or dropping, ends its workers and closes the source."""
    source = Counted(10**6)
    dataset = Dataset(source).map(square, **PLACES[place]).filter(some).batch(2)
    with leaving_nothing():
        for _ in dataset:
            break
        items = iter(dataset)
        next(items)
        items.close()
        items = iter(dataset)
        next(items)
        del items
        with pytest.raises(ZeroDivisionError):
            dataset.foreach(lambda item: 1 / 0)
    assert eventually(lambda: source.begun == source.ended == 4)
    assert len(source.read) < 10**6


def test_endless_sources_are_read_a_little() -> None:
    """Workers do not run away on what never ends; taking some of it ends."""
    for place in ("threads", "background"):
        dataset = Dataset(range(5)).repeat().map(square, **PLACES[place])
        assert dataset.take(12).list() == [0, 1, 4, 9, 16, 0, 1, 4, 9, 16, 0, 1]


def test_passes_side_by_side() -> None:
    """Several passes over one dataset with workers do not disturb each other, in one thread or in many."""
    dataset = Dataset(range(60)).map(square, num_threads=2).shuffle(10, seed=1).cache()
    plain = Dataset(range(60)).map(square, num_threads=2).shuffle(seed=1)
    expected, ordered = dataset.list(), plain.list()
    assert [*zip(dataset, dataset, plain, strict=True)] == [*zip(expected, expected, ordered, strict=True)]
    found: list[Any] = []
    fresh = Dataset(range(60)).map(square, num_threads=2).shuffle(10, seed=1).cache()
    threads = [threading.Thread(target=lambda: found.append((fresh.list(), plain.list()))) for _ in range(3)]
    with leaving_nothing():
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert found == [(expected, ordered)] * 3


def test_datasets_within_workers() -> None:
    """A mapped function may itself go through a dataset with workers."""
    inner = Dataset(range(4)).map(square, num_threads=1)
    dataset = Dataset(range(5)).map(lambda x: sum(inner) + x, num_threads=2)
    with leaving_nothing():
        assert dataset.list() == [14, 15, 16, 17, 18]


def test_datasets_within_processes(where: Any) -> None:
    """A dataset with threads travels to worker processes, and runs there."""
    inner = Dataset(range(4)).map(square, num_threads=1)
    assert Dataset(range(3)).map(lambda x: sum(inner) + x, **where["processes"]).list() == [14, 15, 16]

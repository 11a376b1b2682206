"""Memory of batches is used again once nobody refers to it, and never before."""

from __future__ import annotations

import gc
import pickle
import queue
import sys
import threading
import tracemalloc
import weakref
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchup.data_source import ArrayDataSource, CompositeDataSource
from batchup.data_source.buffers import BufferRing

from . import users


def out_of_band(batch: np.ndarray[Any, Any]) -> Callable[[], Any]:
    """Pickle a batch without its memory, which stays where it is; return what unpickles it."""
    buffers: list[pickle.PickleBuffer] = []
    pickled = pickle.dumps(batch, protocol=5, buffer_callback=buffers.append)
    assert len(buffers) == 1
    return lambda: pickle.loads(pickled, buffers=buffers)


def reader(held: Any) -> Callable[[], Any]:
    """Return a function that refers to an object and reads it when called."""
    return lambda: np.asarray(held)


def over_interface(batch: np.ndarray[Any, Any]) -> Any:
    """Return an array that reaches the memory through an object with `__array_interface__`."""

    class Holder:
        def __init__(self, array: np.ndarray[Any, Any]) -> None:
            self.array = array
            self.__array_interface__ = array.__array_interface__

    return np.asarray(Holder(batch))


# what a consumer may keep of a batch: a way to keep it, and what that shows of an array
HOLDERS: dict[str, tuple[Callable[[Any], Callable[[], Any]], Callable[[Any], Any]]] = {
    "itself": (reader, lambda a: a),
    "a slice": (lambda b: reader(b[1:]), lambda a: a[1:]),
    "a row": (lambda b: reader(b[-1]), lambda a: a[-1]),
    "every other element": (lambda b: reader(b[:, ::2]), lambda a: a[:, ::2]),
    "reversed": (lambda b: reader(b[::-1]), lambda a: a[::-1]),
    "a transpose": (lambda b: reader(b.T), lambda a: a.T),
    "a reshape": (lambda b: reader(b.reshape(-1)), lambda a: a.reshape(-1)),
    "a view of views": (lambda b: reader(b.T[1:].T.reshape(len(b), -1)[:1]), lambda a: a[:1, 1:]),
    "another dtype": (lambda b: reader(b.view(np.uint8)), lambda a: a.view(np.uint8)),
    "a field": (lambda b: reader(b.view([("x", "f4"), ("y", "f4")])["y"]), lambda a: a.view("f4")[:, 1::2]),
    "broadcast": (lambda b: reader(np.broadcast_to(b, (2, *b.shape))), lambda a: np.stack([a, a])),
    "strides": (
        lambda b: reader(np.lib.stride_tricks.sliding_window_view(b, 2, axis=0)),
        lambda a: np.lib.stride_tricks.sliding_window_view(a, 2, axis=0),
    ),
    "a subclass": (lambda b: reader(b.view(np.recarray)), lambda a: a),
    "a flat iterator": (lambda b: (lambda flat: lambda: np.array(flat.copy()))(b.flat), lambda a: a.reshape(-1)),
    "a row iterator": (lambda b: (lambda rows: lambda: np.array(list(rows)))(iter(b)), lambda a: a),
    "a memoryview": (lambda b: reader(memoryview(b)), lambda a: a),
    "a memoryview of bytes": (lambda b: reader(memoryview(b).cast("B")), lambda a: a.reshape(-1).view(np.uint8)),
    "a slice of a memoryview": (lambda b: reader(memoryview(b)[1:]), lambda a: a[1:]),
    "an array over a memoryview": (lambda b: reader(np.asarray(memoryview(b))), lambda a: a),
    "an array from a buffer": (lambda b: reader(np.frombuffer(b)), lambda a: a.reshape(-1)),
    "an array over an interface": (lambda b: reader(over_interface(b)), lambda a: a),
    "dlpack": (lambda b: reader(np.from_dlpack(b)), lambda a: a),
    "out-of-band pickle": (out_of_band, lambda a: a),
}


def small() -> np.ndarray[Any, Any]:
    """Return rows of 64 bytes: many batches are read at once."""
    return np.arange(150 * 8.0).reshape(150, 8)


def large() -> np.ndarray[Any, Any]:
    """Return rows of 24 KB: batches of 5 are over 100 KB and read one by one."""
    return np.arange(45 * 3000.0).reshape(45, 3000)


SOURCES: dict[str, Callable[[], tuple[Any, np.ndarray[Any, Any]]]] = {
    "small": lambda: (small(), small()),
    "large": lambda: (large(), large()),
    "list": lambda: (list(small()), small()),
    "gather with out": lambda: (users.GathersInto(large()), large()),
    "reading one by one": lambda: (users.IntsOnly(small()), small()),
    "Fortran order": lambda: (np.asfortranarray(small()), small()),
}


def check(kept: list[tuple[str, Callable[[], Any], np.ndarray[Any, Any]]], data: np.ndarray[Any, Any]) -> None:
    """Compare what consumers kept with what it was."""
    for name, read, indices in kept:
        np.testing.assert_array_equal(read(), HOLDERS[name][1](data[indices]), err_msg=name)


@pytest.mark.parametrize("source", SOURCES)
@pytest.mark.parametrize("name", HOLDERS)
def test_what_is_kept_stays(source: str, name: str) -> None:
    """Keep every third batch in one way for two epochs; in the end all are untouched."""
    given_data, data = SOURCES[source]()
    ds = ArrayDataSource([given_data], include_indices=True)
    kept = []
    for epoch in range(2):
        for i, (indices, batch) in enumerate(ds.batch_iterator(5, shuffle=1, epoch=epoch)):
            if i % 3 == 0:
                kept.append((name, HOLDERS[name][0](batch), indices))
            del batch
    check(kept, data)


@given(
    st.sampled_from(["small", "large", "list"]),
    st.integers(2, 9),
    st.lists(st.sampled_from([None, None, *HOLDERS]), min_size=1, max_size=20),
    st.booleans(),
)
def test_what_is_kept_stays_whatever_it_is(source: str, size: int, ways: list[str | None], in_order: bool) -> None:
    """Keep any batches in any ways, let go of some on the way: what is still held is untouched."""
    given_data, data = SOURCES[source]()
    ds = ArrayDataSource([given_data], include_indices=True, repeats=2)
    kept: list[Any] = []
    for i, (indices, batch) in enumerate(ds.batch_iterator(size, None if in_order else 7)):
        way = ways[i % len(ways)]
        if way is not None and len(batch) > 1:
            kept.append((way, HOLDERS[way][0](batch), indices))
        if i % 5 == 4:
            del kept[::3]
        if i % 4 == 0:
            del batch  # else it is held until the next has been read
    check(kept, data)


def test_what_maps_and_composites_pass_on_stays() -> None:
    """The same behind maps that hand out views, and in composites."""
    one, other = ArrayDataSource([small()], include_indices=True), ArrayDataSource([large()], include_indices=True)
    ds = CompositeDataSource(
        [one.map(lambda i, x: (i, x[:, 2:4])), other.map(lambda i, x: (i, x.reshape(len(x), 2, -1)))]
    )
    kept = list(ds.batch_iterator(4, shuffle=3))[::2]
    list(ds.batch_iterator(4, shuffle=3, epoch=1))
    for i, x, j, y in kept:
        np.testing.assert_array_equal(x, small()[i][:, 2:4])
        np.testing.assert_array_equal(y, large()[j].reshape(len(j), 2, -1))


def test_a_batch_outlives_its_source() -> None:
    """A batch is whole when its iterator and its source are gone."""
    batches = ArrayDataSource([large()]).batch_iterator(5)
    ((batch,), _) = next(batches), batches.close()
    del batches
    gc.collect()
    np.testing.assert_array_equal(batch, large()[:5])


def owner(array: Any) -> Any:
    """Return the array that owns the memory of a batch."""
    while array.base is not None:
        array = array.base
    return array


def owners(ds: ArrayDataSource, size: int, epochs: int) -> list[Any]:
    """Return weak references to the memory of all batches of some epochs, none of which is held."""
    refs = []
    for epoch in range(epochs):
        refs += [weakref.ref(owner(batch[-1])) for batch in ds.batch_iterator(size, shuffle=1, epoch=epoch)]
    return refs


@pytest.mark.parametrize("source", ["small", "large", "list", "gather with out"])
def test_dropped_memory_is_used_again(source: str) -> None:
    """Over many epochs only a few pieces of memory are made: they outlive iterators and go round."""
    ds = ArrayDataSource([SOURCES[source]()[0]])
    for reader in ds._column_readers:
        reader._seconds = None  # else it might find fresh memory to be faster here
    refs = owners(ds, 5, epochs=8)
    assert len({id(ref) for ref in refs}) <= 6  # for one object there is one weak reference
    gc.collect()
    assert all(ref() is not None for ref in refs[-5:])


def test_held_memory_is_not_used_again() -> None:
    """Batches held at the same time never overlap."""
    for data in (small(), large()):
        batches = [batch for (batch,) in ArrayDataSource([data]).batch_iterator(5, shuffle=1)]
        spans = sorted((b.__array_interface__["data"][0], b.nbytes) for b in batches)
        assert all(at + size <= following for (at, size), (following, _) in pairwise(spans))


def peak(run: Callable[[], Any]) -> tuple[int, int]:
    """Return the bytes that a function takes at most, and those that remain taken."""
    gc.collect()
    tracemalloc.start()
    try:
        run()
        gc.collect()
        remaining, highest = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    return highest, remaining


@pytest.mark.parametrize(("data", "size"), [(small(), 5), (large(), 5), (large(), 40)])
def test_memory_of_an_epoch(data: np.ndarray[Any, Any], size: int) -> None:
    """Beyond the data, an epoch takes a permutation and a handful of batches, and leaves no more behind."""
    ds = ArrayDataSource([data, np.arange(len(data))], repeats=20)
    allowance = 6 * max(size * data[0].nbytes, 256 * 1024)

    def epochs() -> None:
        for _ in ds.batch_iterator(size, shuffle=1):
            pass

    assert max(peak(epochs)) < allowance


def test_memory_of_held_batches_is_given_back() -> None:
    """Whoever holds a whole epoch and lets go of it leaves a handful of batches behind."""
    data = large()
    ds = ArrayDataSource([data])

    def hold() -> None:
        assert len(list(ds.batch_iterator(5, shuffle=1))) == 9

    highest, remaining = peak(hold)
    assert highest >= data.nbytes
    assert remaining <= 5 * 5 * data[0].nbytes


def test_ring_is_bounded_in_buffers_and_bytes() -> None:
    """A ring keeps only so many buffers and bytes; what is too big for it is made anew each time."""
    ring = BufferRing((100,), np.dtype(np.uint8), kept_buffers=3, kept_bytes=1000)

    def remaining(samples: list[int]) -> int:
        refs = [weakref.ref(owner(array)) for array in [ring.empty(n) for n in samples]]
        gc.collect()
        return sum(ref().nbytes for ref in {id(r): r for r in refs}.values() if ref() is not None)  # type: ignore[union-attr]

    assert remaining([1] * 10) == 300
    assert remaining([5, 5, 5, 5]) == 1000
    assert remaining([6]) == 0
    assert remaining([2, 3, 4, 5, 1]) <= 1000


def test_ring_reuses_only_what_nobody_refers_to() -> None:
    """A buffer comes back when the last reference to it is gone, not before."""
    ring = BufferRing((4,), np.dtype(float))
    batch = ring.empty(10)
    where = weakref.ref(owner(batch))
    row = memoryview(batch[3])
    del batch
    assert owner(ring.empty(10)) is not where()
    del row
    again = {id(owner(array)) for array in [ring.empty(10), ring.empty(10)]}
    assert id(where()) in again


@pytest.mark.parametrize("dtype", ["O", [("a", "f8"), ("b", "O")], "V0"])
def test_ring_leaves_objects_alone(dtype: Any) -> None:
    """Objects, which need their references counted, and samples without bytes get memory of their own."""
    ring = BufferRing((3,), np.dtype(dtype))
    arrays = [ring.empty(5) for _ in range(3)]
    assert all(array.shape == (5, 3) and array.dtype == np.dtype(dtype) for array in arrays)
    assert all(array.base is None for array in arrays)


def test_objects_are_released() -> None:
    """A source over objects keeps none alive but those in its data."""

    class Thing:
        pass

    data = np.array([Thing() for _ in range(20)], dtype=object)
    refs = [weakref.ref(thing) for thing in data]
    ds = ArrayDataSource([data])
    for _ in ds.batch_iterator(4, shuffle=1):
        pass
    del _
    data[:] = None
    gc.collect()
    assert all(ref() is None for ref in refs)


@pytest.fixture
def eager_threads() -> Iterator[None]:
    """Let Python switch threads as often as it can."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-7)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.parametrize("data", [small(), large()], ids=["small", "large"])
def test_threads_share_a_source(data: np.ndarray[Any, Any], eager_threads: None) -> None:
    """Threads that iterate one source at the same time, holding some batches, all get the right data."""
    ds = ArrayDataSource([data], include_indices=True)
    start, errors = threading.Barrier(4), []

    def work(seed: int) -> None:
        start.wait()
        kept = []
        for epoch in range(6):
            for i, (indices, batch) in enumerate(ds.batch_iterator(5, shuffle=seed, epoch=epoch)):
                if i % 4 == 0:
                    kept.append((indices, batch))
                if not np.array_equal(batch, data[indices]):
                    errors.append(f"wrong batch, epoch {epoch}")
        errors.extend(
            "changed while it was held" for indices, batch in kept if not np.array_equal(batch, data[indices])
        )

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


def test_a_ring_shared_by_threads(eager_threads: None) -> None:
    """Threads that take buffers from one ring at the same time are never given the same one."""
    ring = BufferRing((4,), np.dtype(np.int64))
    start, errors = threading.Barrier(4), []

    def work(mine: int) -> None:
        start.wait()
        for _ in range(4000):
            buffer = ring.empty(3)
            buffer[...] = mine
            if (buffer != mine).any():
                errors.append(mine)

    threads = [threading.Thread(target=work, args=(mine,)) for mine in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []


@pytest.mark.parametrize("data", [small(), large()], ids=["small", "large"])
def test_batches_handed_to_another_thread(data: np.ndarray[Any, Any]) -> None:
    """Batches that wait in a queue, and are let go of by another thread, are untouched when it reads them."""
    ds = ArrayDataSource([data], include_indices=True, repeats=5)
    waiting: queue.Queue[Any] = queue.Queue(maxsize=7)
    errors: list[str] = []

    def consume() -> None:
        while (item := waiting.get()) is not None:
            if not np.array_equal(item[1], data[item[0]]):
                errors.append("changed while it waited")

    consumer = threading.Thread(target=consume)
    consumer.start()
    for batch in ds.batch_iterator(5, shuffle=2):
        waiting.put(batch)
    waiting.put(None)
    consumer.join()
    assert errors == []


def test_samples_by_index_are_kept_too() -> None:
    """Batches read by index follow the same rules, beside an iterator of the same source."""
    ds = ArrayDataSource([large()])
    kept = [(ds.samples_by_indices([i, i + 1])[0], i) for i in range(10)]
    for _ in islice(ds.batch_iterator(2, shuffle=1), 10):
        pass
    for batch, i in kept:
        np.testing.assert_array_equal(batch, large()[i : i + 2])

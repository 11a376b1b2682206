"""The data are told what will soon be read: the right samples, in order, ahead of need, drawing from no generator."""

from __future__ import annotations

import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchup import hypersequence as hs
from batchup import work_pool
from batchup.columns import readahead
from batchup.columns.readahead import ranges
from batchup.data_source import (
    AbstractDataSource,
    ArrayDataSource,
    ChoiceDataSource,
    CompositeDataSource,
    MixDataSource,
)
from batchup.sampling import BlockShuffleSampler, WeightedSampler

from .helpers import as_lists, fingerprint
from .hsq import Arrays, numbered, write
from .pools import eventually

MOST = 40  # batches that are looked at, of endless orders


class Told:
    """An array-like that is told what will be read, and checks that it is: what was told comes, each once, in order."""

    def __init__(self, array: np.ndarray[Any, Any], answer: Any = True) -> None:
        self.array, self.answer = array, answer
        self.dtype, self.shape = array.dtype, array.shape
        self.told: list[int] = []
        self.read: list[int] = []
        self.ahead: list[int] = []  # how many samples had been told of, and not read, after each read
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.array)

    def __getitem__(self, index: Any) -> Any:
        raise AssertionError("gather takes precedence")

    def expect(self, indices: Any) -> Any:
        assert isinstance(indices, np.ndarray)
        assert indices.dtype == np.intp
        with self._lock:
            self.told += indices.tolist()
        indices[...] = -1  # it is the holder's
        return self.answer

    def gather(self, indices: Any, out: Any = None) -> Any:
        with self._lock:
            self.read += indices.tolist()
            self.ahead.append(len(self.told) - len(self.read))
        batch = self.array[indices]
        if out is None:
            return batch
        out[...] = batch
        return out


class Plain(Told):
    """The same, which is told nothing."""

    expect = None  # type: ignore[assignment]


ANSWERS = {"fetches": True, "has it": False, "does not say": None, "says 1": 1}
Make = Callable[[Callable[..., Any]], AbstractDataSource]
TREES: dict[str, Make] = {
    "array": lambda col: ArrayDataSource([col(500)]),
    "two columns": lambda col: ArrayDataSource([col(500), col(500)]),
    "beside an array": lambda col: ArrayDataSource([np.arange(500), col(500)]),
    "subset, twice": lambda col: ArrayDataSource([col(90)], indices=np.arange(0, 90, 2), repeats=5),
    "for ever": lambda col: ArrayDataSource([col(30)], repeats=-1),
    "blocks": lambda col: ArrayDataSource([col(500)], sampler=BlockShuffleSampler(500, 30, window=0)),
    "blocks, windows": lambda col: ArrayDataSource([col(500)], sampler=BlockShuffleSampler(500, 9, window=3)),
    "weighted": lambda col: ArrayDataSource([col(50)], sampler=WeightedSampler(np.arange(50.0))),
    "composite": lambda col: CompositeDataSource([ArrayDataSource([col(300)]), ArrayDataSource([col(200)])]),
    "composite, not cut": lambda col: CompositeDataSource(
        [ArrayDataSource([col(300)]), ArrayDataSource([col(100)], repeats=-1)], trim=False
    ),
    "choice": lambda col: ChoiceDataSource([ArrayDataSource([col(300)]), ArrayDataSource([col(200)])]),
    "choice, stratified": lambda col: ChoiceDataSource(
        [ArrayDataSource([col(300)]), ArrayDataSource([col(100)])], stratified=True
    ),
    "mix": lambda col: MixDataSource([ArrayDataSource([col(300)]), ArrayDataSource([col(200)])], [2, 1]),
    "map": lambda col: ArrayDataSource([col(500)]).map(lambda x: (x * 2,)),
    "map of a composite": lambda col: CompositeDataSource(
        [ArrayDataSource([col(300)]), ArrayDataSource([col(200)]).map(lambda x: (x + 1,))]
    ).map(lambda x, y: (y, x)),
}
every_tree = pytest.mark.parametrize("tree", TREES)
SHUFFLES: dict[str, Callable[[], Any]] = {
    "in order": lambda: None,
    "seed": lambda: 11,
    "RandomState": lambda: np.random.RandomState(11),
    "Generator": lambda: np.random.default_rng(11),
}


def made(tree: str, kind: Callable[..., Told], *answer: Any) -> tuple[AbstractDataSource, list[Told]]:
    """Return a source, and the columns in it."""
    columns: list[Told] = []

    def column(length: int) -> Told:
        columns.append(kind(np.arange(length * 2).reshape(length, 2), *answer))
        return columns[-1]

    return TREES[tree](column), columns


def subsequent(told: list[int], read: list[int], ended: bool) -> None:
    """Check that what was read had been told before, in that order, and nothing was told twice or made up."""
    assert told[: len(read)] == read
    if ended:
        assert len(told) == len(read)


@every_tree
@pytest.mark.parametrize("answer", ANSWERS)
@pytest.mark.parametrize("shuffle", SHUFFLES)
@pytest.mark.parametrize("size", [3, 16, 64])
def test_told_what_is_read(tree: str, answer: str, shuffle: str, size: int) -> None:
    """Every sample is told before it is read, once, in that order; batches and generators are as without."""
    if tree == "weighted" and shuffle == "in order":
        return
    ours, told = made(tree, Told, ANSWERS[answer])
    plain, _ = made(tree, Plain)
    rngs = [SHUFFLES[shuffle]() for _ in range(2)]
    batches, expected = (ds.batch_iterator(size, shuffle=rng) for ds, rng in zip((ours, plain), rngs, strict=True))
    for count, (got, want) in enumerate(zip(batches, islice(expected, MOST), strict=False)):
        assert as_lists(got) == as_lists(want)
        if shuffle in ("RandomState", "Generator"):
            assert fingerprint(rngs[0]) == fingerprint(rngs[1]), f"batch {count}"
    ended = next(batches, None) is None and next(expected, None) is None
    for column in told:
        assert column.read
        if "composite" not in tree:
            subsequent(column.told, column.read, ended)
        else:  # a longer member is asked for whole batches, which are then cut
            subsequent(column.told, column.read, ended=False)


@pytest.mark.parametrize("tree", ["array", "subset, twice", "blocks", "map", "composite", "mix"])
@pytest.mark.parametrize("shuffle", ["in order", "seed"])
@pytest.mark.parametrize("answer", ["fetches", "does not say", "says 1"])
def test_told_ahead_of_need(tree: str, shuffle: str, answer: str) -> None:
    """Who has to fetch is told ahead, where the order is known: from the first batch on, over the ends of chunks."""
    ds, columns = made(tree, Told, ANSWERS[answer])
    batches = ds.batch_iterator(4, shuffle=SHUFFLES[shuffle]())
    for _ in range(20):
        next(batches)
    for column in columns:
        assert min(column.ahead) >= 4
        assert column.told[: len(column.read)] == column.read


@pytest.mark.parametrize("shuffle", ["RandomState", "Generator"])
def test_nothing_is_drawn_for_it(shuffle: str) -> None:
    """Of a generator's order nothing is told that was not drawn; across repetitions the state is as without."""
    ds, (column,) = made("subset, twice", Told, True)
    rng, before = SHUFFLES[shuffle](), SHUFFLES[shuffle]()
    batches = ds.batch_iterator(4, shuffle=rng)
    assert fingerprint(rng) == fingerprint(before)
    assert column.told == []
    next(batches)
    assert len(column.told) <= 45  # one repetition has been drawn


@pytest.mark.parametrize("shuffle", ["in order", "seed"])
def test_who_has_it_is_told_little(shuffle: str) -> None:
    """Where nothing has to be fetched, nothing is told ahead after a while; when that changes, it is again."""
    column = Told(np.arange(100_000), False)
    batches = ArrayDataSource([column]).batch_iterator(16, shuffle=SHUFFLES[shuffle]())
    for _ in range(1000):
        next(batches)
    assert len(column.told) == len(column.read)
    column.answer = True
    for _ in range(1000):
        next(batches)
    assert len(column.told) >= len(column.read) + 4 * 16
    assert column.told[: len(column.read)] == column.read


@pytest.mark.parametrize("shuffle", SHUFFLES)
def test_resumed(shuffle: str) -> None:
    """A pass that goes on from a state tells what is read from there on."""
    ds, (column,) = made("array", Told, True)
    batches = ds.batch_iterator(7, shuffle=SHUFFLES[shuffle]())
    for _ in range(20):
        next(batches)
    state = batches.state_dict()
    expected = [as_lists(batch) for batch in batches]
    ds, (column,) = made("array", Told, True)
    again = ds.batch_iterator(7, shuffle=SHUFFLES[shuffle]())
    again.load_state_dict(state)
    assert [as_lists(batch) for batch in again] == expected
    assert column.told == column.read
    assert len(column.read) == 500 - 140


@pytest.mark.parametrize("tail", ["short", "drop", "wrap", "pad"])
@pytest.mark.parametrize("shard", [None, (0, 3), (2, 3)])
@pytest.mark.parametrize("shuffle", ["in order", "seed", "RandomState"])
def test_tails_and_shares(tail: str, shard: Any, shuffle: str) -> None:
    """Tails and the shares of ranks are told as they are read."""
    if shuffle == "RandomState" and shard is not None:
        return
    ds, (column,) = made("array", Told, True)
    plain, _ = made("array", Plain)
    options = {"tail": tail, "shard": shard}
    got = [as_lists(b) for b in ds.batch_iterator(16, shuffle=SHUFFLES[shuffle](), **options)]
    assert got == [as_lists(b) for b in plain.batch_iterator(16, shuffle=SHUFFLES[shuffle](), **options)]
    assert column.told[: len(column.read)] == column.read


def test_closed_early() -> None:
    """A pass that is given up tells nothing more."""
    ds, (column,) = made("array", Told, True)
    batches = ds.batch_iterator(4, shuffle=1)
    next(batches)
    batches.close()
    told = len(column.told)
    assert next(batches, None) is None
    assert len(column.told) == told < 500


@every_tree
@pytest.mark.parametrize("shuffle", SHUFFLES)
def test_threads_are_told_too(tree: str, shuffle: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A pool of threads tells each sample once, before it is read; batches are as without."""
    if tree == "weighted" and shuffle == "in order":
        return
    monkeypatch.setattr("batchup.work_pool.threads.WORTH", 0.0)
    ours, told = made(tree, Told, True)
    plain, _ = made(tree, Plain)
    with work_pool.WorkerThreadPool(2) as pool:
        batches = pool.parallel_data_source(ours).batch_iterator(16, shuffle=SHUFFLES[shuffle]())
        got = [as_lists(batch) for batch in islice(batches, MOST)]
        batches.close()
    assert got == [as_lists(b) for b in islice(plain.batch_iterator(16, shuffle=SHUFFLES[shuffle]()), MOST)]
    for column in told:
        assert not Counter(column.read) - Counter(column.told)


class Failing(Told):
    """Cannot take a hint."""

    def expect(self, indices: Any) -> Any:
        raise OSError("no such shelf")


def test_an_expect_that_fails() -> None:
    """An error of `expect` is told as a warning, and all batches come: a hint is no reason to stop."""
    with pytest.warns(RuntimeWarning, match="no such shelf"):
        batches = list(ArrayDataSource([Failing(np.arange(50))]).batch_iterator(4))
    assert [i for (batch,) in batches for i in batch.tolist()] == list(range(50))


# the kernel


@given(
    starts=st.lists(st.integers(0, 60_000), min_size=1, max_size=60),
    size=st.integers(1, 9000),
    wide=st.booleans(),
)
def test_law_of_ranges(starts: list[int], size: int, wide: bool) -> None:
    """The ranges hold every place, in order, apart; they hold nothing that is far from a place."""
    starts = [start * 1000 for start in starts] if wide else starts
    found = ranges(np.array(starts, np.int64), size)
    for start in starts:
        assert sum(begin <= start and start + size <= begin + length for begin, length in found) == 1
    ends = [begin + length for begin, length in found]
    assert all(a < begin for a, (begin, _) in zip(ends, found[1:], strict=False))
    assert all(begin - end > readahead.GAP for end, (begin, _) in zip(ends, found[1:], strict=False))
    assert {begin for begin, _ in found} <= set(starts)
    assert {end - size for end in ends} <= set(starts)
    covered = sorted(starts)
    for begin, length in found:
        inside = [s for s in covered if begin <= s < begin + length]
        assert all(b - a - size <= readahead.GAP for a, b in pairwise(inside))


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux tells what is in memory")


@pytest.fixture(name="asked")
def what_is_asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[tuple[int, int]]]:
    """Yield the ranges that the kernel is asked for; the thread that asks soon ends."""
    asked: list[tuple[int, int]] = []

    def advised(descriptor: int, start: int, length: int, advice: int) -> None:
        if advice == os.POSIX_FADV_WILLNEED:
            asked.append((start, length))

    eventually(lambda: not helpers())
    monkeypatch.setattr(readahead, "IDLE", 0.02)
    monkeypatch.setattr(os, "posix_fadvise", advised)
    yield asked
    assert eventually(lambda: not helpers())


def helpers() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "batchup readahead"]


def cold(path: Path) -> bool:
    """Evict a file from memory; return whether that worked."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
        size, byte = path.stat().st_size, bytearray(1)
        try:
            for place in range(0, size, 2**20):
                os.preadv(file.fileno(), [byte], place, os.RWF_NOWAIT)
        except BlockingIOError:
            return True
        except OSError:  # this file system cannot tell
            return False
    return False


@pytest.fixture(name="large")
def large_file(tmp_path: Path) -> Path:
    """Return a file of 24 MB: 24 records of a megabyte, rows of 8 KB and of 8 bytes."""
    rows = 24 * 128
    return write(tmp_path / "large.hsq", Arrays((np.ones((rows, 8192), np.uint8),), (np.arange(rows),)), 128)


EVICT = getattr(os, "posix_fadvise", None)


def holds_all(asked: list[tuple[int, int]], places: list[tuple[int, int]]) -> None:
    """Check that every place was asked for, in one piece or several."""
    joined: list[list[int]] = []
    for begin, length in sorted(asked):
        if joined and begin <= joined[-1][1]:
            joined[-1][1] = max(joined[-1][1], begin + length)
        else:
            joined.append([begin, begin + length])
    for start, size in places:
        assert any(begin <= start and start + size <= end for begin, end in joined), (start, size)


@linux
@pytest.mark.parametrize("use_mmap", [True, False])
@pytest.mark.parametrize("kind", ["by sample", "by batch", "in order", "a generator"])
def test_a_cold_file_is_asked_for(
    kind: str, use_mmap: bool, large: Path, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[int, int]]
) -> None:
    """What will be read from a file that is not in memory is asked for ahead: those places, before they are read."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fadvise", EVICT)
        assert cold(large), "the file cannot be evicted here, or the file system does not tell"
    monkeypatch.setattr(readahead.Readahead, "_in_memory", lambda *_: False)  # it warms up as it is read
    record, shuffle = 128 * 8200, {"by sample": 3, "in order": None, "by batch": 3}.get(kind, np.random.RandomState(3))
    with hs.HyperSequenceFile(large, use_mmap) as hsq:
        batches = hsq.data_source(by="batch" if kind == "by batch" else "sample").batch_iterator(32, shuffle)
        rows: list[int] = []
        for _, index in islice(batches, 12):
            rows += index.tolist()
        want = [(row // 128 * record + row % 128 * 8192, 8192) for row in rows]
        want += [(row // 128 * record + 128 * 8192 + row % 128 * 8, 8) for row in rows]
        assert eventually(lambda: sum(length for _, length in asked) >= 12 * 32 * 8200)
        eventually(lambda: not helpers())
        holds_all(asked, want)
        batches.close()
    inside = large.stat().st_size
    assert all(start >= 0 and length > 0 and start + length <= inside for start, length in asked)
    if kind in ("in order", "by batch"):
        assert sum(length for _, length in asked) < 4 * inside


@linux
def test_looked_at_without_help(large: Path, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[int, int]]) -> None:
    """Whether a file is in memory is seen by looking: one that was evicted is asked for, one that was read is not."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fadvise", EVICT)
        assert cold(large), "the file cannot be evicted here, or the file system does not tell"
    with hs.HyperSequenceFile(large) as hsq:
        assert hsq.columns["i0"].expect(np.array([3000, 5, 1000]))
        assert eventually(lambda: len(asked) == 3)
        assert sorted(asked) == [(r // 128 * 128 * 8200 + r % 128 * 8192, 8192) for r in (5, 1000, 3000)]
    large.read_bytes()
    del asked[:]
    with hs.HyperSequenceFile(large) as hsq:
        assert not hsq.columns["i0"].expect(np.array([3000, 5, 1000]))
        for shuffle in (None, 3):
            for by in ("sample", "batch"):
                list(islice(hsq.data_source(by).batch_iterator(32, shuffle), 60))
        list(hsq)
    assert eventually(lambda: not helpers())
    assert asked == []


@linux
@pytest.mark.parametrize("use_mmap", [True, False])
def test_memory_maps_are_asked_for(
    use_mmap: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[int, int]]
) -> None:
    """The rows of a memory-mapped array are asked for too, at their places in its file."""
    np.save(tmp_path / "m.npy", np.ones((2000, 8192), np.uint8))
    with monkeypatch.context() as patch:
        patch.setattr(os, "posix_fadvise", EVICT)
        assert cold(tmp_path / "m.npy"), "the file cannot be evicted here, or the file system does not tell"
    ds = ArrayDataSource([np.load(tmp_path / "m.npy", mmap_mode="r"), np.arange(2000)])
    monkeypatch.setattr(readahead.Readahead, "_in_memory", lambda *_: False)
    rows = [row for _, index in islice(ds.batch_iterator(16, 3), 6) for row in index.tolist()]
    assert eventually(lambda: sum(length for _, length in asked) >= 6 * 16 * 8192)
    eventually(lambda: not helpers())
    holds_all(asked, [(128 + row * 8192, 8192) for row in rows])


@linux
def test_loops_over_batches_ask_ahead(
    large: Path, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[int, int]]
) -> None:
    """The plain loop over batches asks ahead too, in whatever order they are, of parts and rebatched ones as well."""
    monkeypatch.setattr(readahead.Readahead, "_in_memory", lambda *_: False)
    record = 128 * 8200
    with hs.HyperSequenceFile(large) as hsq:
        hsq.shuffle(3)
        for sequence in (hsq, hsq.split(0.5)[0], hsq.rebatch(32)):
            del asked[:]
            numbers = list(dict.fromkeys(int(y[0]) // 128 for _, y in islice(sequence, 8)))
            assert eventually(lambda: len(asked) > 0), "nothing was asked for"
            eventually(lambda: not helpers())
            holds_all(asked, [(number * record, record) for number in numbers[1:]])


def test_the_thread_ends(large: Path, monkeypatch: pytest.MonkeyPatch, asked: list[tuple[int, int]]) -> None:
    """The thread that asks ends by itself when there is nothing to ask, begins again, and minds no closed file."""
    monkeypatch.setattr(readahead.Readahead, "_in_memory", lambda *_: False)
    for _ in range(3):
        hsq = hs.HyperSequenceFile(large)
        hsq.columns["i0"].expect(np.arange(3))
        assert len(helpers()) <= 1
        hsq.close()
        assert eventually(lambda: not helpers())
    with hs.HyperSequenceFile(large) as hsq:
        for round_ in range(100):  # often at the moment when it ends: then the next one asks for both
            del asked[:]
            hsq.columns["i0"].expect(np.arange(3))
            if readahead._AVAILABLE and not eventually(lambda: asked, 0.2):
                hsq.columns["i0"].expect(np.arange(5, 7))
                assert eventually(lambda: len(asked) >= 2), f"round {round_}"
            time.sleep(0.0195)


def test_a_closed_file_expects_nothing(tmp_path: Path) -> None:
    """Hints about a file that is closed are no error."""
    hsq = hs.HyperSequenceFile(write(tmp_path / "a.hsq", numbered(30), 4))
    column = hsq.columns["o0"]
    hsq.close()
    assert column.expect(np.arange(5)) in (True, False)
    assert column.expect(slice(0, 5)) in (True, False)
    assert column.expect(slice(3, 3)) in (True, False)

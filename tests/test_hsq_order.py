"""Orders by batch: blocks stay whole and in order, and are shuffled; views shuffle by themselves; both come again."""

from __future__ import annotations

from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchup import hypersequence as hs
from batchup.data_source import ArrayDataSource
from batchup.sampling import BlockShuffleSampler

from .helpers import fingerprint, joined
from .hsq import numbered, write


def order_of(sampler: BlockShuffleSampler, shuffle: Any, size: int = 7) -> list[int]:
    return joined(sampler.shuffled_indices_batch_iterator(size, shuffle))


def blocks_of(order: list[int], size: int, length: int) -> list[int]:
    """Return the numbers of the blocks, in their order; an error unless each is whole, and in order."""
    found, at = [], 0
    while at < len(order):
        block = order[at] // size
        expected = list(range(block * size, min(length, (block + 1) * size)))
        assert order[at : at + len(expected)] == expected
        found.append(block)
        at += len(expected)
    return found


@given(
    length=st.integers(0, 80),
    size=st.integers(1, 12),
    batch=st.integers(1, 30),
    seed=st.integers(0, 9),
    generator=st.booleans(),
)
def test_blocks_stay_whole(length: int, size: int, batch: int, seed: int, generator: bool) -> None:
    """window=0: every block comes once, whole and in order, the short one too, however batches cut them."""
    sampler = BlockShuffleSampler(length, size, window=0)
    shuffle: Any = np.random.RandomState(seed) if generator else seed
    order = order_of(sampler, shuffle, batch)
    assert sorted(blocks_of(order, size, length)) == list(range(-(-length // size)))
    again: Any = np.random.RandomState(seed) if generator else seed
    assert order_of(sampler, again, 5) == order
    assert joined(sampler.in_order_indices_batch_iterator(batch)) == list(range(length))


def test_blocks_are_shuffled() -> None:
    """All orders of few blocks come about equally often, and the short one anywhere."""
    counts = dict.fromkeys(permutations(range(4)), 0)
    for seed in range(2400):
        counts[tuple(blocks_of(order_of(BlockShuffleSampler(14, 4, window=0), seed), 4, 14))] += 1
    assert min(counts.values()) > 50
    assert max(counts.values()) < 160


def test_epochs_and_repeats() -> None:
    """Epochs and repetitions have orders of their own."""
    ds = ArrayDataSource([np.arange(60)], sampler=BlockShuffleSampler(60, 5, window=0, repeats=3))
    orders = []
    for epoch in range(3):
        order = joined(batch for (batch,) in ds.batch_iterator(8, 4, epoch=epoch))
        orders += [blocks_of(order[i : i + 60], 5, 60) for i in range(0, 180, 60)]
    assert all(sorted(blocks) == list(range(12)) for blocks in orders)
    assert len({tuple(blocks) for blocks in orders}) == 9


def test_a_window_of_one_shuffles_within() -> None:
    """window=0 is not window=1, which shuffles the samples of each block; negative windows are refused."""
    order = order_of(BlockShuffleSampler(40, 8, window=1), 3)
    assert [sorted(order[i : i + 8]) for i in range(0, 40, 8)] != [order[i : i + 8] for i in range(0, 40, 8)]
    assert repr(BlockShuffleSampler(40, 8, window=0)) == "BlockShuffleSampler(length=40, block_size=8, window=0)"
    with pytest.raises(ValueError, match="window"):
        BlockShuffleSampler(40, 8, window=-1)


@pytest.mark.parametrize("rows", [40, 37, 3])
@pytest.mark.parametrize("size", [1, 8, 5, 16, 100])
@pytest.mark.parametrize("shuffle", [None, 3, "generator"])
def test_by_batch(rows: int, size: int, shuffle: Any, tmp_path: Path) -> None:
    """data_source(by='batch') shuffles native batches, whose rows stay together; batches of any size."""
    with hs.HyperSequenceFile(write(tmp_path / "a.hsq", numbered(rows), 8)) as hsq:
        rngs = [np.random.RandomState(3) if shuffle == "generator" else shuffle for _ in range(2)]
        ds = hsq.data_source(by="batch")
        batches = list(ds.batch_iterator(size, rngs[0]))
        order = joined(y for _, y in batches)
        blocks = blocks_of(order, 8, rows)
        assert sorted(blocks) == list(range(-(-rows // 8)))
        assert (blocks == sorted(blocks)) == (shuffle is None or rows < 8)
        assert all((x == np.stack([y * 2, y * 3], 1)).all() for x, y in batches)
        assert joined(y for _, y in hsq.data_source(by="batch").batch_iterator(size, rngs[1])) == order
        assert ds.num_samples() == rows


def test_by_sample_is_any_array_source(tmp_path: Path) -> None:
    """data_source() gives the orders of a source over arrays: by seed, epoch, generator, with a subset, repeated."""
    arrays = numbered(43)
    with hs.HyperSequenceFile(write(tmp_path / "a.hsq", arrays, 8)) as hsq:
        for options in ({}, {"repeats": 2}, {"indices": [5, -1, 40, 7, 7]}, {"include_indices": True}):
            ours, plain = hsq.data_source(**options), ArrayDataSource(list(arrays.all), **options)
            for shuffle in (None, 5, np.random.RandomState):
                pair = [shuffle(2) if callable(shuffle) else shuffle for _ in range(2)]
                for a, b in zip(ours.batch_iterator(6, pair[0]), plain.batch_iterator(6, pair[1]), strict=True):
                    assert [x.tolist() for x in a] == [x.tolist() for x in b]
                if callable(shuffle):
                    assert fingerprint(pair[0]) == fingerprint(pair[1])
        named = hsq.data_source(as_dict=True, include_indices=True).batch_iterator(6, 1)
        assert list(next(named)) == ["index", "i0", "o0"]
        assert hsq.data_source("batch", repeats=2).num_samples() == 86


def test_resumed_in_mid_epoch(tmp_path: Path) -> None:
    """A pass by sample, or by batch, goes on from its state, also over the file opened anew."""
    path = write(tmp_path / "a.hsq", numbered(61), 8)
    with hs.HyperSequenceFile(path) as hsq, hs.HyperSequenceFile(path, use_mmap=False) as other:
        for by in ("sample", "batch"):
            for make in (lambda: 9, lambda: np.random.RandomState(9), lambda: None):
                whole = [y.tolist() for _, y in hsq.data_source(by).batch_iterator(5, make())]
                for at in (0, 1, 6, len(whole) - 1, len(whole)):
                    batches = hsq.data_source(by).batch_iterator(5, make())
                    for _ in range(at):
                        next(batches)
                    again = other.data_source(by).batch_iterator(5, make())
                    again.load_state_dict(batches.state_dict())
                    assert [y.tolist() for _, y in again] == whole[at:]


def test_shuffling_a_sequence(tmp_path: Path) -> None:
    """`shuffle` takes a seed, a generator of either kind, or fresh entropy, and acts on one sequence alone."""
    with hs.HyperSequenceFile(write(tmp_path / "a.hsq", numbered(62), 2)) as hsq:
        plain = [y.tolist() for _, y in hsq]
        views = [hs.HyperSequenceView(hsq) for _ in range(6)]
        for view, rng in zip(
            views, (1, 1, np.random.default_rng(1), np.random.RandomState(1), None, None), strict=True
        ):
            view.shuffle(rng)
        orders = [[y.tolist() for _, y in view] for view in views]
        assert orders[0] == orders[1] == orders[2]
        assert len({repr(order) for order in orders}) == 4
        assert all(sorted(order) == plain for order in orders)
        assert plain not in orders
        assert [y.tolist() for _, y in hsq] == plain
        hsq.shuffle(5)
        assert [y.tolist() for _, y in hsq] != plain
        assert [[y.tolist() for _, y in view] for view in views] == orders
        view = views[0]
        view.shuffle(1)
        assert [y.tolist() for _, y in view] != orders[0]  # from where it was
        state = np.random.get_state()[1].copy()
        view.shuffle()
        assert (np.random.get_state()[1] == state).all()


def test_views_take_the_order_of_now(tmp_path: Path) -> None:
    """split, rebatch and views are of the order at that time; their rows are those of the parts."""
    with hs.HyperSequenceFile(write(tmp_path / "a.hsq", numbered(100), 10)) as hsq:
        hsq.shuffle(3)
        order = [int(y[0]) // 10 for _, y in hsq]
        train, rest = hsq.split(0.8)
        again = hsq.rebatch(25)
        hsq.shuffle(4)
        assert sorted(int(y[0]) // 10 for part in (train, rest) for _, y in part) == list(range(10))
        assert [int(y[0]) // 10 for _, y in rest] == [order[i] for i in (2, 7)]
        assert joined(y for _, y in again) == [block * 10 + i for block in order for i in range(10)]
        rows = joined(y for _, y in rest)
        assert sorted(joined(y for _, y in rest.data_source().batch_iterator(7, shuffle=1))) == sorted(rows)
        assert joined(y for _, y in rest.data_source().batch_iterator(7)) == rows
        assert joined(y for _, y in rest.rebatch(3).data_source().batch_iterator(7)) == rows

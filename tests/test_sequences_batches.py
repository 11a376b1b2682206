"""Sequences in batches: padded, in buckets and budgets, packed, from one reader or another, by any way of walking."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from batchup import ArrayDataSource, CompositeDataSource, MixDataSource, WorkerProcessPool, WorkerThreadPool, loader
from batchup.sampling import BucketSampler, StandardSampler
from batchup.sampling.buckets import least_padding
from batchup.sequences import (
    CoordinatedDataLoader,
    DataLoader,
    EosAppender,
    FileRecordReader,
    FileRecordWriter,
    InMemoryReader,
    Ragged,
    RecordReader,
    ShardedWriter,
    pack,
    unpad,
)

LENGTHS = [3, 0, 7, 1, 7, 2, 12, 5, 3, 3, 9, 1]


def numbered(lengths: list[int]) -> list[NDArray[np.int64]]:
    """Return sequences whose elements tell which sequence they belong to, and where in it: 100 i + place + 1."""
    return [100 * i + np.arange(1, n + 1) for i, n in enumerate(lengths)]


def memory(lengths: list[int] = LENGTHS) -> InMemoryReader:
    return InMemoryReader(numbered(lengths))


def shards(folder: Path) -> FileRecordReader:
    """Return a reader over files of five records each."""
    with ShardedWriter(FileRecordWriter, str(folder / "{}.records"), 5) as writer:
        assert writer.extend(numbered(LENGTHS[:3])) == range(3)
        assert writer.extend(Ragged.of(numbered(LENGTHS))[3:]) == range(3, 12)
        files = writer.output_files
    return FileRecordReader(files[::-1])


class OneByOne(RecordReader):
    """A reader of a user's, with no more than it must have; its indexes are any numbers."""

    def indexes(self) -> Iterator[int]:
        return iter(range(5, 5 + 2 * len(LENGTHS), 2))

    def length(self, index: int) -> int:
        return LENGTHS[(index - 5) // 2]

    def retrieve(self, index: int) -> NDArray[np.int64]:
        return numbered(LENGTHS)[(index - 5) // 2]


READERS: dict[str, Callable[[Path], RecordReader]] = {
    "in memory": lambda folder: memory(),
    "shards": shards,
    "one by one": lambda folder: OneByOne(),
}
every_reader = pytest.mark.parametrize("make", READERS.values(), ids=list(READERS))


def sequences_in(batches: Any) -> list[list[int]]:
    """Return the sequences of padded batches with lengths, in order."""
    return [row for rows, lengths in batches for row in unpad(rows, lengths).tolist()]


def plain(batches: Any) -> list[Any]:
    """Return batches as lists."""
    return [[part.tolist() for part in (batch.values() if isinstance(batch, dict) else batch)] for batch in batches]


@every_reader
@pytest.mark.parametrize("shuffle", [None, 7])
@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_every_record_once_and_no_batch_over_the_budget(
    tmp_path: Path, make: Any, shuffle: int | None, batch_size: int
) -> None:
    """An epoch has every record once, whole, in batches within the batch size and the budget."""
    batches = list(make(tmp_path).data_source(max_tokens=14).batch_iterator(batch_size, shuffle=shuffle))
    assert sorted(sequences_in(batches)) == sorted(part.tolist() for part in numbered(LENGTHS))
    for rows, lengths in batches:
        assert len(rows) == len(lengths) <= batch_size
        assert rows.shape[1] == lengths.max()
        assert rows.size <= 14
        assert not rows[np.arange(rows.shape[1]) >= lengths[:, None]].any()


@every_reader
def test_readers_agree(tmp_path: Path, make: Any) -> None:
    """Whatever the reader, the batches of an epoch are the same."""
    seeded = {"batch_size": 4, "shuffle": 3, "epoch": 2}
    expected = plain(memory().data_source(max_tokens=20).batch_iterator(**seeded))
    assert plain(make(tmp_path).data_source(max_tokens=20).batch_iterator(**seeded)) == expected


@every_reader
def test_any_way_of_walking(tmp_path: Path, make: Any) -> None:
    """Resumed, dealt out to ranks, made by workers or loaded epoch by epoch: the batches are those of the plan."""
    ds = make(tmp_path).data_source(max_tokens=20)
    expected = plain(ds.batch_iterator(4, shuffle=3))
    for stop in range(len(expected) + 1):
        batches = ds.batch_iterator(4, shuffle=3)
        list(itertools.islice(batches, stop))
        resumed = ds.batch_iterator(4, shuffle=3)
        resumed.load_state_dict(batches.state_dict())
        assert plain(resumed) == expected[stop:]
    ranks = [plain(ds.batch_iterator(4, shuffle=3, shard=(rank, 3))) for rank in range(3)]
    assert len({len(of_rank) for of_rank in ranks}) == 1
    dealt = [batch for step in zip(*ranks, strict=True) for batch in step]
    assert [batch for batch in dealt if batch[1]] == expected
    with WorkerThreadPool(2) as threads:
        assert plain(threads.parallel_data_source(ds).batch_iterator(4, shuffle=3)) == expected
    batches = loader(ds, 4, shuffle=3)
    assert plain(batches) == expected
    assert plain(batches) == plain(ds.batch_iterator(4, shuffle=3, epoch=1)) != expected


def test_in_processes(tmp_path: Path) -> None:
    """Workers that are processes read the files themselves."""
    with WorkerProcessPool(2) as pool:
        for reader in (shards(tmp_path), memory(), OneByOne()):
            for padded in (True, False):
                ds = reader.data_source(max_tokens=20, padded=padded)
                expected = plain(ds.batch_iterator(4, shuffle=3))
                assert plain(pool.parallel_data_source(ds).batch_iterator(4, shuffle=3)) == expected


def test_large_batches_in_threads() -> None:
    """Threads that share a large batch do not each pad their part of it to another width."""
    ragged = Ragged(np.arange(4_000_000), np.concatenate([np.arange(0, 4_000_000, 1000), [3_999_000, 4_000_000]]))
    ds = ArrayDataSource([ragged.padded(), np.arange(len(ragged))])
    with WorkerThreadPool(2) as pool:
        for (rows, _), (expected, _) in zip(
            pool.parallel_data_source(ds).batch_iterator(1500, shuffle=1),
            ds.batch_iterator(1500, shuffle=1),
            strict=True,
        ):
            np.testing.assert_array_equal(rows, expected)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("pad_to", [1, 4])
@pytest.mark.parametrize("beside", ["lengths", "mask", None])
def test_how_batches_are_laid_out(side: str, pad_to: int, beside: str | None) -> None:
    """Padding on either side, to a multiple, with a value, and with what is beside it."""
    ds = memory().data_source(value=-1, side=side, pad_to=pad_to, beside=beside, include_indices=True)
    for index, rows, *others in ds.batch_iterator(5, shuffle=1):
        lengths = np.array(LENGTHS)[index]
        assert rows.shape == (len(index), -(-lengths.max() // pad_to) * pad_to)
        real = rows != -1
        assert (real.sum(1) == lengths).all()
        assert unpad(rows, lengths, side).tolist() == [numbered(LENGTHS)[i].tolist() for i in index]
        assert len(others) == (beside is not None)
        if beside == "mask":
            np.testing.assert_array_equal(others[0], real)
        elif beside == "lengths":
            np.testing.assert_array_equal(others[0], lengths)


def test_fields_are_padded_together() -> None:
    """Batches of records with fields are dicts, each field padded with its own value."""
    records = [{"tokens": part, "tags": part % 3, "topic": [i]} for i, part in enumerate(numbered(LENGTHS))]
    reader = InMemoryReader(records, fields=["tokens", "tags", "topic"], sequence_field="tokens")
    values = {"tokens": 0, "tags": -100, "topic": 0}
    seen = []
    for batch in reader.data_source(max_tokens=20, value=values, side={**dict.fromkeys(values, "left")}).batch_iterator(
        4, shuffle=1
    ):
        assert list(batch) == ["tokens", "tags", "topic", "lengths"]
        for tokens, tags, topic, length in zip(*batch.values(), strict=True):
            real = tokens != 0
            assert real.sum() == length == LENGTHS[topic[0]]
            np.testing.assert_array_equal(tags, np.where(real, tokens % 3, -100))
            seen.append(int(topic[0]))
    assert sorted(seen) == [*range(len(LENGTHS))]
    ragged = next(reader.data_source(padded=False).batch_iterator(3))
    assert list(ragged) == ["tokens", "tags", "topic"]
    assert all(isinstance(part, Ragged) for part in ragged.values())


def test_other_samplers_and_parts() -> None:
    """Batches may also be drawn by another sampler, or from some records only."""
    reader = memory()
    in_order = reader.data_source(sampler=StandardSampler(len(LENGTHS)))
    assert sequences_in(in_order.batch_iterator(5)) == [part.tolist() for part in numbered(LENGTHS)]
    short = reader.data_source(max_tokens=8, max_length=7)
    assert sorted(map(len, sequences_in(short.batch_iterator(5, shuffle=1)))) == sorted(n for n in LENGTHS if n <= 7)
    both = reader.data_source(max_length=7, indices=[0, 6, -1])
    assert sequences_in(both.batch_iterator(5)) in ([[1, 2, 3], [1101]], [[1101], [1, 2, 3]])
    part = reader.data_source(max_tokens=30, indices=[2, 6, 3])
    assert sorted(sequences_in(part.batch_iterator(5, shuffle=1))) == [numbered(LENGTHS)[i].tolist() for i in (2, 3, 6)]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"max_tokens": 11}, "max_tokens=11 is less than the longest sequence: number 6 has 12"),
        ({"beside": "width"}, "beside must be"),
        ({"side": "top"}, "side must be"),
        ({"pad_to": 0}, "pad_to must be"),
        ({"to": 10}, "to=10 is less than the longest sequence: number 6 has 12"),
        ({"to": 13, "pad_to": 4}, "no multiple"),
        ({"value": "x"}, "cannot hold the value 'x'"),
        ({"value": 2**70}, "cannot hold"),
        ({"value": [1, 2]}, "cannot hold"),
        ({"value": {"tokens": 1}}, "expected one value"),
        ({"bucket_edges": [4, 4]}, "ascend"),
        ({"num_buckets": 0}, "num_buckets"),
        ({"indices": [99]}, "99"),
        ({"sampler": StandardSampler(12), "max_tokens": 20}, "a sampler decides"),
        ({"sampler": StandardSampler(12), "max_length": 20}, "a sampler decides"),
        ({"max_length": -1}, "max_length"),
    ],
)
def test_wrong_arguments(wrong: dict[str, Any], message: str) -> None:
    """What cannot be is an error at the call, which names it."""
    with pytest.raises((TypeError, ValueError), match=message):
        memory().data_source(**wrong)


def test_ragged_columns_in_trees() -> None:
    """Batches of sequences can be mapped, composed, mixed, padded at the tail, and joined."""
    ragged, numbers = Ragged.of(numbered(LENGTHS)), np.arange(len(LENGTHS))
    ds = ArrayDataSource([ragged, numbers])
    expected = [part.tolist() for part in numbered(LENGTHS)]

    def check(batches: Any) -> None:
        for sequences, index in batches:
            assert sequences.tolist() == [expected[i] for i in index]

    check(ds.map(lambda s, i: (s[::-1], i[::-1])).batch_iterator(5, shuffle=1))
    check(MixDataSource([ds, ds], [0.5, 0.5]).batch_iterator(4, shuffle=1))
    check((s, i) for s, i, _ in ds.batch_iterator(5, shuffle=1, tail="pad"))
    check(ds.batch_iterator(5, shuffle=1, tail="wrap"))
    for one, i, two, k in CompositeDataSource([ds, ds]).batch_iterator(5, shuffle=1):
        check([(one, i), (two, k)])
    joined, order = ds.batch_map_concat(lambda s, i: (s, i), 5, shuffle=1)
    check([(joined, order)])
    assert sorted(order) == [*numbers]
    doubled = ds.map(lambda s, i: (Ragged(s.values * 2, s.offsets), i)).batch_map_concat(lambda s, i: s, 5)
    assert doubled[0].tolist() == [(2 * part).tolist() for part in numbered(LENGTHS)]


class Faulty:
    """An array-like with bad samples, or one that fails the first time that it is read."""

    def __init__(self, bad: set[int], once: bool = False) -> None:
        self.bad, self.once = bad, once

    def __len__(self) -> int:
        return len(LENGTHS)

    def __getitem__(self, index: Any) -> Any:
        index = np.asarray(index)
        if self.bad & set(index.ravel().tolist()):
            if self.once:
                self.bad = set()
            raise OSError("cannot be read")
        return index


@pytest.mark.parametrize("laid_out", [Ragged.padded, lambda ragged: ragged], ids=["padded", "ragged"])
def test_bad_samples_beside_sequences(laid_out: Any) -> None:
    """Samples that another column cannot read are left out, and batches stay whole; also if it fails but once."""
    ragged = Ragged.of(numbered(LENGTHS))
    for faulty, missing in ((Faulty({2, 6}), {2, 6}), (Faulty({2}, once=True), set())):
        ds = ArrayDataSource([laid_out(ragged), faulty], include_indices=True)
        seen = []
        for index, rows, other in ds.batch_iterator(5, on_error="skip"):
            np.testing.assert_array_equal(index, other)
            rows = rows.pad() if isinstance(rows, Ragged) else rows
            np.testing.assert_array_equal(rows, ragged[index].pad())
            seen += index.tolist()
        assert set(range(len(LENGTHS))) - set(seen) == missing


@given(lengths=st.lists(st.integers(0, 12), max_size=30), num_buckets=st.integers(1, 5))
def test_buckets_with_the_least_padding(lengths: list[int], num_buckets: int) -> None:
    """No other way to divide sequences into so many buckets pads less."""

    def padded(edges: Any) -> int:
        bucket = np.searchsorted(np.array(edges, int), lengths, "left")
        return sum(max(np.array(lengths)[bucket == b]) * int((bucket == b).sum()) for b in set(bucket.tolist()))

    edges = least_padding(np.array(lengths, np.intp), num_buckets)
    different = sorted(set(lengths))[:-1]
    assert len(edges) < num_buckets or len(edges) == 0
    choices = (chosen for n in range(num_buckets) for chosen in itertools.combinations(different, n))
    assert padded(edges) == min(map(padded, choices))


@pytest.mark.parametrize(("mean", "sigma"), [(3.2, 0.5), (3.2, 0.8), (4.0, 1.0)])
def test_little_is_padding(mean: float, sigma: float) -> None:
    """Of log-normal lengths in 50 buckets, under 5% of what batches of 4,096 tokens hold is padding."""
    lengths = np.clip(np.random.RandomState(1).lognormal(mean, sigma, 100_000), 1, 2048).astype(int)
    batches = BucketSampler(lengths, max_tokens=4096, num_buckets=50).shuffled_indices_batch_iterator(4096, 1)
    assert lengths.sum() / sum(len(batch) * lengths[batch].max() for batch in batches) > 0.95


@given(
    lengths=st.lists(st.integers(0, 9), max_size=40),
    spare=st.integers(0, 12),
    seed=st.none() | st.integers(0, 5),
    inner=st.sampled_from([(), (2,)]),
)
def test_packing(lengths: list[int], spare: int, seed: int | None, inner: tuple[int, ...]) -> None:
    """Every sequence with elements is in one row, whole; segment ids and positions tell where."""
    max_length = max(1, *lengths, 1) + spare
    sequences = [
        np.broadcast_to(part.reshape(-1, *(1,) * len(inner)), (len(part), *inner)) for part in numbered(lengths)
    ]
    packs = pack(Ragged.of(sequences or [np.empty((0, *inner), int)]), max_length, value=-1, seed=seed)
    found = []
    for rows, segment_ids, positions in packs.data_source().batch_iterator(3, shuffle=1):
        assert rows.shape == (len(rows), max_length, *inner)
        assert segment_ids.shape == positions.shape == rows.shape[:2]
        for row, ids, places in zip(rows, segment_ids, positions, strict=True):
            assert (row[ids == 0] == -1).all()
            assert sorted(set(ids.tolist()) - {0}) == [*range(1, ids.max() + 1)]
            for segment in range(1, ids.max() + 1):
                assert places[ids == segment].tolist() == [*range((ids == segment).sum())]
                found.append(row[ids == segment].tolist())
    assert sorted(found) == sorted(part.tolist() for part in sequences if len(part))
    used = [int(lengths[i]) for row in packs.members for i in row]
    assert sum(used) == sum(lengths)


@given(lengths=st.lists(st.integers(1, 20), min_size=1, max_size=40))
def test_packing_is_best_fit_decreasing(lengths: list[int]) -> None:
    """There are as many rows as best-fit decreasing leaves, done by hand."""
    rooms: list[int] = []
    for length in sorted(lengths, reverse=True):
        fitting = [room for room in rooms if room >= length]
        if fitting:
            rooms.remove(min(fitting))
        rooms.append((min(fitting) if fitting else 20) - length)
    packs = pack([np.zeros(n, int) for n in lengths], 20)
    assert sorted(20 - sum(lengths[i] for i in row) for row in packs.members) == sorted(rooms)


def test_packs_are_nearly_full() -> None:
    """Rows of 2,048 with log-normal sequences are more than 98% full."""
    lengths = np.clip(np.random.RandomState(1).lognormal(4.5, 1.0, 20_000), 1, 2048).astype(int)
    packs = pack(Ragged(np.zeros(lengths.sum(), np.uint8), np.concatenate([[0], np.cumsum(lengths)])), 2048)
    assert packs.fill > 0.98
    assert packs.fill == lengths.sum() / (len(packs) * 2048)


def test_packing_fields() -> None:
    """Fields with the same lengths are packed alike, each with its own value; others are an error, as is a long one."""
    tokens = numbered(LENGTHS)
    fields = {"tokens": tokens, "tags": [part % 7 + 1 for part in tokens]}
    reader = InMemoryReader({name: Ragged.of(column) for name, column in fields.items()}, None, list(fields), "tokens")
    for packs in (pack(fields, 12, {"tokens": 0, "tags": -1}), pack(reader, 12, {"tokens": 0, "tags": -1})):
        for batch in packs.data_source().batch_iterator(4, shuffle=1):
            assert list(batch) == ["tokens", "tags", "segment_ids", "positions"]
            real = batch["segment_ids"] > 0
            np.testing.assert_array_equal(batch["tags"], np.where(real, batch["tokens"] % 7 + 1, -1))
    with pytest.raises(ValueError, match="'tokens' and 'tags' differ at sequence 2"):
        pack({"tokens": tokens, "tags": [*tokens[:2], tokens[2][1:], *tokens[3:]]}, 12)
    with pytest.raises(ValueError, match="max_length=11 is less than the longest sequence: number 6 has 12"):
        pack(tokens, 11)
    with pytest.raises(TypeError, match="sequences"):
        pack("text", 11)
    seeded = [pack(tokens, 12, seed=seed).members.tolist() for seed in (1, 1, 2)]
    assert seeded[0] == seeded[1] != seeded[2]


@pytest.mark.parametrize("size", [{"batch_size": 4}, {"batch_size": 24, "is_size_in_tokens": True}])
def test_seqp_loader(size: dict[str, Any]) -> None:
    """The loader of seqp goes through all records again and again; an epoch has each once."""
    data_loader = DataLoader(memory(), pad_value=-1, num_buckets=4)
    batches = list(data_loader.iterator(**size, shuffle=5, epochs=3))
    rows = [[int(v) for v in row if v != -1] for batch in batches for row in batch]
    expected = sorted(part.tolist() for part in numbered(LENGTHS))
    assert [sorted(rows[i : i + 12]) for i in range(0, 36, 12)] == [expected] * 3
    limits = [high for _, high in data_loader.bucket_limits]
    for batch in batches:
        assert batch.shape[1] in limits
        assert len(batch) <= 4 if "is_size_in_tokens" not in size else batch.size <= 24
    again = data_loader.iterator(**size, shuffle=5)
    assert plain([[b] for b in itertools.islice(again, len(batches))]) == plain([[b] for b in batches])
    assert len(list(itertools.islice(again, 100))) == 100


def test_seqp_schedules() -> None:
    """Functions decide on the size, the width, and which buckets batches come from."""
    data_loader = DataLoader(memory(), num_buckets=4)
    limits = data_loader.bucket_limits
    shortest = data_loader.iterator(2, length_schedule=lambda number: (0.0, 0.0), shuffle=1)
    assert {batch.shape[1] for batch in itertools.islice(shortest, 20)} == {limits[0][1]}
    growing = data_loader.iterator(
        2, length_schedule=lambda number: (1.0, 1.0) if number > 4 else (0.0, 0.0), shuffle=1
    )
    widths = [batch.shape[1] for batch in itertools.islice(growing, 10)]
    assert widths == [limits[0][1]] * 5 + [limits[-1][1]] * 5
    between = data_loader.iterator(2, dynamic_seq_length=lambda: (limits[1][0], limits[2][1]), shuffle=1)
    assert {batch.shape[1] for batch in itertools.islice(between, 30)} == {limits[1][1], limits[2][1]}
    asked = []
    sized = data_loader.iterator(
        lambda width: asked.append(width) or 1, dynamic_padded_length=lambda longest: longest + 3, shuffle=1
    )
    assert [batch.shape for batch in itertools.islice(sized, 5)] == [(1, width) for width in asked]


def test_seqp_coordinated_loaders() -> None:
    """Followers give as many records as their leader, none longer than what it pads to, and padded alike."""
    leader = DataLoader(memory(), num_buckets=4)
    followers = [DataLoader(memory([2, 2, 1, 5]), num_buckets=2), DataLoader(memory([1, 3]), num_buckets=2)]
    both = CoordinatedDataLoader([leader, *followers], [0.0, 1.5, 1.0])
    for batches in itertools.islice(both.iterator(20, is_size_in_tokens=True, shuffle=2), 40):
        assert len({batch.shape for batch in batches}) == 1
        assert batches[0].size <= 20 or len(batches[0]) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: DataLoader([1, 2]), "RecordReader"),
        (lambda: DataLoader(InMemoryReader([])), "no records"),
        (lambda: DataLoader(memory(), pad_value=2**70), "cannot hold"),
        (lambda: DataLoader(memory(), num_buckets=0), "num_buckets"),
        (lambda: DataLoader(memory()).iterator(0), "batch_size"),
        (lambda: DataLoader(memory()).iterator(11, is_size_in_tokens=True), "number 6 has 12"),
        (lambda: DataLoader(memory()).iterator(len, is_size_in_tokens=True), "a function"),
        (lambda: DataLoader(memory()).iterator(2, dynamic_seq_length=tuple, length_schedule=tuple), "not both"),
        (lambda: DataLoader(memory()).iterator(2, epochs=2, length_schedule=tuple), "epochs="),
        (lambda: next(DataLoader(memory()).iterator(2, dynamic_padded_length=lambda n: -1)), "returned -1"),
        (lambda: next(DataLoader(memory()).iterator(2, length_schedule=lambda n: (0.5, 0.2))), "two shares"),
        (lambda: next(DataLoader(memory()).iterator(2, dynamic_seq_length=lambda: (50, 60))), "no bucket"),
        (lambda: next(DataLoader(memory()).iterator(lambda width: 0)), "0 of them"),
        (lambda: CoordinatedDataLoader([DataLoader(memory())]), "at least 2"),
        (lambda: CoordinatedDataLoader([DataLoader(memory())] * 2, [1.0]), "one length ratio"),
    ],
)
def test_seqp_loader_refuses(call: Callable[[], Any], message: str) -> None:
    """What cannot be is an error at the call, or at the batch that it belongs to."""
    with pytest.raises((TypeError, ValueError), match=message):
        call()


@every_reader
def test_an_end_for_each_sequence(tmp_path: Path, make: Any) -> None:
    """EosAppender adds an element to each sequence, however it is read, and leaves the records as they are."""
    plain_reader = make(tmp_path)
    reader = EosAppender(plain_reader, 9)
    expected = [[*part.tolist(), 9] for part in numbered(LENGTHS)]
    indexes = list(reader.indexes())
    assert [reader.retrieve(i).tolist() for i in indexes] == expected
    assert reader.retrieve(indexes[0]).dtype == np.int64
    assert reader.gather(indexes[::-1]).tolist() == expected[::-1]
    assert [n for _, n in reader.indexes_and_lengths()] == reader.lengths.tolist() == [n + 1 for n in LENGTHS]
    assert reader.num_records() == len(LENGTHS)
    assert sorted(sequences_in(reader.data_source(max_tokens=30).batch_iterator(4, shuffle=1))) == sorted(expected)
    assert plain_reader.retrieve(indexes[0]).tolist() == expected[0][:-1]


def test_an_end_in_one_field() -> None:
    """Only the sequence gets its end; what it cannot hold is refused."""
    record = {"tokens": np.array([1, 2], np.uint8), "topic": np.array([3])}
    reader = EosAppender(InMemoryReader([record], {"a": "b"}, ["tokens", "topic"], "tokens"), 255)
    assert {name: part.tolist() for name, part in reader.retrieve(0).items()} == {"tokens": [1, 2, 255], "topic": [3]}
    assert reader.retrieve(0)["tokens"].dtype == np.uint8
    assert reader.metadata("a") == "b"
    assert record["tokens"].tolist() == [1, 2]
    with pytest.raises(ValueError, match="cannot hold the value 256"):
        EosAppender(InMemoryReader([record], None, ["tokens", "topic"], "tokens"), 256).retrieve(0)

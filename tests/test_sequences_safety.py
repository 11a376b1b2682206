"""What would be wrong without an error: memory that is shared or outdated, values that change, other files."""

from __future__ import annotations

import errno
import io
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup import ArrayDataSource, MixDataSource, WorkerProcessPool, batch_map_concat
from batchup.errors import FileFormatError
from batchup.sequences import (
    DataLoader,
    EosAppender,
    FileRecordReader,
    FileRecordWriter,
    Hdf5RecordReader,
    Hdf5RecordWriter,
    InMemoryReader,
    Ragged,
    RecordReader,
    ShardedWriter,
    pack,
)

FORMATS = {"records": (FileRecordWriter, FileRecordReader), "hdf5": (Hdf5RecordWriter, Hdf5RecordReader)}
every_format = pytest.mark.parametrize(("writer", "reader"), FORMATS.values(), ids=list(FORMATS))


def words() -> Ragged:
    return Ragged(np.arange(20), [0, 3, 3, 5, 8, 15, 20])


def written(writer: Any, path: Path, records: Any, **options: Any) -> None:
    with writer(path, **options) as file:
        file.extend(records)


def test_reading_a_batch_in_one_way_changes_no_other() -> None:
    """Values, padding, single sequences and pickling of one batch agree, in any order and again and again."""
    batch = words().gather(np.array([5, 4, 1]))
    for look in (lambda: batch.values, lambda: pickle.dumps(batch), lambda: batch.pad(), lambda: batch[0]) * 2:
        look()
        assert batch.pad().tolist() == [[15, 16, 17, 18, 19, 0, 0], [8, 9, 10, 11, 12, 13, 14], [0] * 7]
        assert batch.tolist() == [[15, 16, 17, 18, 19], [8, 9, 10, 11, 12, 13, 14], []]
    part = words()[3:]
    part.pad()
    assert pickle.loads(pickle.dumps(part)).pad().tolist() == part.pad().tolist()


def test_many_threads_read_one_batch() -> None:
    """Threads that use a batch in different ways see the same."""
    batch = Ragged(np.arange(40_000), np.arange(0, 40_001, 10))[500:1500]
    seen: set[Any] = set()

    def values() -> None:
        seen.update(int(batch.values[0]) for _ in range(200))

    def single() -> None:
        seen.update((*batch[7].tolist(), int(batch.pad()[7, 0])) for _ in range(200))

    threads = [threading.Thread(target=target) for target in (values, single) * 2]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {5000, (*range(5070, 5080), 5070)}


def test_batches_belong_to_their_holder() -> None:
    """What becomes of the data, or of another batch, does not change a batch."""
    values = np.arange(20)
    ds = ArrayDataSource([Ragged(values, [0, 3, 3, 5, 8, 15, 20])])
    (batch,) = next(ds.batch_iterator(4))
    values[:] = -1
    assert batch.tolist() == [[0, 1, 2], [], [3, 4], [5, 6, 7]]
    batch.values[:] = 7
    assert batch[0].tolist() == batch.pad()[0].tolist() == [7, 7, 7]
    assert values.tolist() == [-1] * 20


def test_joining_promotes() -> None:
    """Sequences of different dtypes are joined as a dtype that holds both, wherever that happens."""
    small, large = Ragged(np.array([1, 2], np.int8), [0, 1, 2]), Ragged(np.array([2**40, 2**33 + 7]), [0, 1, 2])
    assert Ragged.joined([small, large]).tolist() == [[1], [2], [2**40], [2**33 + 7]]
    assert Ragged.joined([Ragged.of([[]]), large]).values.dtype == np.int64
    mixed = MixDataSource([ArrayDataSource([small]), ArrayDataSource([large])], [0.5, 0.5])
    seen = sorted(row for (batch,) in mixed.batch_iterator(4, shuffle=1) for row in batch.tolist())
    assert seen == [[1], [2], [2**33 + 7], [2**40]]
    with pytest.raises(ValueError, match="one shape"):
        Ragged.joined([small, Ragged(np.zeros((1, 2), np.int8), [0, 1])])
    with pytest.raises(ValueError, match="one dtype"):
        Ragged.of([[1], [2.5]])
    with pytest.raises(ValueError, match="one dtype"):
        Ragged.of([[2**60 + 1]], dtype=np.float64)
    assert Ragged.of([[1], [2.0]], dtype=np.float32).values.tolist() == [1.0, 2.0]


def test_results_in_one_buffer_are_copied() -> None:
    """A function may return sequences in memory that it uses again."""
    buffer = np.zeros(2, int)

    def model(x: Any) -> Ragged:
        buffer[:] = x * 10
        return Ragged(buffer, [0, 1, 2])

    (joined,) = batch_map_concat(model, ArrayDataSource([np.arange(4)]).batch_iterator(2))
    assert joined.values.tolist() == [0, 10, 20, 30]


@pytest.mark.parametrize("count", [1, 2, 30])
@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_at_the_edges(count: int, side: str) -> None:
    """Rows that reach over the ends of memory are as right as others."""
    rng = np.random.default_rng(count)
    parts = [rng.integers(1, 100, length) for length in rng.integers(0, 9, count)]
    rows = Ragged.of(parts).pad(side=side, to=40, value=-1)
    for row, part in zip(rows, parts, strict=True):
        places = row[: len(part)] if side == "right" else row[40 - len(part) :]
        assert places.tolist() == part.tolist()
        assert (row == -1).sum() == 40 - len(part)


@pytest.mark.parametrize(
    ("dtype", "value", "fits"),
    [
        (np.int64, np.nan, False),
        (np.int64, 0.5, False),
        (np.float32, np.nan, True),
        (np.float32, 0.1, True),
        (np.float16, 1e300, False),
        (np.uint8, -1, False),
        (np.uint8, 255, True),
        (np.int8, 0.5, False),
        (bool, 2, False),
        ("M8[s]", np.datetime64("NaT"), True),
        ("c8", 1 + 2j, True),
        ("f4", 1 + 2j, False),
    ],
)
def test_what_padding_can_be(dtype: Any, value: Any, fits: bool) -> None:
    """A value that elements cannot hold is an error at the call, whatever would be padded."""
    ragged = Ragged(np.zeros(4, dtype), [0, 1, 4])
    calls: list[Callable[[], Any]] = [
        lambda: ragged.pad(value),
        lambda: ragged.padded(value),
        lambda: pack(ragged, 9, value),
    ]
    for call in calls:
        if fits:
            call()
        else:
            with pytest.raises(ValueError, match="cannot hold"):
                call()


@every_format
def test_another_file_of_the_name(writer: Any, reader: Any, tmp_path: Path) -> None:
    """What was pickled as a name refuses other records of that name; what is open goes on with its own."""
    path = tmp_path / "a"
    written(writer, path, [[1, 2], [3]])
    opened = reader(path)
    ds = opened.data_source(max_tokens=8)
    pickled = [pickle.dumps(thing) for thing in (opened, opened.columns[None], ds)]
    written(writer, path, [[7, 7], [8]])
    for data in pickled:
        with pytest.raises(FileFormatError, match="holds other records now"):
            pickle.loads(data)
    assert opened.gather([0, 1]).tolist() == [[1, 2], [3]]
    with WorkerProcessPool(1) as pool, pytest.raises(Exception, match="holds other records now"):
        list(pool.parallel_data_source(ds).batch_iterator(2))


def test_records_that_were_added_meanwhile(tmp_path: Path) -> None:
    """What was pickled before records were added has those that there were."""
    path = tmp_path / "a"
    written(FileRecordWriter, path, [[1, 2], [3]])
    reader = FileRecordReader(path)
    pickled = pickle.dumps((reader, reader.data_source(max_tokens=8)))
    written(FileRecordWriter, path, [[4, 5, 6]], append=True)
    again, ds = pickle.loads(pickled)
    assert again.num_records() == 2
    assert len(ds.data[0]) == 2
    assert [sorted(rows.tolist()) for rows, _ in ds.batch_iterator(2)] == [[[1, 2], [3, 0]]]
    assert FileRecordReader(path).num_records() == 3


def test_a_compressed_file_that_is_replaced(tmp_path: Path) -> None:
    """A file that is read piece by piece is read as it was opened; another process refuses one that took its name."""
    import h5py

    path = tmp_path / "a"
    for values in ([7, 7, 7, 8, 8], [1, 1, 1, 2, 2]):
        written(Hdf5RecordWriter, tmp_path / "b", [values[:3], values[3:]])
        with h5py.File(tmp_path / "b", "r+") as file:
            compressed = file["values"][()]
            del file["values"]
            file.create_dataset("values", data=compressed, compression="gzip")
        if values[0] == 7:
            os.replace(tmp_path / "b", path)
            reader = Hdf5RecordReader(path)
            pickled = pickle.dumps(reader)
        else:
            os.replace(tmp_path / "b", path)
    assert reader.gather([0, 1]).tolist() == [[7, 7, 7], [8, 8]]
    with pytest.raises(FileFormatError, match="other records now"):
        pickle.loads(pickled)


@every_format
def test_shards_of_two_runs(writer: Any, reader: Any, tmp_path: Path) -> None:
    """A run that was broken off leaves shards that cannot be taken for those of the run before."""
    template = str(tmp_path / "{}")
    with ShardedWriter(writer, template, 2) as shards:
        shards.extend([[i] for i in range(6)])
        assert "next record 6" in repr(shards)
    names = shards.output_files
    assert reader(names).metadata_keys() == []
    broken_off = ShardedWriter(writer, template, 2)
    broken_off.extend([[100 + i] for i in range(3)])
    broken_off.discard()
    with pytest.raises(FileFormatError, match="different runs"):
        reader(names)


@every_format
def test_fewer_of_the_same(writer: Any, reader: Any, tmp_path: Path) -> None:
    """A shard that an earlier run has left is refused, though what lies before it is the same as then."""
    for count in (6, 4):
        with ShardedWriter(writer, str(tmp_path / "{}"), 2) as shards:
            shards.extend([[i] for i in range(count)])
    assert reader(shards.output_files).num_records() == 4
    with pytest.raises(FileFormatError, match="different runs"):
        reader([*shards.output_files, tmp_path / "3"])


@every_format
@pytest.mark.parametrize("fields", [None, ["a", "b"]])
def test_equal_runs_make_equal_files(writer: Any, reader: Any, fields: Any, tmp_path: Path) -> None:
    """Shards hold what was passed to their writer, and nothing that differs from run to run."""
    made = []
    for folder in (tmp_path / "one", tmp_path / "other"):
        folder.mkdir()
        options = {} if fields is None else {"fields": fields, "sequence_field": "a"}
        with ShardedWriter(writer, folder / "{}", 2, **options) as shards:
            shards.extend(words() if fields is None else {"a": words(), "b": words()})
            shards.add_metadata({"language": "English"})
        made.append([Path(name).read_bytes() for name in shards.output_files])
    assert made[0] == made[1]
    assert reader(shards.output_files).num_records() == len(words())


def test_the_key_of_shards_is_taken(tmp_path: Path) -> None:
    """Metadata cannot replace that by which shards know each other."""
    with ShardedWriter(FileRecordWriter, tmp_path / "{}", 2) as shards, pytest.raises(ValueError, match="choose"):
        shards.add_metadata({"_run": "1"})


def test_shards_whose_folder_is_left_or_lost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Shards stay in the folder where they began; metadata for one that is gone are an error."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    with ShardedWriter(FileRecordWriter, "s{}.records", 1) as shards:
        shards.extend([[1], [2]])
        monkeypatch.chdir(tmp_path / "elsewhere")
        shards.write([3])
        shards.add_metadata({"a": "b"})
        (tmp_path / "s1.records").unlink()
        with pytest.raises(FileNotFoundError, match="s1"):
            shards.add_metadata({"a": "c"})
    assert sorted(os.listdir(tmp_path)) == ["elsewhere", "s2.records", "s3.records"]
    assert os.listdir(tmp_path / "elsewhere") == []


@pytest.mark.parametrize("first", [3, 12])
def test_empty_shards_hide_nothing(first: int, tmp_path: Path) -> None:
    """An empty shard neither hides an overlap nor makes a gap."""
    written(FileRecordWriter, tmp_path / "a", [[i] for i in range(10)])
    written(FileRecordWriter, tmp_path / "empty", [], initial_index=3)
    written(FileRecordWriter, tmp_path / "b", [[i] for i in range(10)], initial_index=first - 2 if first == 12 else 3)
    names = [tmp_path / name for name in ("a", "empty", "b")]
    if first == 3:
        with pytest.raises(FileFormatError, match="both hold record 3"):
            FileRecordReader(names)
    else:
        assert FileRecordReader(names).num_records() == 20


class Blank(RecordReader):
    """A user's reader whose first records are blank lines."""

    def indexes(self) -> range:
        return range(3)

    def length(self, index: int) -> int:
        return [0, 0, 2][index]

    def retrieve(self, index: int) -> Any:
        return np.array([[], [], [2**60 + 1, 3]][index])


def test_blank_first_records() -> None:
    """A blank record, which is of float64, does not decide on the dtype of the others."""
    assert Blank().gather([2, 0]).tolist() == [[2**60 + 1, 3], []]
    assert Blank().data_source().samples_by_indices([2])[0].dtype == np.int64
    with pytest.raises(IndexError, match="no record 3"):
        Blank().gather([0, 3])
    with pytest.raises(TypeError, match="integers"):
        Blank().gather([0.5])


def test_the_disk_fails_at_the_last_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A file whose last flush failed is left as it is, and stays readable, whatever is tried then."""
    path, calls, sync = tmp_path / "a", [], os.fsync
    written(FileRecordWriter, path, [[1], [2]])
    writer = FileRecordWriter(path, append=True)
    writer.write([3])

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(errno.EIO, "Input/output error")
        sync(descriptor)

    monkeypatch.setattr(os, "fsync", failing)
    with pytest.raises(OSError, match="Input/output"):
        writer.close()
    for _ in range(2):
        writer.write(np.arange(100))
        with pytest.raises(FileFormatError, match="the disk has lost"):
            writer.close()
        assert FileRecordReader(path, verify=True).gather([0, 1]).tolist() == [[1], [2]]
    writer.discard()
    assert FileRecordReader(path, verify=True).num_records() == 3


@pytest.mark.parametrize("options", [{"pad_to": 8}, {"to": 16}, {"pad_to": 4, "side": "left"}])
def test_the_budget_counts_padding(options: dict[str, Any]) -> None:
    """What rows are padded to counts, not only how long their sequences are."""
    lengths = np.random.default_rng(1).integers(0, 16, 200)
    reader = InMemoryReader([np.ones(n, int) for n in lengths])
    ds = reader.data_source(max_tokens=64, **options)
    assert all(rows.size <= 64 for rows, _ in ds.batch_iterator(100, shuffle=1))
    for rank in range(4):
        for rows, *_ in ds.batch_iterator(100, shuffle=1, shard=(rank, 4), tail="pad"):
            assert rows.size <= 64


class FewBytes(io.FileIO):
    """A file that gives less than it is asked for."""

    def readinto(self, room: Any) -> int | None:
        return super().readinto(memoryview(room)[:7])

    def read(self, size: int | None = -1) -> bytes:
        return super().read(min(size or 0, 7)) or b""


def test_a_disk_that_gives_few_bytes_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits to be written comes back whole, however often it must be asked for; if some is gone, that is said."""
    waiting, path = tmp_path / "waiting", tmp_path / "a"
    monkeypatch.setattr("tempfile.TemporaryFile", lambda **options: FewBytes(waiting, "w+b"))
    written(Hdf5RecordWriter, path, words())
    assert Hdf5RecordReader(path, verify=True).gather(range(len(words()))).tolist() == words().tolist()
    writer = Hdf5RecordWriter(path)
    writer.extend(words())
    writer._flush()
    os.truncate(waiting, 50)
    with pytest.raises(FileFormatError, match="ends early: 110 bytes"):
        writer.close()
    writer.discard()


def test_readers_in_memory_are_pickled() -> None:
    """Readers over memory, and what wraps them, can be sent."""
    reader = InMemoryReader([[1, 2], [3]], {"a": "b"})
    for thing in (reader, EosAppender(reader, 9), DataLoader(reader)):
        copied = pickle.loads(pickle.dumps(thing))
        copied = getattr(copied, "record_reader", copied)
        assert copied.metadata("a") == "b"
        assert copied.retrieve(1)[0] == 3


@every_format
def test_masked_arrays_are_refused(writer: Any, reader: Any, tmp_path: Path) -> None:
    """A mask is not lost without a word."""
    with writer(tmp_path / "a") as file, pytest.raises(TypeError, match="mask"):
        file.write(np.ma.masked_array([1, 2], [True, False]))
    assert reader(tmp_path / "a").num_records() == 0

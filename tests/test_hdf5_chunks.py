"""Chunks that are read past HDF5: whatever was done to them, rows are what h5py would give; damage is told."""

from __future__ import annotations

import threading
import zlib
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchup import ArrayDataSource, WorkerProcessPool
from batchup.columns import as_column
from batchup.columns.hdf5_filters import checked, fletcher32, unshuffled
from batchup.columns.sliced import SlicedChunks
from batchup.errors import ChecksumError, FileFormatError

from .test_datasets import RAW, ROWS, made, rows


@pytest.mark.parametrize("layout", RAW)
def test_without_h5py(layout: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Compressed, shuffled, checked chunks, and parts of rows, are read without a call of h5py."""
    with h5py.File(made(tmp_path / "a.h5", layout), "r") as file:
        column = as_column(file["group/x"])
        monkeypatch.delattr(SlicedChunks, "between")
        indices = np.random.default_rng(1).permutation(ROWS)
        np.testing.assert_array_equal(column.gather(indices), rows()[indices])
        np.testing.assert_array_equal(column.gather(slice(3, 90)), rows()[3:90])


FILTERS = st.fixed_dictionaries(
    {
        "compression": st.sampled_from([None, "gzip", 0, 9, "lzf"]),
        "shuffle": st.booleans(),
        "fletcher32": st.booleans(),
    }
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    sides=st.lists(st.tuples(st.integers(1, 9), st.integers(1, 12)), min_size=1, max_size=4),
    dtype=st.sampled_from(["u1", ">i2", "f4", "c16", "S3", "?"]),
    filters=FILTERS,
    resized=st.booleans(),
    data=st.data(),
)
def test_any_shape(sides: Any, dtype: str, filters: Any, resized: bool, data: Any, tmp_path: Path) -> None:
    """Any shape, chunk shape and filters, written in part, cut or extended afterwards, is what h5py reads."""
    shape, chunks = [list(side) for side in zip(*sides, strict=True)]
    number = data.draw(st.integers(0, 2**30))
    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as file:
        fill = np.ones((), np.dtype(dtype))[()]
        dataset = file.create_dataset(
            "x", shape, dtype, chunks=tuple(chunks), maxshape=[None] * len(shape), fillvalue=fill, **filters
        )
        values = np.random.default_rng(number).integers(0, 3, shape).astype(dtype)
        first, last = sorted(data.draw(st.tuples(st.integers(0, shape[0]), st.integers(0, shape[0]))))
        dataset[first:last] = values[first:last]
        if resized:
            dataset.resize([data.draw(st.integers(1, side + 3)) for side in shape])
    with h5py.File(path, "r") as file:
        expected, column = file["x"][...], as_column(file["x"])
        indices = np.random.default_rng(number).integers(0, len(expected), 20)
        np.testing.assert_array_equal(column.gather(indices), expected[indices])
        np.testing.assert_array_equal(column.gather(slice(0, len(expected))), expected)


def test_filters_that_a_chunk_did_not_go_through(tmp_path: Path) -> None:
    """The mask of each chunk says which filters were not applied to it."""
    values = np.arange(40, dtype="<i4").reshape(10, 4)
    parts = values.reshape(5, 2, 4)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        dataset = file.create_dataset("x", (10, 4), "<i4", chunks=(2, 4), compression="gzip", shuffle=True)
        shuffled = [part.tobytes() for part in parts.view("u1").reshape(5, 8, 4).transpose(0, 2, 1)]
        stored = [
            (zlib.compress(shuffled[0]), 0),
            (zlib.compress(parts[1].tobytes()), 1),
            (shuffled[2], 2),
            (parts[3].tobytes(), 3),
            (zlib.compress(shuffled[4]), 0),
        ]
        for number, (data, mask) in enumerate(stored):
            dataset.id.write_direct_chunk((2 * number, 0), data, mask)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        np.testing.assert_array_equal(file["x"][...], values)
        np.testing.assert_array_equal(as_column(file["x"]).gather(np.arange(10)[::-1].copy()), values[::-1])


def test_lzf_that_was_of_no_use(tmp_path: Path) -> None:
    """Noise, which LZF leaves as it is, is read as what is not compressed; with the rest, h5py is asked."""
    noise = np.random.default_rng(0).integers(0, 256, (40, 64), np.uint8)
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("noise", data=noise, chunks=(8, 64), compression="lzf")
        noise[10:] = 7
        file.create_dataset("half", data=noise, chunks=(8, 64), compression="lzf")
    with h5py.File(tmp_path / "a.h5", "r") as file:
        assert as_column(file["noise"]).cheap
        for name in file:
            indices = np.random.default_rng(1).permutation(40)
            np.testing.assert_array_equal(as_column(file[name]).gather(indices), file[name][:][indices])


def place_of(path: Path, number: int) -> tuple[int, int]:
    """Return where chunk `number` of the dataset lies in a file."""
    with h5py.File(path, "r") as file:
        info = file["group/x"].id.get_chunk_info(number)
    return info.byte_offset, info.size


def overwritten(path: Path, start: int, data: bytes) -> None:
    """Put other bytes into a file."""
    with open(path, "r+b") as file:
        file.seek(start)
        file.write(data)


@pytest.mark.parametrize(
    ("layout", "data", "why"),
    [
        ("gzip", bytes(20), "while decompressing"),
        ("gzip", zlib.compress(bytes(7)), "it has 7 bytes"),
        ("gzip", zlib.compress(bytes(4_000)), "do not end where they should"),
        ("gzip", zlib.compress(bytes(960))[:12], "compressed data|Error"),
        ("shuffled and checked", b"\xff", "checksum is not that of its data"),
        ("all filters", b"\xff", "checksum is not that of its data"),
    ],
)
def test_a_damaged_chunk(layout: str, data: bytes, why: str, tmp_path: Path) -> None:
    """It is an error that names dataset and chunk; the rows of other chunks are read."""
    path = made(tmp_path / "a.h5", layout)
    start, size = place_of(path, 3)
    overwritten(path, start, data + bytes(max(0, size - len(data))) if len(data) > 1 else data)
    with h5py.File(path, "r") as file:
        ds = ArrayDataSource([file["group/x"]])
        np.testing.assert_array_equal(ds.samples_by_indices([5, 90])[0], rows()[[5, 90]])
        with pytest.raises(
            FileFormatError, match=f"chunk 3 of dataset /group/x of .*a.h5 .* is damaged: .*({why})"
        ) as e:
            ds.samples_by_indices([5, 25])
        assert isinstance(e.value, ChecksumError) == (len(data) == 1)


def test_a_file_that_became_shorter(tmp_path: Path) -> None:
    """What lies behind its end is an error, whether it was cut before or after it was opened."""
    path = made(tmp_path / "a.h5", "gzip")
    last = max(range(13), key=lambda i: place_of(path, i)[0])
    with h5py.File(path, "r") as file:
        column = as_column(file["group/x"])
        with open(path, "r+b") as cut:
            cut.truncate(place_of(path, last)[0] + 3)
        with pytest.raises(FileFormatError, match="shorter since it was opened"):
            column.gather(np.array([last * 8]))
        with pytest.raises(FileFormatError, match="the file ends at byte"):
            as_column(file["group/x"]).gather(np.array([last * 8]))


def test_sizes_are_checked_before_memory_is_taken(tmp_path: Path) -> None:
    """A few bytes that say that they become gigabytes are an error at once; so is a table of chunks without end."""
    with h5py.File(tmp_path / "a.h5", "w") as file:
        large = file.create_dataset("large", (2**31,), "u1", chunks=(2**30,), compression="gzip")
        large.id.write_direct_chunk((0,), zlib.compress(bytes(2**20)))
        file.create_dataset("endless", (2**50,), "u1", chunks=(1,), fillvalue=3)
    with h5py.File(tmp_path / "a.h5", "r") as file:
        with pytest.raises(FileFormatError, match="cannot have been 1,073,741,824 before"):
            as_column(file["large"]).gather(np.array([3]))
        assert as_column(file["endless"]).gather(np.array([3, 2**40])).tolist() == [3, 3]


def test_in_threads_at_once(tmp_path: Path) -> None:
    """Any number of threads read the same column."""
    with h5py.File(made(tmp_path / "a.h5", "all filters"), "r") as file:
        column, right = as_column(file["group/x"]), []

        def read(seed: int) -> None:
            for _ in range(20):
                indices = np.random.default_rng(seed).integers(0, ROWS, 50)
                right.append(bool((column.gather(indices) == rows()[indices]).all()))

        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert right == [True] * 80


def test_damage_that_a_worker_finds(tmp_path: Path) -> None:
    """It is the same error from a process."""
    path = made(tmp_path / "a.h5", "gzip")
    overwritten(path, place_of(path, 3)[0], bytes(20))
    with h5py.File(path, "r") as file, WorkerProcessPool(1) as pool:
        batches = pool.parallel_data_source(ArrayDataSource([file["group/x"]])).batch_iterator(8)
        assert len([next(batches) for _ in range(3)]) == 3
        with pytest.raises(FileFormatError, match="chunk 3 of dataset /group/x"):
            next(batches)


@given(st.binary(max_size=300))
def test_fletcher32(data: bytes) -> None:
    """The sums are those of the definition, word by word; a change of a bit is seen."""
    first = second = 0
    for i in range(0, len(data), 2):
        first = (first + int.from_bytes(data[i : i + 2].ljust(2, b"\0"), "big")) % 65535
        second = (second + first) % 65535
    array = np.frombuffer(data, np.uint8)
    assert fletcher32(array) == (first, second)
    summed = np.append(array, np.array([first, second], "<u2").view(np.uint8))
    np.testing.assert_array_equal(checked(summed), array)
    if data:
        summed[0] ^= 4
        with pytest.raises(ChecksumError):
            checked(summed)


def test_fletcher32_of_much(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sums over several pieces are those over one."""
    data = np.random.default_rng(0).integers(0, 256, 100_001, np.uint8)
    expected = fletcher32(data)
    monkeypatch.setattr("batchup.columns.hdf5_filters.WORDS", 1000)
    assert fletcher32(data) == expected


@given(st.binary(max_size=50), st.integers(1, 9))
def test_unshuffled(data: bytes, itemsize: int) -> None:
    """Shuffled and put back, bytes are what they were."""
    array, whole = np.frombuffer(data, np.uint8), len(data) // itemsize * itemsize
    shuffled = np.append(array[:whole].reshape(-1, itemsize).T.reshape(-1), array[whole:])
    np.testing.assert_array_equal(unshuffled(shuffled, itemsize), array)

"""Files travel both ways between this library and the original hypersequence; frozen files stay readable for ever."""

from __future__ import annotations

import json
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup import hypersequence as hs

from .hsq import (
    DATA,
    DTYPES,
    Arrays,
    child,
    ended,
    holds,
    meta_of,
    numbered,
    of,
    opens_with,
    original,
    records_of,
    same,
    taken_apart,
    values,
    with_old_trailer,
    write,
)

SIDES = {
    "one and one": Arrays((values("<f8", (50, 3, 2)),), (values("<i8", (50,)),)),
    "three and two": Arrays(
        (values("<f4", (50, 4)), values("|u1", (50, 2, 2)), values("<i2", (50,))),
        (values("<f8", (50, 2)), values("|S4", (50,))),
    ),
    "one and none": Arrays((values("<f4", (50, 4)),)),
}
META = {"text": "Ünïcode", "list": [1, 2.5, None], "nested": {"a": {"b": []}}}


def by_the_original(path: Path, arrays: Arrays, batch_size: int, meta: Any = None) -> Path:
    """Write a file with the original."""
    with original().HyperSequenceWriter(path, batch_size) as writer:
        for i in range(len(arrays)):
            row = arrays.rows(i)
            writer.append(of(row.inputs), of(row.outputs))
        writer.user_meta().update(meta or {})
    return path


def opens_there(path: Path, arrays: Arrays, batch_size: int, meta: Any = None, **options: Any) -> None:
    """Check that the original reads the whole batches of a file, and what it says of itself."""
    with original().HyperSequenceFile(path, **options) as hsq:
        assert len(hsq) == len(arrays) // batch_size
        assert hsq.batch_size() == batch_size
        assert (hsq.no_inputs(), hsq.no_outputs()) == (len(arrays.inputs), len(arrays.outputs))
        assert hsq.user_meta() == (meta or {})
        expected = tuple(tuple(np.dtype((x.dtype, x.shape[1:])) for x in side) for side in arrays)
        assert hsq.dtypes() == expected
        for number, rows in zip(range(len(hsq)), arrays.batches(batch_size), strict=False):
            same([np.array(part) for part in hsq._get(number)], rows.all, f"batch {number}")
            if len(arrays.outputs) == len(arrays.inputs) == 1:
                same(tuple(np.array(part) for part in hsq[number]), (of(rows.inputs), of(rows.outputs)))


def test_the_original_is_the_real_one() -> None:
    """The package is the one from PyPI, and TensorFlow was not loaded for it."""
    assert original().__version__ == "0.10.0"
    assert not original()._HAS_TF_KERAS
    assert sys.modules.get("tensorflow", "not loaded") is not None


@pytest.mark.parametrize("name", SIDES)
@pytest.mark.parametrize("size", [1, 7, 16])
def test_from_there(name: str, size: int, tmp_path: Path) -> None:
    """What the original writes opens here with equal content, however it is read."""
    arrays = SIDES[name]
    path = by_the_original(tmp_path / "a.hsq", arrays, size, META)
    whole = arrays.rows(slice(len(arrays) // size * size))  # it drops the rest
    for options in ({}, {"use_mmap": False}, {"copy_buffer": True}):
        with hs.HyperSequenceFile(path, **options) as hsq:
            holds(hsq, whole, size)
            holds(hsq.rebatch(5), whole, 5)
            assert hsq.user_meta() == META
            assert hsq.batch_size() == size
            assert hsq.dtypes() == tuple(tuple(np.dtype((x.dtype, x.shape[1:])) for x in side) for side in arrays)
            for column, array in zip(hsq.columns.values(), whole.all, strict=True):
                same(column[:], array)
            with pytest.raises(NotImplementedError, match="no checksums"):
                hsq.verify()


@pytest.mark.parametrize("name", SIDES)
@pytest.mark.parametrize("size", [1, 7, 16, 50])
def test_to_there(name: str, size: int, tmp_path: Path) -> None:
    """What is written here opens in the original: batches, dtypes, user meta; it does not see the tail."""
    arrays = SIDES[name]
    path = write(tmp_path / "a.hsq", arrays, size, META, names=[f"n{i}" for i in range(len(arrays.all))])
    for options in ({}, {"use_mmap": False}, {"copy_buffer": True, "thread_safe": True}):
        opens_there(path, arrays, size, META, **options)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(), (2, 3)], ids=str)
def test_every_dtype_both_ways(dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    """Every dtype and byte order means the same there and here; the records are the same bytes."""
    arrays = Arrays((values(dtype, (9, *shape)),), (values(dtype, (9,), 3),))
    ours = write(tmp_path / "ours.hsq", arrays, 4)
    opens_there(ours, arrays, 4)
    whole = arrays.rows(slice(8))
    theirs = by_the_original(tmp_path / "theirs.hsq", Arrays(*arrays), 4)
    if np.dtype(dtype).byteorder != ">":  # the rows of such arrays are NumPy scalars, of native order
        with hs.HyperSequenceFile(theirs) as hsq:
            holds(hsq, whole, 4)
        assert taken_apart(theirs.read_bytes())[0] == records_of(whole, 4) == ours.read_bytes()[: 8 * row_bytes(arrays)]


def row_bytes(arrays: Arrays) -> int:
    return sum(x.itemsize * int(np.prod(x.shape[1:], dtype=int)) for x in arrays.all)


def test_there_and_back_again(tmp_path: Path) -> None:
    """A file of the original, added to here, opens there again with the more rows."""
    arrays = numbered(23)
    path = by_the_original(tmp_path / "a.hsq", arrays.rows(slice(8)), 4, META)
    with hs.HyperSequenceWriter(path, mode="a") as writer:
        writer.extend(*map(of, arrays.rows(slice(8, 23))))
        writer.user_meta()["more"] = True
    opens_there(path, arrays, 4, {**META, "more": True})
    opens_with(path, arrays, 4)


def test_a_file_without_rows_there(tmp_path: Path) -> None:
    """An empty file, and one with a tail alone, open in the original as files of no batches."""
    write(tmp_path / "tail.hsq", numbered(3), 4, META)
    with original().HyperSequenceFile(tmp_path / "tail.hsq", use_mmap=False) as hsq:
        assert (len(hsq), hsq.user_meta()) == (0, META)
        assert hsq.dtypes() == ((np.dtype(("<i4", (2,))),), (np.dtype("<i8"),))
    write(tmp_path / "none.hsq", Arrays((np.empty((0, 2)),)), 4, META)
    with original().HyperSequenceFile(tmp_path / "none.hsq", use_mmap=False) as hsq:
        assert (len(hsq), hsq.user_meta()) == (0, META)


def test_split_as_there(tmp_path: Path) -> None:
    """`split` gives the same parts as the original's, of files without a tail, wherever both give any."""
    path = write(tmp_path / "a.hsq", numbered(37), 1)
    with original().HyperSequenceFile(path) as theirs, hs.HyperSequenceFile(path) as ours:
        for shares in ((0.8,), (0.5,), (0.7, 0.2), (0.1, 0.1, 0.1), (0.33, 0.33), (0.9, 0.05), (0.014,)):
            expected = [[int(part[i][1][0]) for i in range(len(part))] for part in theirs.split(*shares)]
            assert [[int(y[0]) for _, y in part] for part in ours.split(*shares)] == expected


def test_rebatch_as_there(tmp_path: Path) -> None:
    """For the sizes that the original allows, `rebatch` gives its batches; behind them come the rows it drops."""
    path = write(tmp_path / "a.hsq", numbered(48), 6)
    with original().HyperSequenceFile(path) as theirs, hs.HyperSequenceFile(path) as ours:
        for size in (1, 2, 3, 6, 12, 18, 30, 48):
            there, here = original().rebatch(theirs, size), hs.rebatch(ours, size)
            assert there.batch_size() == here.batch_size() == size
            assert len(here) == -(-48 // size)
            for number in range(len(there)):
                same(here[number], tuple(np.array(part) for part in there[number]))


# the older trailer


@pytest.mark.parametrize("name", SIDES)
def test_the_older_trailer(name: str, tmp_path: Path) -> None:
    """Files with the older trailer open here and there alike, and can be added to."""
    arrays, path = SIDES[name], tmp_path / "a.hsq"
    whole = arrays.rows(slice(48))
    path.write_bytes(with_old_trailer(arrays, 8, usermeta={"a": [1]}))
    opens_there(path, whole, 8, {"a": [1]})
    for options in ({}, {"use_mmap": False}):
        with hs.HyperSequenceFile(path, **options) as hsq:
            holds(hsq, whole, 8)
            assert hsq.user_meta() == {"a": [1]}
    with hs.HyperSequenceWriter(path, mode="a") as writer:
        writer.extend(*map(of, arrays.rows(slice(48, 50))))
    opens_with(path, arrays, 8)
    assert path.read_bytes()[-4:] == b"HSQ2"


def test_the_older_trailer_without_user_meta(tmp_path: Path) -> None:
    """The meta block need not have a user meta; white space and unknown keys do no harm."""
    arrays, path = numbered(8), tmp_path / "a.hsq"
    meta = meta_of(arrays, 4, unknown={"x": [1]})
    del meta["usermeta"], meta["version"]
    path.write_bytes(records_of(arrays, 4) + b"@@FSEQ@@" + json.dumps(meta, indent=1).encode() + b" \n ")
    opens_there(path, arrays, 4)
    with hs.HyperSequenceFile(path) as hsq:
        holds(hsq, arrays, 4)
        assert hsq.user_meta() == {}
    path.write_bytes(ended(records_of(arrays, 4), json.dumps(meta).encode()))
    with hs.HyperSequenceFile(path) as hsq:
        holds(hsq, arrays, 4)


def test_the_last_of_the_older_signatures_counts(tmp_path: Path) -> None:
    """Records that hold the signature, close to the end or far from it, are records, as for the original."""
    rows = np.array([[f"@@FSEQ@@{i}" for i in range(20)]] * 8, dtype="|S10")
    path = tmp_path / "a.hsq"
    path.write_bytes(with_old_trailer(Arrays((rows,)), 4))
    opens_there(path, Arrays((rows,)), 4)
    with hs.HyperSequenceFile(path) as hsq:
        holds(hsq, Arrays((rows,)), 4)


def test_as_much_as_the_older_trailer_holds(tmp_path: Path) -> None:
    """The older meta block may begin anywhere within the last 1,024 bytes; before that nobody finds it."""
    arrays, path = numbered(8), tmp_path / "a.hsq"
    bare = len(with_old_trailer(arrays, 4, usermeta={"": ""})) - len(records_of(arrays, 4))
    for length in (1022, 1023, 1024, 1025):
        path.write_bytes(with_old_trailer(arrays, 4, usermeta={"": "x" * (length - bare)}))
        assert path.stat().st_size == len(records_of(arrays, 4)) + length
        if length <= 1024:
            opens_there(path, arrays, 4, {"": "x" * (length - bare)})
            with hs.HyperSequenceFile(path) as hsq:
                holds(hsq, arrays, 4)
        else:
            with pytest.raises(RuntimeError):
                original().HyperSequenceFile(path)
            with pytest.raises(OSError, match="hsq"):
                hs.HyperSequenceFile(path)


# frozen files


def frozen(rows: int) -> Arrays:
    """Return the content of the frozen files: a formula of the row, the element and nothing else."""
    row = np.arange(rows)
    image = (row[:, None, None] * 7 + np.arange(3)[:, None] * 3 + np.arange(2)).astype("<f4") / 4
    code = np.array([f"row {i}" for i in range(rows)], dtype="<U6")
    big = (row * row - 50).astype(">i4")
    label = (row % 5).astype("|u1")
    return Arrays((image, code), (big, label))


FROZEN_META = {"made by": "hypersequence", "numbers": [1, 2.5, None, True], "nested": {"ä": "ö"}}
NAMES = ("image", "code", "square", "label")
FROZEN = {  # rows, batch size, CRC-32 of the file
    "by_hypersequence_0_10.hsq": (30, 10, 0x9D57E606),
    "with_older_trailer.hsq": (30, 10, 0xF154AE9E),
    "with_tail_names_checksums.hsq": (37, 10, 0x72BE3C7B),
}


def make_frozen(folder: Path) -> None:
    """Make the frozen files, with the original and today's writer; run once, by hand, when they were recorded."""
    rows = frozen(30)
    with original().HyperSequenceWriter(folder / "by_hypersequence_0_10.hsq", 10) as writer:
        for i in range(30):
            row = rows.rows(i)
            writer.append(row.inputs, row.outputs)
        writer.user_meta().update(FROZEN_META)
    (folder / "with_older_trailer.hsq").write_bytes(with_old_trailer(rows, 10, usermeta=FROZEN_META))
    write(folder / "with_tail_names_checksums.hsq", frozen(37), 10, FROZEN_META, names=NAMES)


@pytest.mark.parametrize("name", FROZEN)
def test_frozen_files(name: str) -> None:
    """Files that were written once open for ever, with the content that they had; they are what was recorded."""
    rows, size, crc = FROZEN[name]
    path, arrays = DATA / name, frozen(rows)
    assert f"{zlib.crc32(path.read_bytes()):08x}" == f"{crc:08x}"
    for options in ({}, {"use_mmap": False}, {"copy_buffer": True}):
        with hs.HyperSequenceFile(path, **options) as hsq:
            holds(hsq, arrays, size)
            assert hsq.user_meta() == FROZEN_META
            for column, array in zip(hsq.columns.values(), arrays.all, strict=True):
                same(column[:], array)
            if "checksums" in name:
                assert hsq.names == NAMES
                assert hsq.verify() == []
            else:
                assert hsq.names == ("i0", "i1", "o0", "o1")
    opens_there(path, arrays, size, FROZEN_META)


def test_frozen_bytes(tmp_path: Path) -> None:
    """Today's writer makes, byte for byte, the file of when it was frozen, by rows and by whole arrays."""
    expected = (DATA / "with_tail_names_checksums.hsq").read_bytes()
    arrays = frozen(37)
    path = write(tmp_path / "a.hsq", arrays, 10, FROZEN_META, names=NAMES)
    data, meta = taken_apart(expected)
    assert taken_apart(path.read_bytes()) == (data, meta)
    again = hs.HyperSequenceWriter(path, 10, names=NAMES)
    for i in range(37):
        row = arrays.rows(i)
        again.append(row.inputs, row.outputs)
    again.user_meta().update(FROZEN_META)
    again.close()
    assert taken_apart(path.read_bytes()) == (data, meta)
    if packs_as_then(expected):
        assert path.read_bytes() == expected


def packs_as_then(file: bytes) -> bool:
    """Return whether this zlib compresses as the one did that made the file."""
    data, meta = taken_apart(file)
    return ended(data, json.dumps(meta).encode()) == file


def test_importing_batchup_loads_no_original(tmp_path: Path) -> None:
    """Nothing here needs the original, or Keras, to write and read."""
    code = (
        "import sys, numpy as np; from batchup import hypersequence as hs; "
        "w = hs.HyperSequenceWriter(sys.argv[1]); w.extend(np.arange(40)); w.close(); "
        "list(hs.HyperSequenceFile(sys.argv[1]).data_source().batch_iterator(7, 1)); "
        "print(*{'hypersequence', 'keras', 'tensorflow', 'torch', 'scipy', 'tqdm'} & set(sys.modules))"
    )
    assert child(code, tmp_path / "a.hsq").split() == []

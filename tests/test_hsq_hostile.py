"""Damaged and hostile .hsq files: a FileFormatError at opening, quickly, in little memory; flipped bits are found."""

from __future__ import annotations

import gzip
import json
import pickle
import random
import struct
import time
import tracemalloc
import zlib
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup import hypersequence as hs
from batchup.errors import BatchUpError, ChecksumError, FileFormatError

from .hsq import (
    ENDED,
    MISSING,
    Arrays,
    beside,
    child,
    ended,
    given_up,
    holds,
    lying,
    meta_of,
    numbered,
    records_of,
    taken_apart,
    with_old_trailer,
    write,
)

LITTLE = 64 * 2**20  # bytes: far less than any lie asks for; a block of the writer and a meta block fit
QUICK = 5.0  # seconds: far more than any refusal needs


@pytest.fixture(name="ours")
def small_file(tmp_path: Path) -> Path:
    """Return a file of 11 rows in batches of 4, with names, checksums and user meta."""
    return write(tmp_path / "ours.hsq", numbered(11), 4, {"a": 1}, names=["x", "y"])


def refused(path: Path, file: bytes | None = None, most: int = LITTLE) -> str:
    """Check that a file is refused by whatever opens it, in time and memory; return what is said."""
    if file is not None:
        path.write_bytes(file)
    before, begin, said = path.read_bytes(), time.perf_counter(), ""
    tracing = tracemalloc.is_tracing()
    if not tracing:
        tracemalloc.start()
    try:
        tracemalloc.reset_peak()
        for call in (
            lambda: hs.HyperSequenceFile(path),
            lambda: hs.HyperSequenceFile(path, use_mmap=False, verify=True),
            lambda: hs.HyperSequenceWriter(path, mode="a"),
        ):
            with pytest.raises(FileFormatError) as caught:
                call()
            said = str(caught.value)
            assert str(path) in said
            assert len(said) < 1000
        assert tracemalloc.get_traced_memory()[1] < most
    finally:
        if not tracing:
            tracemalloc.stop()
    assert time.perf_counter() - begin < QUICK
    assert path.read_bytes() == before
    return said


def test_truncated_anywhere(ours: Path) -> None:
    """A file that is cut short, at whatever byte, is refused."""
    file = ours.read_bytes()
    for length in range(len(file)):
        ours.write_bytes(file[:length])
        with pytest.raises(FileFormatError, match="hsq"):
            hs.HyperSequenceFile(ours)
    for length in range(0, len(file), 7):
        refused(ours, file[:length])


def test_truncated_older_files(tmp_path: Path) -> None:
    """Files with the older trailer too."""
    file = with_old_trailer(numbered(8), 4, usermeta={"a": [1, {"b": 2}]})
    for length in range(len(file)):
        (tmp_path / "a.hsq").write_bytes(file[:length])
        with pytest.raises(FileFormatError):
            hs.HyperSequenceFile(tmp_path / "a.hsq")


def test_cut_at_the_front_or_grown(ours: Path) -> None:
    """Bytes missing at the front or in between, or more of them, anywhere but inside strings, are noticed."""
    file = ours.read_bytes()
    data, _ = taken_apart(file)
    for place in range(len(data) + 1):
        refused_file = file[:place] + b"\0" + file[place:]
        ours.write_bytes(refused_file)
        with pytest.raises(FileFormatError):
            hs.HyperSequenceFile(ours)
        if place < len(data):
            ours.write_bytes(file[:place] + file[place + 1 :])
            with pytest.raises(FileFormatError):
                hs.HyperSequenceFile(ours)
    assert "not end with b'HSQ2'" in refused(ours, file + b"\0")
    refused(ours, file + file)
    refused(ours, file * 3)


NO_FILES = {
    "empty": b"",
    "a byte": b"\0",
    "text": b"hello",
    "zeros": bytes(5000),
    "signature alone": b"HSQ2",
    "trailer alone": ENDED.pack(0, b"HSQ2"),
    "trailer that points before the file": ENDED.pack(1, b"HSQ2"),
    "trailer of 4 GiB": b"x" * 100 + ENDED.pack(2**32 - 1, b"HSQ2"),
    "little endian": b"x" * 100 + struct.pack("<I", 100) + b"HSQ2",
    "signature reversed": b"x" * 100 + ENDED.pack(100, b"2QSH"),
    "lower case": b"x" * 100 + ENDED.pack(100, b"hsq2"),
    "not packed": b"{}" + ENDED.pack(2, b"HSQ2"),
    "zlib, not gzip": zlib.compress(b"{}") + ENDED.pack(len(zlib.compress(b"{}")), b"HSQ2"),
    "old signature alone": b"@@FSEQ@@",
    "old signature, then rubbish": b"xyz@@FSEQ@@rubbish",
    "an HDF5 file": b"\x89HDF\r\n\x1a\n" + bytes(2000),
    "a zip": b"PK\x05\x06" + bytes(18),
    "a pickle": pickle.dumps({"records": 1}),
}


@pytest.mark.parametrize("name", NO_FILES)
def test_no_such_files(name: str, tmp_path: Path) -> None:
    """What is no .hsq file is refused."""
    refused(tmp_path / "a.hsq", NO_FILES[name])


NUMBERS = [-1, -(2**63), True, False, 4.0, 1.5, 2**63, 2**64, 10**30, None, "4", [4], {"4": 4}, MISSING]
LIES: dict[str, list[Any]] = {
    "records": [*NUMBERS, 0, 1, 3, 10**18, 2**62],
    "batch_size": [*NUMBERS, 0, 1, 3, 5, 8, 10**18, 2**62],
    "no_inputs": [*NUMBERS, 0, 2, 3, 10**18],
    "no_outputs": [*NUMBERS, 0, 2, 3, 10**18],
    "tail_rows": [n for n in NUMBERS if n is not MISSING] + [0, 1, 2, 4, 5, 10**18, MISSING],
    "usermeta": [None, 1, "x", [], [["a", 1]], True],
    "dtype": [
        MISSING,
        None,
        "f4",
        {},
        [],
        [1, 2],
        [None, None],
        [[], []],
        [["i0"], ["o0"]],
        "<i4,<i8",
        [["i0", "<i4", [4, 2]]],
        [["i0", "<i4", [4, 2]], ["o0", "<i8", [4]], ["o1", "<i8", [4]]],
    ],
    "names": ["xy", ["x"], ["x", "y", "z"], ["x", "x"], [1, 2], ["o0", "y"], {"x": 1, "y": 2}, 3, True, ["x", None]],
    "checksums": [
        None,
        True,
        [],
        {},
        "crc32",
        {"algorithm": "md5", "offset": 176, "count": 3},
        {"algorithm": "crc32", "offset": 0, "count": 3},
        {"algorithm": "crc32", "offset": 176, "count": 2},
        {"algorithm": "crc32", "offset": 176, "count": 10**18},
        {"algorithm": "crc32", "offset": -1, "count": 3},
        {"algorithm": "crc32", "offset": 176},
        MISSING,
    ],
}


@pytest.mark.parametrize(("key", "lie"), [(key, lie) for key, lies in LIES.items() for lie in lies], ids=repr)
def test_lies(key: str, lie: Any, ours: Path) -> None:
    """A meta block in which one thing is wrong, of whatever kind, is refused."""
    refused(ours, lying(ours.read_bytes(), **{key: lie}))


def test_lies_that_fit_together(ours: Path) -> None:
    """More tail rows than a record holds are refused, though all the rest fits; so are tail rows counted twice."""
    data, _ = taken_apart(ours.read_bytes())
    rows = data[:176]
    for tail, records in ((11, 0), (7, 1), (4, 1), (8, 0)):
        size = 16 * (records * 4 + tail)
        table = zlib.crc32(rows[records * 64 : size]).to_bytes(4, "little")
        table = zlib.crc32(rows[:64]).to_bytes(4, "little") * records + table
        place = {"algorithm": "crc32", "offset": size, "count": records + 1}
        _, meta = taken_apart(ours.read_bytes())
        meta.update(records=records, tail_rows=tail, checksums=place)
        refused(ours.parent / "b.hsq", ended(rows[:size] + table, json.dumps(meta).encode()))


def field_lies() -> list[Any]:
    """Return entries that no field may have, in place of the first one: ``["i0", "<i4", [4, 2]]``."""
    dtypes = ["O", "|O", "O8", "|O8", "object", "f4,f4", "<i4,<i4", "(2,)f4", "(3,)f4", "3f4", "f4,O", "V0", "S0", "U0"]
    dtypes += ["S", "U", "V", "a", "a4", "T", "", " ", "<", "f3", "i16", "q9", "M8[x]", "M8[]", "m8[1000000000000s]"]
    dtypes += ["S99999999999", "S2147483648", "U536870912", "V-1", "(-1,)f4", "(1e9,)f4", "(99999999999999999999,)f4"]
    dtypes += ["(((((1)))))f4", "(" * 5000, "(" * 5000 + "1" + ")" * 5000 + "f4", "f4," * 5000, "\0", "f4\0", "\ud800"]
    dtypes += ["{'names': ['a'], 'formats': ['O']}", "__import__('os')f4", "(__import__('os'),)f4", "numpy.object_"]
    dtypes += ["[('a', 'O')]", "i4:i4", "=O", ">O", "datetime64[", "M8[s/3", "c4", "b2", "?2", "g99"]
    found: list[Any] = [["i0", dtype, [4, 2]] for dtype in dtypes]
    found += [["i0", dtype, [4, 2]] for dtype in (None, 4, True, ["<i4"], {"a": 1}, [["a", "<i4"]], [["a", "|O"]])]
    shapes: list[Any] = [
        [99, 2],
        [0, 2],
        [8, 2],
        [],
        [2],
        [2, 4],
        [4],
        [4, 3],
        [4, 2, 2],
        [4, -2],
        [4, 2.0],
        [4, True],
        [4, "2"],
        [4, [2]],
    ]
    shapes += [None, 4, "42", {"4": 2}, [4, 2**31], [4, 2**62], [4, 2**64], [4, 0], [4, 2**62, 2**62], [True, 2]]
    shapes += [[4.0, 2], [4] + [1] * 40 + [2], [4, 2**40, 0], [4, 2**62, 0], [4, None]]
    found += [["i0", "<i4", shape] for shape in shapes]
    found += [["i0", "<i4"], ["i0"], [], None, "i0", {"name": "i0"}, ["i0", "<i4", [4, 2], 1], ["o0", "<i4", [4, 2]]]
    found += [[0, "<i4", [4, 2]], [None, "<i4", [4, 2]], [["i0", "t"], "<i4", [4, 2]], ["<i4", "i0", [4, 2]]]
    return found


@pytest.mark.parametrize("number", range(len(field_lies())), ids=lambda i: repr(field_lies()[i])[:60])
def test_lies_about_a_field(number: int, ours: Path) -> None:
    """A field of objects, of several dtypes, of no bytes, of impossible shapes or dtypes, is refused."""
    entry = field_lies()[number]
    _, meta = taken_apart(ours.read_bytes())
    refused(ours, lying(ours.read_bytes(), dtype=[entry, *meta["dtype"][1:]]))
    # and where nothing else is wrong, since there are no rows
    meta.update(records=0, tail_rows=0, dtype=[entry, *meta["dtype"][1:]])
    meta["checksums"] = {"algorithm": "crc32", "offset": 0, "count": 0}
    ours.write_bytes(ended(b"", json.dumps(meta).encode()))
    tried(ours)


@pytest.mark.parametrize("dtype", ["M8[s/0]", "m8[D/0]", "M8[3s/0]", "<M8[Y/0]"])
def test_dtypes_that_end_the_program(dtype: str, ours: Path) -> None:
    """NumPy divides by what such dtypes say, and ends the program: they must be refused before it sees them."""
    ours.write_bytes(lying(ours.read_bytes(), dtype=[["i0", dtype, [4]], ["o0", "<i8", [4]]]))
    code = (
        "import sys; from pathlib import Path; from tests.test_hsq_hostile import refused; refused(Path(sys.argv[1]))"
    )
    child(code, ours)


def tried(path: Path) -> None:
    """Use a file in all ways; it may be refused in the library's words, and nothing else may happen."""
    for options in ({}, {"use_mmap": False, "copy_buffer": True}):
        try:
            with hs.HyperSequenceFile(path, **options) as hsq:
                used(hsq, path)
        except BatchUpError:
            pass


def used(hsq: hs.HyperSequenceFile, path: Path) -> None:
    """Read all of a file, in all ways; what is read lies in the file."""
    rows, most = 0, path.stat().st_size
    for inputs, outputs in hsq:
        arrays = [a for side in (inputs, outputs) for a in (side if isinstance(side, tuple) else (side,))]
        assert sum(a.nbytes for a in arrays) <= most
        assert len({len(a) for a in arrays}) == 1
        rows += len(arrays[0])
    assert rows <= most
    repr((hsq.dtypes(), hsq.user_meta(), hsq.names, hsq, hsq.columns, hsq.batch_size()))
    for column in hsq.columns.values():
        assert len(column) == rows
        assert column[:].nbytes <= most
        assert len(column[np.arange(rows)[::-1]]) == rows
    if rows:
        assert sum(len(next(iter(batch))) for batch in hsq.data_source().batch_iterator(3, shuffle=1)) == rows
        assert sum(len(next(iter(batch))) for batch in hsq.data_source(by="batch").batch_iterator(3, 1)) == rows
    assert len(hsq.rebatch(3)) == -(-rows // 3)
    list(hsq.rebatch(3))
    pickle.dumps(hsq)
    with suppress(NotImplementedError):  # it has no checksums
        assert all(0 <= found.start < found.stop <= most for found in hsq.verify())


def test_lies_in_twos(ours: Path) -> None:
    """Two lies at once do not make a truth, unless they fit: 800 random pairs."""
    file, rng = ours.read_bytes(), random.Random(5)
    flat = [(key, lie) for key, lies in LIES.items() for lie in lies]
    entries = field_lies()
    for _ in range(800):
        changes = dict(rng.sample(flat, 2))
        if rng.random() < 0.3:
            changes["dtype"] = [rng.choice(entries), ["o0", "<i8", [4]]]
        ours.write_bytes(lying(file, **changes))
        tried(ours)


HUGE = [2**31 - 1, 2**31, 2**40, 2**50, 2**61, 2**63 - 1]


@pytest.mark.parametrize("batch_size", HUGE)
@pytest.mark.parametrize("tail", [0, 3])
def test_huge_batch_sizes(batch_size: int, tail: int, tmp_path: Path) -> None:
    """A batch size that no memory holds, with few or no rows, is refused, or read in what memory the rows take."""
    path = tmp_path / "a.hsq"
    rows = np.arange(tail)
    sums = np.array([zlib.crc32(rows.tobytes())] * bool(tail), "<u4").tobytes()
    meta = {
        "version": "batchup 1",
        "records": 0,
        "batch_size": batch_size,
        "no_inputs": 1,
        "no_outputs": 0,
        "usermeta": {},
        "dtype": [["i0", "<i8", [batch_size]]],
        "tail_rows": tail,
        "checksums": {"algorithm": "crc32", "offset": rows.nbytes, "count": len(sums) // 4},
    }
    path.write_bytes(ended(rows.tobytes() + sums, json.dumps(meta).encode()))
    code = """if True:
        import resource, sys
        from batchup import hypersequence as hs
        from batchup.errors import BatchUpError
        from tests.test_hsq_hostile import used
        from pathlib import Path
        size = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (size + 512 * 2**20, -1))
        for options in ({}, {"use_mmap": False}):
            try:
                with hs.HyperSequenceFile(sys.argv[1], **options) as hsq:
                    used(hsq, Path(sys.argv[1]))
            except BatchUpError as error:
                print(type(error).__name__)
        try:
            hs.HyperSequenceWriter(sys.argv[1], mode="a").close()
        except BatchUpError as error:
            print(type(error).__name__)
    """
    assert set(child(code, path).split()) <= {"FileFormatError", "InvalidValueError"}


def test_many_records_of_no_bytes(tmp_path: Path) -> None:
    """10**18 rows of no bytes fit into any file, and are refused."""
    for entry in (["i0", "<f4", [4, 0]], ["i0", "<f4", [4, 0, 5]]):
        meta = {**meta_of(Arrays((np.empty((0, 2)),)), 4), "records": 10**18, "dtype": [entry]}
        assert "no bytes" in refused(tmp_path / "a.hsq", ended(b"", json.dumps(meta).encode()))
    for records in (1, 10**18):
        meta = {"records": records, "batch_size": 4, "dtype": [], "no_inputs": 0, "no_outputs": 0, "usermeta": {}}
        assert "no bytes" in refused(tmp_path / "a.hsq", ended(b"", json.dumps(meta).encode()))


def test_a_gzip_bomb(tmp_path: Path) -> None:
    """A meta block that would unpack to far more than can be meant is refused before it does."""
    packer = zlib.compressobj(9, wbits=31)
    packed = b"".join(packer.compress(bytes(2**24)) for _ in range(20)) + packer.flush()  # 320 MiB
    said = refused(tmp_path / "a.hsq", packed + ENDED.pack(len(packed), b"HSQ2"), most=200 * 2**20)
    assert "damaged" in said
    packed = gzip.compress(gzip.compress(bytes(2**20)))
    refused(tmp_path / "a.hsq", packed + ENDED.pack(len(packed), b"HSQ2"))


def test_what_is_behind_the_gzip_stream(ours: Path) -> None:
    """Bytes behind the packed meta block, another stream, a stream without its end or checksum: refused."""
    data, meta = taken_apart(ours.read_bytes())
    block = json.dumps(meta).encode()
    packed = gzip.compress(block)
    for bad in (
        packed + b"\0",
        packed + b"rubbish",
        packed + gzip.compress(b""),
        gzip.compress(block[:50]) + gzip.compress(block[50:]),
        b"\0" + packed,
        packed[:-1],
        packed[:-8],
        packed[:-8] + bytes(8),
        packed[:20] + bytes([packed[20] ^ 1]) + packed[21:],
        zlib.compress(block),
        b"",
    ):
        refused(ours, data + bad + ENDED.pack(len(bad), b"HSQ2"))
    for level in (0, 9):
        packed = gzip.compress(block, level)
        ours.write_bytes(data + packed + ENDED.pack(len(packed), b"HSQ2"))
        with hs.HyperSequenceFile(ours) as hsq:
            holds(hsq, numbered(11), 4)


BLOCKS = {
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "text": b'"text"',
    "a number": b"1",
    "NaN": b"NaN",
    "no keys": b"{}",
    "deep lists": b"[" * 200_000,
    "deep lists, closed": b"[" * 200_000 + b"]" * 200_000,
    "deep objects": b'{"a":' * 200_000,
    "deep usermeta": b'{"usermeta":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a number of many digits": b'{"records": ' + b"9" * 100_000 + b"}",
    "exponents": b'{"records": 1e400}',
    "not UTF-8": b'{"records": "\xff\xfe"}',
    "UTF-16": '{"records": 1}'.encode("utf-16"),
    "cut": b'{"records": 2, "batch_size"',
    "two": b"{}{}",
    "single quotes": b"{'records': 2}",
    "code": b"__import__('os').system('false')",
    "pickle": pickle.dumps({"records": 2}),
}


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("old", [False, True])
def test_meta_blocks_that_are_none(name: str, old: bool, tmp_path: Path) -> None:
    """What is no JSON object, or too deep, or not even text, is refused, with the older trailer too."""
    data = records_of(numbered(8), 4)
    refused(tmp_path / "a.hsq", data + b"@@FSEQ@@" + BLOCKS[name][:1000] if old else ended(data, BLOCKS[name]))


def test_keys_that_come_twice(ours: Path) -> None:
    """Of a key that comes twice the last one counts, as everywhere in JSON; nothing is read beyond the file."""
    data, meta = taken_apart(ours.read_bytes())
    block = json.dumps(meta)
    ours.write_bytes(ended(data, (block[:-1] + ', "records": 3}').encode()))
    refused(ours)
    ours.write_bytes(ended(data, ('{"records": 99, ' + block[1:]).encode()))
    with hs.HyperSequenceFile(ours) as hsq:
        holds(hsq, numbered(11), 4)


class Evil:
    """Leaves a trace if it is ever unpickled."""

    def __reduce__(self) -> Any:
        return (eval, ("__import__('builtins').__dict__.update(hsq_was_unpickled=True)",))


def test_nothing_is_ever_unpickled(tmp_path: Path) -> None:
    """Pickles as the meta block, in it, as records of objects or as a journal are never loaded."""
    import builtins

    evil = pickle.dumps(Evil())
    path = tmp_path / "a.hsq"
    refused(path, ended(b"", evil))
    refused(path, b"@@FSEQ@@" + evil)
    refused(path, ended(evil, evil))
    data = evil.ljust(64, b".")
    for dtype in ("|O", "O"):
        meta = {**meta_of(Arrays((np.zeros((8,)),)), 8), "dtype": [["i0", dtype, [8]]]}
        assert "dtype" in refused(path, ended(data[:64], json.dumps(meta).encode()))
    (tmp_path / "a.hsq.partial").write_bytes(data)
    (tmp_path / "a.hsq.partial.journal").write_bytes(evil)
    with pytest.raises(FileFormatError):
        hs.HyperSequenceWriter.recover(path)
    assert not hasattr(builtins, "hsq_was_unpickled")
    pickle.loads(evil)  # the trap works
    assert vars(builtins).pop("hsq_was_unpickled")


# flipped bits


def places(rows: int, size: int) -> list[tuple[int, int]]:
    """Return where the batches of `numbered` rows lie: 16 bytes each."""
    return [(i * 16, min(rows, i + size) * 16) for i in range(0, rows, size)]


def test_every_flipped_bit(ours: Path) -> None:
    """A flipped bit in any byte of the data, or of the checksums, is found: which batch, which bytes."""
    file = ours.read_bytes()
    data, _ = taken_apart(file)
    expected = places(11, 4)
    with hs.HyperSequenceFile(ours) as hsq:
        assert hsq.verify() == []
    for place in range(len(data)):
        bad = bytearray(file)
        bad[place] ^= 1 << place % 8
        ours.write_bytes(bad)
        batch = place // 64 if place < 176 else (place - 176) // 4
        for use_mmap in (True, False):
            with hs.HyperSequenceFile(ours, use_mmap) as hsq:
                (found,) = hsq.verify()
            assert (found.batch, found.start, found.stop) == (batch, *expected[batch])
            assert f"batch {batch} (bytes {found.start} to {found.stop})" in str(found)
            assert "CRC-32" in found.reason
        with pytest.raises(ChecksumError, match=rf"1 batches.*batch {batch} \(bytes"):
            hs.HyperSequenceFile(ours, verify=True)
        with pytest.raises(ChecksumError, match=rf"batch {batch} \(bytes"):
            hs.HyperSequenceWriter(ours, mode="a")
        assert ours.read_bytes() == bytes(bad)
        assert beside(ours) == set()


def test_several_damaged_batches(tmp_path: Path) -> None:
    """All damaged batches are listed, in order; batches that are exchanged are damaged both."""
    path = write(tmp_path / "a.hsq", numbered(100), 8)
    file = bytearray(path.read_bytes())
    for batch in (2, 7, 12):
        file[batch * 128 + 5] ^= 255
    path.write_bytes(file)
    with hs.HyperSequenceFile(path) as hsq:
        assert [found.batch for found in hsq.verify()] == [2, 7, 12]
        assert hsq[3][1].tolist() == list(range(24, 32))  # the others can be read
    file = bytearray(write(path, numbered(100), 8).read_bytes())
    file[:128], file[128:256] = file[128:256], file[:128]
    path.write_bytes(file)
    with hs.HyperSequenceFile(path) as hsq:
        assert [found.batch for found in hsq.verify()] == [0, 1]


def test_large_records_are_verified_in_pieces(tmp_path: Path) -> None:
    """A record larger than what is read at a time is verified as a whole, in little memory."""
    rows = np.arange(24 * 2**18).reshape(24, 2**18)  # 2 MiB each; 20 MiB in a record
    path = write(tmp_path / "a.hsq", Arrays((rows,)), 10)
    del rows
    with open(path, "r+b") as file:
        file.seek(37 * 2**20)
        byte = file.read(1)[0]
        file.seek(37 * 2**20)
        file.write(bytes([byte ^ 4]))
    with hs.HyperSequenceFile(path) as hsq:
        tracemalloc.start()
        try:
            (found,) = hsq.verify()
            assert tracemalloc.get_traced_memory()[1] < 12 * 2**20
        finally:
            tracemalloc.stop()
    assert (found.batch, found.start, found.stop) == (1, 20 * 2**20, 40 * 2**20)


def test_flipped_bits_of_the_description(ours: Path) -> None:
    """A flipped bit in the meta block or the trailer is refused at opening, or changes nothing."""
    file = ours.read_bytes()
    data, meta = taken_apart(file)
    for place in range(len(data), len(file)):
        for bit in range(8):
            bad = bytearray(file)
            bad[place] ^= 1 << bit
            ours.write_bytes(bad)
            try:
                with hs.HyperSequenceFile(ours, verify=True) as hsq:
                    holds(hsq, numbered(11), 4)  # a byte of gzip's header that nobody reads
                    assert hsq.user_meta() == meta["usermeta"]
            except FileFormatError as error:
                assert str(ours) in str(error)  # noqa: PT017


def test_a_file_that_becomes_another(ours: Path) -> None:
    """`verify` of a file that another one has replaced, or that was cut short meanwhile, does not call it sound."""
    with hs.HyperSequenceFile(ours, use_mmap=False) as hsq:
        file = ours.read_bytes()
        ours.write_bytes(file[:100])
        with pytest.raises(FileFormatError):
            hsq.verify()
        ours.write_bytes(file[:20])
        with pytest.raises(FileFormatError, match="shorter"):
            hsq[0]
        with pytest.raises(FileFormatError, match="shorter"):
            hsq.columns["o0"][5:9]
        ours.write_bytes(file)
        assert hsq.verify() == []


def test_a_journal_that_lies(tmp_path: Path) -> None:
    """Recovering believes nothing that is not in the partial file, with the checksum that was noted."""
    path = tmp_path / "a.hsq"

    def left() -> tuple[Path, Path]:
        given_up(path, numbered(21), 4)
        return tmp_path / "a.hsq.partial", tmp_path / "a.hsq.partial.journal"

    for batch in range(5):
        partial, _ = left()
        data = bytearray(partial.read_bytes())
        data[batch * 64 + 3] ^= 8
        partial.write_bytes(data)
        if batch:
            assert hs.HyperSequenceWriter.recover(path) == 4 * batch
            with hs.HyperSequenceFile(path, verify=True) as hsq:
                holds(hsq, numbered(4 * batch), 4)
        else:
            with pytest.raises(FileFormatError, match="0 whole rows"):
                hs.HyperSequenceWriter.recover(path)
    rng = random.Random(3)
    for _ in range(150):
        partial, journal = left()
        if path.exists():
            path.unlink()
        data = bytearray(journal.read_bytes())
        for _ in range(rng.randrange(1, 4)):
            place = rng.randrange(len(data))
            if rng.random() < 0.5:
                data[place] = rng.randrange(256)
            else:
                del data[place : place + rng.randrange(1, 30)]
        journal.write_bytes(data)
        try:
            rows = hs.HyperSequenceWriter.recover(path)
        except BatchUpError:
            assert not path.exists()
        else:
            with hs.HyperSequenceFile(path, verify=True) as hsq:
                assert sum(len(hsq.columns[name]) for name in hsq.columns) == rows * len(hsq.columns)

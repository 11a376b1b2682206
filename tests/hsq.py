"""What the tests of .hsq files share: writing, reading by hand, lying meta blocks, the original package, children."""

from __future__ import annotations

import gzip
import importlib
import json
import os
import struct
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from batchup import hypersequence as hs

ROOT = Path(__file__).parent.parent
DATA = Path(__file__).parent / "data"
ENDED = struct.Struct(">I4s")
UNATTENDED = os.environ.get("BATCHUP_TEST_ALL") == "1"  # once in a run of CI, where it costs the least
DTYPES = [
    *("?", "|i1", "<i2", ">i4", "<i8", "|u1", ">u2", "<u4", ">u8", "<f2", ">f4", "<f8", "<c8", ">c16"),
    *("|S5", "<U3", ">U2", "<M8[D]", ">M8[ns]", "<M8[25s]", "<m8[us]", ">m8[W]", "|V7", np.dtype("g").str),
]


class Arrays(NamedTuple):
    """The arrays of a file, rows first."""

    inputs: tuple[np.ndarray[Any, Any], ...]
    outputs: tuple[np.ndarray[Any, Any], ...] = ()

    @property
    def all(self) -> tuple[np.ndarray[Any, Any], ...]:
        return *self.inputs, *self.outputs

    def __len__(self) -> int:  # type: ignore[override]
        return len(self.all[0])

    def rows(self, rows: Any) -> Arrays:
        """Return some of the rows; one as arrays too, which keep their byte order."""
        return Arrays(tuple(x[rows, ...] for x in self.inputs), tuple(x[rows, ...] for x in self.outputs))

    def batches(self, size: int) -> Iterator[Arrays]:
        """Yield the rows in batches."""
        for start in range(0, len(self), size):
            yield self.rows(slice(start, start + size))


class GivenUpError(Exception):
    """Leaves a writer in the middle of its work."""


def given_up(path: Any, arrays: Arrays, batch_size: int | None = None, meta: Any = None, **options: Any) -> None:
    """Write arrays, and leave the block with an exception."""
    try:
        with hs.HyperSequenceWriter(path, batch_size, **options) as writer:
            writer.user_meta().update(meta or {})
            writer.extend(of(arrays.inputs), of(arrays.outputs))
            raise GivenUpError
    except GivenUpError:
        assert writer.closed


def values(dtype: Any, shape: tuple[int, ...], seed: int = 0) -> np.ndarray[Any, Any]:
    """Return an array of values of any dtype, the same ones each time, few of which are alike."""
    dtype = np.dtype(dtype)
    count = int(np.prod(shape, dtype=int))
    numbers = (np.arange(count, dtype=np.uint64) + np.uint64(seed)) * np.uint64(2654435761) % np.uint64(2**32)
    if dtype.kind in "SU":
        filled = np.array([f"{n:x}"[: dtype.itemsize] for n in numbers.tolist()], dtype=dtype)
    elif dtype.kind == "V":
        filled = np.frombuffer(b"".join(n.to_bytes(4, "big").rjust(dtype.itemsize) for n in numbers.tolist()), dtype)
    elif dtype.kind == "b":
        filled = numbers % np.uint64(3) == 0
    elif dtype.kind in "Mm":
        filled = (numbers % np.uint64(20_000)).astype(np.int64).view(f"{dtype.kind}8[{np.datetime_data(dtype)[0]}]")
        filled = filled.astype(dtype)
    else:
        with np.errstate(over="ignore"):
            filled = (numbers % np.uint64(60_000)).astype(dtype)
    return filled.reshape(shape)


def numbered(rows: int, begin: int = 0) -> Arrays:
    """Return an input of two numbers and an output of one, which tell the row."""
    index = np.arange(begin, begin + rows)
    return Arrays((np.stack([index * 2, index * 3], axis=1).astype(np.int32),), (index,))


def of(arrays: Sequence[Any]) -> Any:
    """Return what `append` and square brackets have for a side: one array, or a tuple."""
    return arrays[0] if len(arrays) == 1 else tuple(arrays)


def write(path: Any, arrays: Arrays, batch_size: int | None = None, meta: Any = None, **options: Any) -> Path:
    """Write arrays, a single piece of work."""
    with hs.HyperSequenceWriter(path, batch_size, **options) as writer:
        if len(arrays):
            writer.extend(of(arrays.inputs), of(arrays.outputs))
        writer.user_meta().update(meta or {})
    return Path(path)


def same(got: Any, expected: Any, where: str = "") -> None:
    """Check that two trees of tuples and arrays agree bit for bit."""
    if isinstance(expected, (tuple, list)):
        assert isinstance(got, (tuple, list)), where
        assert len(got) == len(expected), where
        for i, (a, b) in enumerate(zip(got, expected, strict=True)):
            same(a, b, f"{where}[{i}]")
    else:
        assert got.dtype == expected.dtype, where
        assert got.dtype.str == expected.dtype.str, where
        assert got.shape == expected.shape, where
        assert got.tobytes() == expected.tobytes(), where


def holds(hsq: hs.HyperSequence, arrays: Arrays, size: int) -> None:
    """Check that a sequence gives exactly these rows, in batches of this size."""
    expected = list(arrays.batches(size))
    assert len(hsq) == len(expected)
    for number, (batch, rows) in enumerate(zip(hsq, expected, strict=True)):
        same(batch, (of(rows.inputs), of(rows.outputs)), f"batch {number}")


def opens_with(path: Any, arrays: Arrays, size: int, **options: Any) -> None:
    """Check that a file is sound and gives exactly these rows."""
    with hs.HyperSequenceFile(path, **options) as hsq:
        holds(hsq, arrays, size)
        assert hsq.verify() == []


def beside(path: Any) -> set[str]:
    """Return what lies in the folder of a file, but for it."""
    path = Path(path)
    return {other.name for other in path.parent.iterdir()} - {path.name}


# for the tables of the batteries


def column(array: np.ndarray[Any, Any], folder: Path, **options: Any) -> Any:
    """Return the rows of an array as a column of a file, with a tail."""
    return hs.HyperSequenceFile(write(folder / "column.hsq", Arrays((array,)), 5), **options).columns["i0"]


def source(**options: Any) -> Any:
    """Return a source over the frozen file of 37 rows in batches of 10."""
    return hs.HyperSequenceFile(DATA / "with_tail_names_checksums.hsq").data_source(**options)


# by hand


def ended(data: bytes, block: bytes) -> bytes:
    """Return a file with these records (and whatever is behind them), and this meta block."""
    packed = gzip.compress(block, mtime=0)
    return data + packed + ENDED.pack(len(packed), b"HSQ2")


def taken_apart(file: bytes) -> tuple[bytes, dict[str, Any]]:
    """Return what lies before the meta block of a file, and what that says."""
    size, signature = ENDED.unpack(file[-8:])
    assert signature == b"HSQ2"
    return file[: -8 - size], json.loads(gzip.decompress(file[-8 - size : -8]))


def lying(file: bytes, **changes: Any) -> bytes:
    """Return a file whose meta block says something else; a key whose value is `MISSING` is left out."""
    data, meta = taken_apart(file)
    meta.update(changes)
    kept = {key: value for key, value in meta.items() if value is not MISSING}
    return ended(data, json.dumps(kept).encode())


class Missing:
    """Stands for a key that is left out."""

    def __repr__(self) -> str:
        return "left out"


MISSING = Missing()


def records_of(arrays: Arrays, batch_size: int) -> bytes:
    """Return the whole records of arrays, as the format says: packed, in C order, one behind the other."""
    whole = [part for part in arrays.batches(batch_size) if len(part) == batch_size]
    return b"".join(x.tobytes() for part in whole for x in part.all)


def meta_of(arrays: Arrays, batch_size: int, **more: Any) -> dict[str, Any]:
    """Return the meta block of a file without a tail, as the original writes it."""
    names = [f"i{i}" for i in range(len(arrays.inputs))] + [f"o{i}" for i in range(len(arrays.outputs))]
    return {
        "version": "0.10.0",
        "records": len(arrays) // batch_size,
        "batch_size": batch_size,
        "no_inputs": len(arrays.inputs),
        "usermeta": {},
        "no_outputs": len(arrays.outputs),
        "dtype": [[name, x.dtype.str, [batch_size, *x.shape[1:]]] for name, x in zip(names, arrays.all, strict=True)],
        **more,
    }


def with_old_trailer(arrays: Arrays, batch_size: int, **more: Any) -> bytes:
    """Return a file with the older trailer."""
    text = json.dumps(meta_of(arrays, batch_size, **more)).encode()
    return records_of(arrays, batch_size) + b"@@FSEQ@@" + text


# the original, and children


def original() -> Any:
    """Return the package from PyPI, without TensorFlow, which it would load if it could."""
    if "hypersequence" not in sys.modules:
        names = ("tensorflow", "tensorflow.keras")
        before = {name: sys.modules[name] for name in names if name in sys.modules}
        sys.modules.update(dict.fromkeys(names))  # type: ignore[arg-type]
        try:
            importlib.import_module("hypersequence")
        finally:
            for name in names:
                del sys.modules[name]
            sys.modules.update(before)
    return sys.modules["hypersequence"]


def child(
    code: str, *arguments: Any, timeout: float = 120, environment: dict[str, str] | None = None, warn: str = "error"
) -> str:
    """Return what a program prints, in an interpreter of its own that finds batchup and the tests."""
    command = [sys.executable, "-W", warn, "-c", code, *map(str, arguments)]
    variables = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1", **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, timeout=timeout, env=variables, check=False)
    assert done.returncode == 0, done.stderr or done.stdout or done.returncode
    return done.stdout


def raised_by(function: Callable[[], Any]) -> BaseException | None:
    """Return the exception that a call ends with."""
    try:
        function()
    except BaseException as error:  # noqa: BLE001  that is the question
        return error
    return None

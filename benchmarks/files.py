"""Files of rows and labels, made once for all environments, that every turn finds as warm or as cold as it should."""

from __future__ import annotations

import contextlib
import gzip
import importlib
import itertools
import json
import os
import struct
from collections.abc import Callable, Iterator

import numpy as np
from declared import Work
from pagecache import cached_share, evict, read_through, sync
from slices import Epoch
from sources import Array, make_rows, rows_between

PIECE = 32 << 20
LABELS = 1000
TOO_WARM = 0.02
FLAT = "rows.npy"
HSQ = "rows.hsq"

Pairs = Iterator[tuple[Array, Array]]


class RowFiles:
    """The rows and labels of a piece of work, as a flat file and whatever else contenders make of them."""

    def __init__(self, work: Work, folder: str) -> None:
        self.work = work
        self.labels = labels_of(work)
        self._folder = folder
        self._used: list[str] = []
        self.flat = self.made(FLAT, self._write_flat)

    def made(self, name: str, write: Callable[[str], object]) -> str:
        """Give the path of a file, after `write` has made it unless it is there."""
        path = os.path.join(self._folder, name)
        if not os.path.exists(path):
            write(f"{path}.part")
            os.replace(f"{path}.part", path)
            evict(path)
            read_through(path)
        self._used.append(path)
        return path

    def rows(self) -> Array:
        """Map the flat file into memory."""
        rows: Array = np.load(self.flat, mmap_mode="r")
        return rows

    def pieces(self) -> Pairs:
        """Give the rows and labels, whole batches at a time."""
        step = self.work.batch * max(PIECE // (self.work.batch * self.work.row_bytes), 1)
        for start in range(0, self.work.rows, step):
            rows = rows_between(self.work, start, min(start + step, self.work.rows))
            yield rows, self.labels[start : start + step]

    def one_by_one(self) -> Pairs:
        """Give each row with its label."""
        for rows, labels in self.pieces():
            yield from zip(rows, labels, strict=True)

    def make_ready(self) -> float:
        """Make the files warm or cold before a turn, and tell the share that then lies in the page cache."""
        paths = dict.fromkeys(self._used)
        if not self.work.cold:
            for path in paths:
                # other programs, or a system that puts out what lies idle, may have taken from it
                if cached_share(path) < 1:
                    read_through(path)
            return min(cached_share(path) for path in paths)
        left = max(evict(path) for path in paths)
        if left > TOO_WARM:
            raise ValueError(f"{left:.0%} of a file stayed in the page cache")
        return left

    def _write_flat(self, path: str) -> None:
        with open(path, "wb") as file:
            shape = (self.work.rows, *self.work.shape)
            header = {"descr": np.dtype(self.work.dtype).str, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
            for rows, _ in self.pieces():
                rows.tofile(file)


class ToWrite:
    """Rows and labels in memory that are to be written into a folder."""

    def __init__(self, work: Work, folder: str) -> None:
        self.work = work
        self.rows = make_rows(work)
        self.labels = labels_of(work)
        self.newest = ""
        self._folder = folder
        self._paths: set[str] = set()

    def pieces(self, size: int) -> Pairs:
        """Give the rows and labels, `size` at a time."""
        for start in range(0, len(self.rows), size):
            yield self.rows[start : start + size], self.labels[start : start + size]

    def written(self, suffix: str, write: Callable[[str], object]) -> Epoch:
        """Make an epoch that writes one new file and gives its path."""
        numbers = itertools.count()

        def epoch() -> Iterator[str]:
            path = os.path.join(self._folder, f"{suffix}-{os.getpid()}-{next(numbers)}.{suffix}")
            self._paths.add(path)
            self.newest = path
            write(path)
            sync(path)
            yield path

        return epoch

    def make_ready(self) -> None:
        """Remove what was written, so that no turn pays for it."""
        for path in self._paths:
            with contextlib.suppress(FileNotFoundError):
                os.remove(path)
        self._paths.clear()

    close = make_ready


class ToCreate(ToWrite):
    """Rows that lie in small files, of one row each, out of which one file is to be made."""

    def __init__(self, work: Work, folder: str) -> None:
        super().__init__(work, folder)
        small = os.path.join(folder, "small")
        self.sources = [os.path.join(small, f"{number:06}.npy") for number in range(work.rows)]
        if not os.path.exists(small):
            os.mkdir(f"{small}.part")
            for path, row in zip(self.sources, self.rows, strict=True):
                np.save(os.path.join(f"{small}.part", os.path.basename(path)), row)
            os.replace(f"{small}.part", small)


def labels_of(work: Work) -> Array:
    """Make the labels, which follow from the numbers of the rows."""
    return np.arange(work.rows) % LABELS


def read_back(work: Work, path: str) -> tuple[Array, Array | None]:
    """Read rows and labels out of a file that was written; None where labels are not in it."""
    suffix = path.rpartition(".")[2]
    if suffix == "npy":
        return np.load(path), None
    if suffix == "hsq":
        return read_hsq(path)
    if suffix == "h5":
        with importlib.import_module("h5py").File(path) as file:
            return file["rows"][:], file["labels"][:]
    size = work.rows * work.row_bytes
    raw = np.fromfile(path, np.uint8)
    return raw[:size].view(work.dtype).reshape(work.rows, *work.shape), raw[size:].view(np.int64)


def read_hsq(path: str) -> tuple[Array, Array]:
    """Read a HyperSequence file of whole records by what its format says alone."""
    raw = np.fromfile(path, np.uint8)
    length, signature = struct.unpack(">I4s", raw[-8:].tobytes())
    if signature != b"HSQ2":
        raise ValueError("not a HyperSequence file")
    meta = json.loads(gzip.decompress(raw[-8 - length : -8].tobytes()))
    record = np.dtype([(name, kind, tuple(shape)) for name, kind, shape in meta["dtype"]])
    records = raw[: meta["records"] * record.itemsize].view(record)
    return np.concatenate(records["i0"]), np.concatenate(records["o0"])

"""What reading and writing files can be expected to reach at best."""

from __future__ import annotations

import itertools
import mmap
import os
from collections import deque
from collections.abc import Iterator

import numpy as np
from declared import Work
from files import RowFiles, ToWrite
from slices import Epoch
from sources import Array

from contenders import Way, Ways

PAGE = mmap.PAGESIZE
OUTSTANDING = 1024


def in_sequence(work: Work, files: RowFiles) -> Epoch:
    """The flat file from one end to the other, `os.preadv` of a batch's rows into one buffer; labels in memory."""
    out = np.zeros((work.batch, *work.shape), work.dtype)
    begin = _begin_of_rows(work, files.flat)
    size = work.batch * work.row_bytes
    places = itertools.count()

    def epoch() -> Iterator[tuple[Array, Array]]:
        # cold, every epoch begins elsewhere, so that no cache below this system's has what it reads
        skipped = next(places) * work.rows // 7 // work.batch if work.cold else 0
        with open(files.flat, "rb", buffering=0) as file:
            for number in range(work.rows // work.batch):
                batch = (number + skipped) % (work.rows // work.batch)
                if os.preadv(file.fileno(), [memoryview(out)], begin + batch * size) != size:
                    raise OSError("a short read")
                yield out, files.labels[batch * work.batch : (batch + 1) * work.batch]

    return epoch


def at_random(work: Work, files: RowFiles) -> Epoch:
    """Whole pages at random places, as many bytes as a row but at least 4 KiB, 1,024 asked for ahead by WILLNEED."""
    size = max(-(-work.row_bytes // PAGE) * PAGE, PAGE)
    out = bytearray(size)
    rng = np.random.default_rng(1)
    places = (os.path.getsize(files.flat) - size) // PAGE

    def epoch() -> Iterator[int]:
        due: deque[list[int]] = deque()
        with open(files.flat, "rb", buffering=0) as file:
            for start in range(0, work.rows, work.batch):
                while len(due) * work.batch < OUTSTANDING:
                    due.append((rng.integers(0, places, work.batch) * PAGE).tolist())
                    for offset in due[-1]:
                        os.posix_fadvise(file.fileno(), offset, size, os.POSIX_FADV_WILLNEED)
                for offset in due.popleft():
                    os.preadv(file.fileno(), [out], offset)
                yield start

    return epoch


def _begin_of_rows(work: Work, path: str) -> int:
    return os.path.getsize(path) - work.rows * work.row_bytes


def to_file(_: Work, to: ToWrite) -> Epoch:
    """`rows.tofile(f)`, `labels.tofile(f)`, fsync: the same bytes and nothing else."""

    def write(path: str) -> None:
        with open(path, "wb") as file:
            to.rows.tofile(file)
            to.labels.tofile(file)

    return to.written("bin", write)


def saved(_: Work, to: ToWrite) -> Epoch:
    """`np.save(path, rows)`, fsync; no labels."""
    return to.written("npy", lambda path: np.save(path, to.rows))


READING: dict[str, Way] = {"preadv": in_sequence}
WAYS: Ways = {
    "file": READING,
    "file_hdf5": READING,
    "ids": READING,
    "ids_gzip": READING,
    "file_cold": {**READING, "random reads": at_random},
    "write": {"tofile": to_file, "np.save": saved},
}

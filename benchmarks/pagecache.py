"""How much of a file lies in the page cache, and bringing it in or out."""

from __future__ import annotations

import ctypes
import mmap
import os

import numpy as np

PAGE = mmap.PAGESIZE
PIECE = 8 << 20
ATTEMPTS = 3


def cached_share(path: str) -> float:
    """Tell the share of a file's pages that lie in the page cache, by mincore."""
    size = os.path.getsize(path)
    state = np.zeros(-(-size // PAGE), np.uint8)
    with open(path, "rb") as file, mmap.mmap(file.fileno(), size, prot=mmap.PROT_READ) as mapped:
        held = np.frombuffer(mapped, np.uint8)
        libc = ctypes.CDLL(None, use_errno=True)
        where, result = ctypes.c_void_p(held.ctypes.data), ctypes.c_void_p(state.ctypes.data)
        failed = libc.mincore(where, ctypes.c_size_t(size), result)
        del held
    if failed:
        raise OSError(ctypes.get_errno(), "mincore failed")
    return float((state & 1).mean())


def read_through(path: str) -> None:
    """Bring a file into the page cache from its beginning to its end: read at random it would lie there badly."""
    piece = bytearray(PIECE)
    with open(path, "rb", buffering=0) as file:
        while file.readinto(piece):
            pass


def evict(path: str) -> float:
    """Put a file out of the page cache, and tell the share that is left; pages that somebody has mapped stay."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())
        for _ in range(ATTEMPTS):
            os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            left = cached_share(path)
            if not left:
                break
    return left


def sync(path: str) -> None:
    """Wait until a file is on the disk."""
    with open(path, "rb") as file:
        os.fsync(file.fileno())

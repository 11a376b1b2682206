"""Memory that processes share: files without a name, whose room is taken for real before anybody writes to it."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from batchup.errors import SharedMemoryError

SPARE = 64 * 2**20  # bytes of memory that are left to others


class Place(NamedTuple):
    """Where shared memory may lie."""

    name: str
    free: Callable[[], int]
    create: Callable[[], int]  # returns a file descriptor


def shared_file(size: int, what: str, allocate: bool = True) -> int:
    """Return the descriptor of an unnamed file of a size, in memory if there is room, else on disk.

    It goes with the last process that has it open, however that ends.

    Parameters
    ----------
    size : int
        Bytes.
    what : str
        What it is for, for errors.
    allocate : bool, default True
        Whether to take the room at once; otherwise that is left to `take_room`.

    Raises
    ------
    SharedMemoryError
        If there is no room anywhere.
    """
    refusals = []
    for place in places():
        free = place.free()
        refusals.append(f"{free:,} in {place.name}")
        if free < size:
            continue
        try:
            descriptor = place.create()
        except OSError as error:
            refusals[-1] = f"none in {place.name} ({error.strerror})"
            continue
        try:
            os.ftruncate(descriptor, size)
            if allocate and size:
                take_room(descriptor, 0, size)
        except OSError as error:
            os.close(descriptor)
            refusals[-1] = f"too few in {place.name} ({error.strerror})"
            continue
        return descriptor
    raise SharedMemoryError(f"{what} needs {size:,} bytes of shared memory, and there are {', '.join(refusals)} free")


def take_room(descriptor: int, start: int, size: int) -> None:
    """Take room in a file for real, so that no write to its mapping can fail; an OSError if there is none."""
    if hasattr(os, "posix_fallocate"):
        os.posix_fallocate(descriptor, start, size)
        return
    nothing = bytes(2**20)
    for at in range(start, start + size, len(nothing)):
        os.pwrite(descriptor, nothing[: start + size - at], at)


def most_room() -> int:
    """Return how many bytes the roomiest place has free."""
    return max(place.free() for place in places())


def places() -> list[Place]:
    """Return where shared memory may lie, the best first."""
    directories = [name for name in ("/dev/shm", tempfile.gettempdir()) if os.access(name, os.W_OK)]
    found = [Place(name, lambda n=name: _free_on(n), lambda n=name: _unnamed(n)) for name in directories]  # type: ignore[misc]
    if hasattr(os, "memfd_create"):  # not bounded by the size of /dev/shm, which containers keep small
        found.insert(0, Place("memory", free_memory, lambda: os.memfd_create("batchup", os.MFD_CLOEXEC)))
    return found


def free_memory() -> int:
    """Return how many bytes of memory this process may still take, with some to spare."""
    free = [2**62]
    with suppress(OSError, ValueError, IndexError):
        lines = Path("/proc/meminfo").read_text().splitlines()
        free.append(next(int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")))
    for most, used in (
        ("memory.max", "memory.current"),
        ("memory/memory.limit_in_bytes", "memory/memory.usage_in_bytes"),
    ):
        with suppress(OSError, ValueError):
            root = Path("/sys/fs/cgroup")
            cached = _cached((root / used).parent / "memory.stat")
            free.append(int((root / most).read_text()) - int((root / used).read_text()) + cached)
    return max(0, min(free) - SPARE)


def _cached(statistics: Path) -> int:
    """Return how many bytes of a group's memory hold files that can be read again."""
    for line in statistics.read_text().splitlines():
        name, _, size = line.partition(" ")
        if name in ("inactive_file", "total_inactive_file"):
            return int(size)
    return 0


def _free_on(directory: str) -> int:
    on_disk = os.statvfs(directory)
    room = on_disk.f_bavail * on_disk.f_frsize
    return min(room, free_memory()) if directory == "/dev/shm" else room


def _unnamed(directory: str) -> int:
    with tempfile.TemporaryFile(dir=directory) as file:
        return os.dup(file.fileno())


def private_map(descriptor: int, size: int) -> mmap.mmap:
    """Map a file so that what is written to it stays with whoever wrote it."""
    return mmap.mmap(descriptor, size, access=mmap.ACCESS_COPY)

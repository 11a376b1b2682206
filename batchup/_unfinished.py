"""A file that another library writes, beside its name, until it is whole."""

from __future__ import annotations

import contextlib
import io
import os
import shutil
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO

from batchup._extras import required
from batchup._files import PARTIAL, check_named, full_disk_named, keep_permissions, leave, opened_alone, remove, rename
from batchup.errors import FileFormatError

BUFFER = 2**20
PIECE = 16 * 2**20  # bytes that are read at a time


class Unfinished:
    """A file that somebody else writes under ``<path>.partial``, until it takes its name.

    Parameters
    ----------
    path : str
        The name.
    """

    def __init__(self, path: str) -> None:
        self.path = os.path.realpath(path)
        self.partial = self.path + PARTIAL
        self._file = opened_alone(self.partial, anew=True)

    @contextlib.contextmanager
    def hdf5(self, copied: bool = False, **options: Any) -> Iterator[Any]:
        """Have it as an HDF5 file, empty or a copy of what has the name, until the block ends; as often as need be.

        Options are those of `h5py.File`.
        """
        h5py = required("h5py", "hdf5", "writing HDF5 files")
        self._file.truncate(0)
        if copied:
            self._file.seek(0)
            with open(self.path, "rb") as file:
                shutil.copyfileobj(file, Whole(self._file), PIECE)
        forgiving = _Forgiving(self._file.fileno())
        try:
            with h5py.File(forgiving, "r+" if copied else "w", **options) as file:
                yield file
        except (OSError, RuntimeError) as error:
            self._raise(forgiving.error)
            if isinstance(error, FileFormatError):
                raise
            raise FileFormatError(f"{self.path}: h5py cannot write it: {error}") from error
        self._raise(forgiving.error)

    def _raise(self, error: BaseException | None) -> None:
        """Raise an error, if there was one while the file was written."""
        if error is not None:
            with full_disk_named(self.path):
                raise error from None

    @contextlib.contextmanager
    def plain(self) -> Iterator[BinaryIO]:
        """Have it as an empty file, with a buffer, until the block ends."""
        self._file.truncate(0)  # of a program that was killed
        buffered = io.BufferedRandom(_Named(self._file.fileno(), self.path), BUFFER)
        try:
            yield buffered
            buffered.flush()
        finally:
            with contextlib.suppress(OSError):  # which `flush` has raised, or something came before it
                buffered.detach()

    def take(self) -> None:
        """Give the file its name, now that it is whole."""
        with full_disk_named(self.path):
            os.fsync(self._file.fileno())
        check_named(self._file, self.partial)
        keep_permissions(self._file.fileno(), self.path)
        rename(self.partial, self.path)
        leave(self._file)

    def discard(self) -> None:
        """Remove it."""
        if not self._file.closed:
            remove(self._file, self.partial)
            leave(self._file)


@contextlib.contextmanager
def part_beside(path: str) -> Iterator[BinaryIO]:
    """Have an unnamed file in the folder of a file that is being written, for what is to go there later."""
    with (
        tempfile.TemporaryFile(dir=os.path.dirname(os.path.realpath(path)), buffering=0) as file,
        io.BufferedRandom(_Named(file.fileno(), path), BUFFER) as buffered,
    ):
        yield buffered


class _Named(io.FileIO):
    """An open file that has a name if the disk is full."""

    def __init__(self, descriptor: int, path: str) -> None:
        super().__init__(descriptor, "r+b", closefd=False)
        self._path = path

    def write(self, data: Any) -> int:
        with full_disk_named(self._path):
            return super().write(data)


class _Forgiving:
    """A file as h5py takes it, which tells of the first error only in the end.

    h5py cannot close a file after an error: it keeps it open, and complains at random later.
    """

    read = None  # by which h5py knows a file

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._place = 0
        self.error: BaseException | None = None

    def seek(self, place: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._place, os.SEEK_END: os.fstat(self._descriptor).st_size}[whence]
        self._place = base + place
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, room: Any) -> int:
        done = os.preadv(self._descriptor, [room], self._place)
        room[done:] = bytes(len(room) - done)
        self._place += len(room)
        return len(room)

    def write(self, data: Any) -> int:
        left, place = memoryview(data), self._place
        with self._forgiven():
            while left:
                written = os.pwrite(self._descriptor, left, place)
                left, place = left[written:], place + written
        self._place += len(data)
        return len(data)

    def truncate(self, size: int) -> int:
        with self._forgiven():
            os.ftruncate(self._descriptor, size)
        return size

    def flush(self) -> None:
        pass

    @contextlib.contextmanager
    def _forgiven(self) -> Iterator[None]:
        try:
            yield
        except BaseException as error:  # noqa: BLE001  KeyboardInterrupt too
            self.error = self.error or error


class Whole:
    """Writes all that it is given to a file without a buffer, or raises."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def write(self, data: Any) -> int:
        left = memoryview(data)
        while left:
            left = left[self._file.write(left) :]
        return len(data)

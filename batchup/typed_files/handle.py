"""An HDF5 file that each process opens for itself, and all its threads share."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

from batchup.errors import FileBusyError, FileFormatError, InvalidValueError
from batchup.typed_files.layout import h5py
from batchup.typed_files.safety import restore

MODES = ("r", "r+", "a", "w", "w-", "x")
_BUSY = ("lock file", "already open", "consistency flags")
_inherited: list[Any] = []  # files of the process that this one was forked off: closing them here would write to them


class Handle:
    """Opens a file when it is first used, and closes it when nobody uses it any more, unless it is to stay open.

    It is opened for reading until it is written to, so that other processes can read it, too.

    Parameters
    ----------
    path : str
        Name of the file.
    mode : str
        Of `h5py.File`. A file that is made anew is made once, and written to from then on.
    keep_open : bool
        Whether it stays open until `close`.
    options : mapping
        Further arguments of `h5py.File`.
    """

    def __init__(self, path: str, mode: str, keep_open: bool, options: Mapping[str, Any]) -> None:
        if mode not in MODES:
            raise InvalidValueError(f"mode must be one of {', '.join(MODES)}, got {mode!r}")
        self.path = path
        self.mode = mode
        self.keep_open = keep_open
        self.options = dict(options)
        self.generation = 0  # how often somebody else may have written to it
        self._status: tuple[int, ...] | None = None
        self._begin()

    def _begin(self) -> None:
        self._free = threading.Condition(threading.RLock())
        self._file: Any = None
        self._users: Counter[int] = Counter()  # by thread
        self._lent = False
        self._process = os.getpid()
        _handles.add(self)

    @property
    def writable(self) -> bool:
        """Whether it may be written to."""
        return self.mode != "r"

    @property
    def being_written(self) -> bool:
        """Whether this process has it open for writing."""
        file = self._file
        return bool(file) and self._process == os.getpid() and file.mode != "r"

    @property
    def in_memory(self) -> bool:
        """Whether it is on no disk, so that closing it would lose it."""
        return self.options.get("driver") == "core" and not self.options.get("backing_store", True)

    @contextlib.contextmanager
    def use(self, writing: bool = False) -> Iterator[Any]:
        """Have the file open while the block lasts; who is to write waits until others have read.

        Raises
        ------
        InvalidValueError
            If it is to be written to, and is open for reading only.
        FileBusyError
            If somebody else is writing it, or reading while it is to be written to.
        FileFormatError
            If it is no HDF5 file, or damaged.
        """
        thread = threading.get_ident()
        self._check_process()
        with self._free:
            file = self._opened(writing)
            self._users[thread] += 1
        try:
            yield file
        finally:
            with self._free:
                self._users -= Counter([thread])
                if not self._users:
                    self._free.notify_all()
                    if not self.keep_open and not self._lent and not self.in_memory:
                        self.close()

    def lend(self) -> Any:
        """Return the open file, which stays open until `close`."""
        self._check_process()
        with self._free:
            self._lent = True
            return self._opened(self.writable)

    def close(self) -> None:
        """Close the file in this process; it is opened again when it is used again."""
        with self._free:
            if self._file and self._process == os.getpid():
                self._file.close()
                self._status = _status(self.path)
            self._file, self._lent = None, False

    def flush(self) -> None:
        """Write what is in memory to the file."""
        with self._free:
            if self._file and self._process == os.getpid() and self._file.mode != "r":
                self._file.flush()

    def release(self) -> None:
        """Leave nothing in memory that has to be written, and let others read, if that can be."""
        with self._free:
            written = self._file and self._process == os.getpid() and self._file.mode != "r"
            if written and not (self._users or self._lent or self.in_memory or self._file.swmr_mode):
                self.close()
        self.flush()

    def _check_process(self) -> None:
        if self._process != os.getpid():
            _inherited.append(self._file)
            self._begin()

    def _opened(self, writing: bool) -> Any:
        if writing and not self.writable:
            raise InvalidValueError(f"{self.path} is open for reading: open it with mode='r+' to write to it")
        if writing and self._file and self._file.mode == "r":
            self._wait_for_others()
            self._file.close()
        if not self._file:  # h5py's way to say that it was closed
            self._file = self._open(writing)
        return self._file

    def _wait_for_others(self) -> None:
        thread = threading.get_ident()
        if self._users[thread]:
            raise FileBusyError(f"{self.path} cannot be written to while it is being read by the same thread")
        self._free.wait_for(lambda: not self._users)

    def _open(self, writing: bool) -> Any:
        if self.mode in ("r", "r+", "a"):
            restore(self.path)
        try:
            file = self._opened_by_h5py(writing)
        except FileExistsError:
            raise
        except OSError as error:
            raise _clear(error, self.path) from error
        if self.writable:
            self.mode = "r+"
        if self._status != _status(self.path):
            self.generation += 1
        return file

    def _opened_by_h5py(self, writing: bool) -> Any:
        mode = "r" if self.mode == "r+" and not writing else self.mode
        if mode in ("r", "r+"):
            with open(self.path, "rb" if mode == "r" else "r+b"):
                pass  # raises what h5py would tell in many words
        return h5py().File(self.path, mode, **self.options)

    def __getstate__(self) -> dict[str, Any]:
        if self.in_memory:
            raise InvalidValueError(f"{self.path} lies in the memory of this process: it cannot be sent to others")
        self.release()
        return {
            "path": os.path.abspath(self.path),
            "mode": self.mode,
            "keep_open": self.keep_open,
            "options": self.options,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(**state)  # type: ignore[misc]

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()


_handles: weakref.WeakSet[Handle] = weakref.WeakSet()


def _release_all() -> None:
    """Leave nothing in memory that a forked process would write once more."""
    for handle in list(_handles):
        with contextlib.suppress(Exception):
            handle.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_release_all)


def _status(path: str) -> tuple[int, ...] | None:
    with contextlib.suppress(OSError):
        status = os.stat(path)
        return status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns
    return None


def _clear(error: OSError, path: str) -> OSError:
    """Return the error to be raised for one of h5py."""
    if isinstance(error, (FileNotFoundError, PermissionError, IsADirectoryError, FileBusyError, FileFormatError)):
        return error
    if isinstance(error, BlockingIOError) or any(words in str(error) for words in _BUSY):
        return FileBusyError(
            f"{path} is open elsewhere, in a way that shuts out this one: HDF5 files have one writer, or any number of "
            f"readers (data sources count, too). Close it there; swmr=True reads while it is written ({error})"
        )
    if error.errno is not None:
        return error
    return FileFormatError(f"{path} is no HDF5 file, or damaged: {error}")

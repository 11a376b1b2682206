"""An HDF5 file that each process opens for itself, and all its threads share."""

from __future__ import annotations

import contextlib
import os
import threading
import weakref
from collections.abc import Iterator, Mapping
from typing import Any

from batchup._unfinished import Unfinished
from batchup.errors import FileBusyError, FileFormatError, InvalidValueError
from batchup.typed_files.layout import check_options, h5py
from batchup.typed_files.safety import claimed, forget_backup, restore

MODES = ("r", "r+", "a", "w", "w-", "x")
WHEN_MADE = ("fs_strategy", "fs_persist", "fs_threshold", "fs_page_size", "track_order")  # options of new files only
_BUSY = ("lock file", "already open", "consistency flags")
_inherited: list[Any] = []  # files of the process that this one was forked off: closing them here would write to them


class Handle:
    """Opens a file when it is first used, and closes it when nobody uses it any more, unless it is to stay open.

    Any number of threads read at a time, or one writes. The file is opened for reading until it is written to, so that
    other processes can read it, too.

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
        self._turn = threading.Condition(threading.Lock())
        self._file: Any = None
        self._readers: dict[int, int] = {}  # by thread, how often
        self._writer: int | None = None
        self._depth = self._waiting = self._held = 0
        self._lent = self._to_close = False
        self.noting = threading.RLock()  # to be held while what is known of the file is brought up to date
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
        """Have the file open while the block lasts, to read with others, or to write alone.

        Raises
        ------
        InvalidValueError
            If it is to be written to, and is open for reading only.
        FileBusyError
            If somebody else is writing it, or reading while it is to be written to.
        FileFormatError
            If it is no HDF5 file, or damaged.
        """
        if writing:
            self.check_writable()
        if self._process != os.getpid():
            _inherited.append(self._file)
            self._begin()
            self.generation += 1  # what is known may have been locked by a thread that is not here
        with self._turn:
            self._enter(writing)
            try:
                file = self._opened(writing)
            except BaseException:
                self._leave()
                raise
        try:
            yield file
        finally:
            with self._turn:
                self._leave()

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Have the file closed while the block lasts, and no other thread use it; see `resume`."""
        with self._turn:
            self._enter(writing=True)
            self._close()  # HDF5 marks files that are open, and so would be their copies
        try:
            yield
        finally:
            with self._turn:
                self._leave()

    def check_writable(self) -> None:
        """Raise unless the file may be written to."""
        if not self.writable:
            raise InvalidValueError(f"{self.path} is open for reading: open it with mode='r+' to write to it")

    def _enter(self, writing: bool) -> None:
        """Wait for one's turn; who has it already need not."""
        thread = threading.get_ident()
        if self._writer == thread:
            self._depth += 1
        elif not writing:
            if thread not in self._readers:
                self._turn.wait_for(lambda: self._writer is None and not self._waiting)
            self._readers[thread] = self._readers.get(thread, 0) + 1
        elif thread in self._readers:
            raise FileBusyError(f"{self.path} cannot be written to while it is being read by the same thread")
        else:
            self._wait()
            self._writer, self._depth = thread, 1

    def _wait(self) -> None:
        """Wait until nobody uses the file; who comes later waits longer."""
        self._waiting += 1
        try:
            self._turn.wait_for(lambda: self._writer is None and not self._readers)
        finally:
            self._waiting -= 1
            self._turn.notify_all()

    def _leave(self) -> None:
        thread = threading.get_ident()
        if self._writer == thread:
            self._depth -= 1
            self._writer = thread if self._depth else None
        else:
            left = self._readers.pop(thread) - 1
            if left:
                self._readers[thread] = left
        if self._writer is None and not self._readers:
            stays = self.keep_open or self._held or self._lent or self.in_memory
            try:
                if self._to_close or not stays:
                    self._close()
            finally:
                self._turn.notify_all()

    def lend(self) -> Any:
        """Return the open file, which stays open until `close`."""
        with self.use(writing=self.writable) as file:
            self._lent = True
            return file

    def hold(self) -> None:
        """Keep the file open until `unhold` has been called as often."""
        with self._turn:
            self._held += 1

    def unhold(self) -> None:
        """Close the file, if nobody else holds it."""
        with self._turn:
            self._held = max(0, self._held - 1)
            last = not self._held and not self.in_memory
        if last:
            self.close()

    def close(self) -> None:
        """Close the file in this process, once nobody uses it; it is opened again when it is used again."""
        if self._process != os.getpid():
            return
        with self._turn:
            thread = threading.get_ident()
            if self._writer == thread or thread in self._readers:
                self._to_close = True  # when this thread is done
                return
            self._wait()
            self._close()

    def interrupt(self) -> None:
        """Close the file at once, though the caller is writing it: it may be about to be replaced."""
        with self._turn:
            self._close()

    def resume(self, **options: Any) -> Any:
        """Open the file again within `alone`, with further options, until `interrupt`."""
        with self._turn:
            self._file = self._open(True, **options)
            return self._file

    def flush(self) -> None:
        """Write what is in memory to the file."""
        if self.being_written:
            with self.use(writing=True) as file:
                file.flush()

    def release(self) -> None:
        """Leave nothing in memory that has to be written, and let others write, if nobody is at it just now."""
        if self._process != os.getpid() or not self._turn.acquire(blocking=False):
            return
        try:
            if not self._file or not self.writable or self._writer is not None or self._readers:
                return
            if self._lent or self.in_memory or self._file.swmr_mode:
                self._file.flush()
            else:
                self._close()
        finally:
            self._turn.release()

    def _close(self) -> None:
        self._to_close = self._lent = False
        if self._file:
            file, self._file = self._file, None
            opened = _status_of(file)
            file.close()
            status = _status(self.path)
            same = opened is None or (status is not None and status[:2] == opened[:2])
            self._status = status if same else None  # somebody has replaced it
        self._file = None

    def _opened(self, writing: bool) -> Any:
        if writing and self._file and self._file.mode == "r":
            self._close()
        if not self._file:  # h5py's way to say that it was closed
            self._lent = False
            self._file = self._open(writing)
        return self._file

    def _open(self, writing: bool, **options: Any) -> Any:
        if self.mode in ("r", "r+", "a") and "driver" not in self.options:
            restore(self.path)
        before = _status(self.path)  # opening may change it already
        try:
            file = self._opened_by_h5py(writing, {**self.options, **options})
        except FileExistsError:
            raise
        except OSError as error:
            raise _clear(error, self.path) from error
        if self.writable:
            self.mode = "r+"
        opened = _status_of(file)
        replaced = opened is not None and before is not None and opened[:2] != before[:2]
        if self._status is None or self._status != before or replaced:
            self.generation += 1
        return file

    def _opened_by_h5py(self, writing: bool, options: dict[str, Any]) -> Any:
        on_disk = "driver" not in self.options
        if self.mode == "w" and on_disk:
            self._make_anew()
            self.mode = "r+"
        mode = "r" if self.mode == "r+" and not writing else self.mode
        if mode not in ("r", "r+", "a") or not on_disk:
            return h5py().File(self.path, mode, **options)
        there = mode != "a" or os.path.exists(self.path)
        if there:
            with open(self.path, "rb" if mode == "r" else "r+b"):
                pass  # raises what h5py would tell in many words
        if mode == "r+":
            self._check_alone()
        options = {name: value for name, value in options.items() if not there or name not in WHEN_MADE}
        return h5py().File(self.path, mode, **options)

    def _make_anew(self) -> None:
        """Put an empty file in the place of what is there: who has that mapped keeps it."""
        check_options(self.options)
        with claimed(self.path, alone=True), contextlib.ExitStack() as stack:
            unfinished = Unfinished(self.path)
            stack.callback(unfinished.discard)
            with unfinished.hdf5(**self.options):
                pass
            unfinished.take()
            forget_backup(self.path)

    def _check_alone(self) -> None:
        """Raise if something else of this process has the file open for writing, which HDF5 would allow."""
        for other in list(_handles):
            if other is not self and other.being_written and _same(other.path, self.path):
                raise FileBusyError(f"{self.path} is open elsewhere in this program, for writing: close it there")

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
            if self._process == os.getpid():
                self._close()


_handles: weakref.WeakSet[Handle] = weakref.WeakSet()


def _release_all() -> None:
    """Leave nothing in memory that a forked process would write once more."""
    for handle in list(_handles):
        with contextlib.suppress(Exception):
            handle.release()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_release_all)


def _same(one: str, other: str) -> bool:
    with contextlib.suppress(OSError):
        return os.path.samefile(one, other)
    return False


def _status_of(file: Any) -> tuple[int, ...] | None:
    """Return by what it is seen that an open file is another one, or was written to."""
    try:
        return _status(file.id.get_vfd_handle()) if file.driver == "sec2" else None
    except (NotImplementedError, OSError, RuntimeError, ValueError):
        return None


def _status(file: str | int) -> tuple[int, ...] | None:
    with contextlib.suppress(OSError):
        status = os.stat(file)
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

"""What will soon be read from a file, asked of the kernel ahead, if it is not in memory already."""

from __future__ import annotations

import contextlib
import os
import queue
import threading
from collections.abc import Iterable
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from batchup.columns.files import OpenFile
from batchup.errors import FileFormatError, InvalidValueError

Place: TypeAlias = tuple[int, int]  # first byte, number of bytes

PROBES = 4  # places that are looked at to see whether a file is in memory
COLD = 8  # how often to ask without looking, once something was found missing
WARM = 64  # how often in a row nothing was missing, after which ...
SELDOM = 16  # ... it is looked only so seldom
GAP = 4096  # bytes between two ranges that are not worth two requests
IDLE = 1.0  # seconds after which the thread ends

_WAITS_NOT: int | None = getattr(os, "RWF_NOWAIT", None)  # Linux
_AVAILABLE = _WAITS_NOT is not None and hasattr(os, "posix_fadvise")


class Readahead:
    """Asks for parts of a file ahead of need.

    A file that is in memory is left alone, since asking for what is there costs more than it saves. So some places
    are looked at first, without waiting.

    Parameters
    ----------
    file : OpenFile or None
        Where they lie; None once it is closed.
    """

    def __init__(self, file: OpenFile | None) -> None:
        self._file = file
        self._cold = self._warm = 0

    def expect(self, starts: NDArray[np.int64], size: int) -> bool:
        """Ask for `size` bytes from each of these places on; return whether some had to be asked for."""
        file = self._file
        if file is None or self.idle() or not len(starts):
            return False
        if self._cold:
            self._cold -= 1
        elif (there := self._in_memory(file, starts)) or size == 0:
            self._warm += 1
            return False
        elif there is not None:
            self._cold, self._warm = COLD, 0
        _helper.ask(file, starts, size)
        return True

    def idle(self) -> bool:
        """Return whether there is nothing to be asked now, whatever will be read; to be called once for each read."""
        if self._file is None or not _AVAILABLE:
            return True
        if self._warm > WARM and self._warm % SELDOM:
            self._warm += 1
            return True
        return False

    @property
    def cold(self) -> bool:
        """Whether parts of the file had to be asked for lately."""
        return self._cold > 0

    def fetch(self, places: Iterable[Place], out: NDArray[np.uint8]) -> None:
        """Read some places into `out`, one behind the other.

        That waits for no more than is asked for, and lets other threads work; while to touch a page of a mapping that
        is not in memory has the kernel read megabytes around it, and may hold up all threads.
        """
        if self._file is None:
            raise InvalidValueError("the file has been closed")
        descriptor, room, begin = self._file.fileno(), out.data, 0
        for start, size in places:
            end = begin + size
            while begin < end:
                done = os.preadv(descriptor, [room[begin:end]], start)
                if not done:
                    raise FileFormatError("a file has become shorter since it was opened")
                begin, start = begin + done, start + done

    def _in_memory(self, file: OpenFile, starts: NDArray[np.int64]) -> bool | None:
        """Return whether some places, and so perhaps all, are in memory; None if the file system cannot tell."""
        assert _WAITS_NOT is not None
        byte = bytearray(1)
        try:
            for start in starts[:: max(1, len(starts) // PROBES)][:PROBES].tolist():
                os.preadv(file.fileno(), [byte], start, _WAITS_NOT)
        except BlockingIOError:
            return False
        except OSError:
            return None
        return True


class _Helper:
    """One thread for all files, since asking may have to wait; it ends when there is nothing to ask."""

    def __init__(self) -> None:
        self._wanted: queue.SimpleQueue[tuple[OpenFile, NDArray[np.int64], int]] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None

    def ask(self, file: OpenFile, starts: NDArray[np.int64], size: int) -> None:
        self._wanted.put((file, starts, size))
        if self._thread is None or not self._thread.is_alive():
            self._thread = threading.Thread(target=self._run, name="batchup readahead", daemon=True)
            with contextlib.suppress(RuntimeError):  # no more threads can be started; the reader will wait instead
                self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                file, starts, size = self._wanted.get(timeout=IDLE)
            except queue.Empty:
                return
            for start, length in ranges(starts, size):
                with contextlib.suppress(OSError):
                    os.posix_fadvise(file.fileno(), start, length, os.POSIX_FADV_WILLNEED)
            del file


def ranges(starts: NDArray[np.int64], size: int) -> list[Place]:
    """Return the start and length of the stretches of a file that hold `size` bytes from each place on.

    >>> ranges(np.array([90000, 0, 100]), 100)
    [(0, 200), (90000, 100)]
    """
    ordered = np.sort(starts)
    first = np.flatnonzero(np.diff(ordered, prepend=-size - GAP - 1) > size + GAP)
    last = np.append(first[1:], len(ordered)) - 1
    return list(zip(ordered[first].tolist(), (ordered[last] - ordered[first] + size).tolist(), strict=True))


_helper = _Helper()

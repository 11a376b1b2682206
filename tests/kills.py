"""What the tests of crashes share: processes that are killed, exceptions at any line, disks without room."""

from __future__ import annotations

import contextlib
import dis
import os
import random
import resource
import signal
import sys
import time
import traceback
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import batchup

FILES = str(Path(batchup.__file__).parent / "_files.py")  # which belongs to every package that writes


class Killer:
    """Has processes killed at lines, or before and after system calls.

    Parameters
    ----------
    kind : str
        ``'lines'`` or ``'calls'``.
    package : str
        The folder whose lines count.
    calls : sequence of str
        The functions of `os` that count.

    Attributes
    ----------
    left : int
        How many events are left.
    """

    def __init__(self, kind: str, package: str, calls: Sequence[str]) -> None:
        self._kind = kind
        self._code = (package, FILES)
        self._calls = calls
        self.left = 0

    def begin(self, count: int) -> None:
        """Have this process killed at the `count`-th event."""
        self.left = count
        if self._kind == "lines":
            sys.settrace(self._trace)
            return
        for name in self._calls:
            setattr(os, name, self._around(getattr(os, name)))
        os.pwrite = _torn(os.pwrite)

    def _event(self) -> None:
        self.left -= 1
        if self.left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
            time.sleep(10)

    def _trace(self, frame: Any, what: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith(self._code):
            return None
        self._event()
        return self._trace

    def _around(self, function: Any) -> Any:
        def called(*args: Any, **kwargs: Any) -> Any:
            self._event()
            result = function(*args, **kwargs)
            self._event()
            return result

        return called


def _torn(function: Any) -> Any:
    """Return a write that takes half of what it is given, as it may."""

    def called(descriptor: int, data: Any, start: int) -> int:
        half = len(data) // 2
        done: int = function(descriptor, data[:half] if half else data, start)
        return done

    return called


def in_a_fork(job: Callable[[], None], delay: float | None = None) -> int:
    """Run a job in a forked process, killed after a delay if one is given; return how it ended."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of frameworks that other tests have loaded, which do not like forks
        pid = os.fork()
    if pid == 0:
        code = 1
        try:
            job()
            code = 0
        except BaseException:  # noqa: BLE001
            traceback.print_exc()
        finally:
            os._exit(code)
    if delay is not None:
        time.sleep(delay)
        os.kill(pid, signal.SIGKILL)
    return os.waitpid(pid, 0)[1]


def last_event(ended: Callable[[int], bool]) -> int:
    """Return the number of the last event at which a job can be killed; `ended` tells whether it ended before one."""
    most = 1
    while not ended(most):
        most *= 2
    low = most // 2
    while most - low > 1:
        middle = (low + most) // 2
        low, most = (low, middle) if ended(middle) else (middle, most)
    return low


class OutOfTheBlueError(KeyboardInterrupt):
    """Raised at any line, as Ctrl-C may be."""


@dataclass
class Ran:
    """The lines that ran, and where among them an exception was raised."""

    lines: list[tuple[str, int]] = field(default_factory=list)
    place: str = "nowhere"

    def points(self, times: int) -> list[int]:
        """Return numbers of events such that each line is among them, a few times if it ran so often."""
        by_line: dict[Any, list[int]] = {}
        for number, line in enumerate(self.lines, 1):
            by_line.setdefault(line, []).append(number)
        rng = random.Random(7)
        return sorted(n for numbers in by_line.values() for n in rng.sample(numbers, min(len(numbers), times)))


def _leaves_with(frame: Any) -> bool:
    """Return whether a frame is about to call `__exit__` at the end of a `with` block, where no signal can come in.

    A trace function can raise there, after the block and before its end, so that a lock would be kept for ever.
    """
    exits = _exits.get(frame.f_code)
    if exits is None:
        code = [one for one in dis.get_instructions(frame.f_code) if one.opname not in ("CACHE", "PRECALL", "NOP")]
        exits = _exits[frame.f_code] = {
            before.offset if before.opname in ("SWAP", "ROT_TWO") else one.offset  # which keep what is returned
            for before, one, second, third, call in zip(code, code[1:], code[2:], code[3:], code[4:], strict=False)
            if one.opname == "LOAD_CONST" and one.argval is None
            if all(same.opname == "DUP_TOP" or same.argval is None for same in (second, third))
            if call.opname.startswith("CALL")
        }
    return frame.f_lasti in exits


_exits: dict[Any, set[int]] = {}


@contextlib.contextmanager
def raising(count: int, package: str, spared: Callable[[Any], bool]) -> Iterator[Ran]:
    """Raise an error at the `count`-th line of a package that runs, but for frames that are to be spared."""
    ran = Ran()

    def trace(frame: Any, what: str, argument: Any) -> Any:
        if not frame.f_code.co_filename.startswith((package, FILES)) or spared(frame):
            return None
        if what == "line" and not _leaves_with(frame):
            ran.lines.append((frame.f_code.co_filename, frame.f_lineno))
            if len(ran.lines) == count:
                ran.place = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno} in {frame.f_code.co_name}"
                raise OutOfTheBlueError("out of the blue")
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield ran
    finally:
        sys.settrace(before)


@contextlib.contextmanager
def room_for(size: int) -> Iterator[None]:
    """Let no file of this process grow beyond a size."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))

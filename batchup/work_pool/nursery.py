"""The process from which a pool's workers come, which tells how each ends, and ends them all when the pool has gone."""

from __future__ import annotations

import contextlib
import gc
import os
import selectors
import signal
import subprocess
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from functools import partial
from multiprocessing import spawn
from multiprocessing.connection import Connection, Pipe
from typing import Any

from batchup.errors import InvalidValueError
from batchup.work_pool.descriptors import receive_descriptor, send_descriptor
from batchup.work_pool.worker import flush, serve

Wait = Callable[[], Any]

START_METHODS = ("forkserver", "spawn", "fork")
_LOOK = 0.5  # seconds after which to look whether the main program still lives, though its end shows at once
_NEWS = 1.0  # seconds that the news of a death may take
_FAREWELL = 5.0  # seconds that it may take to end all workers


class Nursery:
    """The main program's end.

    The main module is never imported again, which `multiprocessing` would do: what workers need from it is sent to
    them by value. Workers are forked from a fresh interpreter that has loaded batchup, or started afresh, or forked
    from a copy of the main program as it is now.

    Parameters
    ----------
    start_method : {'forkserver', 'spawn', 'fork'}
        Where workers come from.
    arena : int
        Descriptor of the shared memory that they write to.
    tell_end : callable
        Told the process id of each worker that has ended.
    """

    def __init__(self, start_method: str, arena: int, tell_end: Callable[[int], None]) -> None:
        self._tell_end = tell_end
        self._ends: dict[int, int] = {}
        self._news = threading.Condition()
        self._gone = False
        self._sending = threading.Lock()
        self._pipe, theirs = Pipe()
        self._begun: Future[Wait] = Future()
        if start_method == "fork":
            self._begun.set_result(_forked(theirs.fileno(), arena, self._pipe.fileno()))
        begin = partial(_begun, theirs.fileno(), arena, start_method == "spawn")
        self._thread = threading.Thread(
            target=self._look_after, args=(begin, theirs), name="batchup nursery", daemon=True
        )
        try:
            self._thread.start()
            self._begun.result()
        except BaseException:
            self._dismiss()
            raise

    def start(self, connection: int, stack: int, number: int) -> None:
        """Have a worker started, to which these descriptors are given; an OSError if the nursery has ended."""
        with self._sending:
            try:
                self._pipe.send_bytes(number.to_bytes(4, "little"))
                send_descriptor(self._pipe, connection)
                send_descriptor(self._pipe, stack)
            except OSError:
                self._gone = True
                raise

    def end_of(self, pid: int) -> str:
        """Return how a worker ended, that is known to have done so."""
        with self._news:
            self._news.wait_for(lambda: pid in self._ends or self._gone, _NEWS)
            status = self._ends.pop(pid, None)
        if status is None:
            return "it is gone"
        code = os.waitstatus_to_exitcode(status)
        if code >= 0:
            return f"it exited with status {code}"
        hint = ", perhaps for want of memory" if code == -signal.SIGKILL else ""
        names = {int(known): known.name for known in signal.Signals}
        return f"it was killed by signal {-code} ({names.get(-code, 'a real-time one')}{hint})"

    @property
    def gone(self) -> bool:
        """Whether it has ended."""
        return self._gone

    def close(self) -> None:
        """End all workers."""
        self._dismiss()
        if threading.current_thread() is not self._thread:
            self._thread.join(_FAREWELL)
        with contextlib.suppress(OSError):
            self._pipe.close()

    def _dismiss(self) -> None:
        with contextlib.suppress(OSError):
            self._pipe.send_bytes(b"")

    def _look_after(self, begin: Callable[[], Wait], theirs: Connection) -> None:
        """Begin the interpreter, where it is one: here, since Ctrl-C interrupts only the main thread."""
        try:
            if not self._begun.done():
                self._begun.set_result(begin())
        except Exception as error:  # noqa: BLE001
            self._begun.set_exception(error)
            return
        finally:
            theirs.close()
        self._listen()
        self._begun.result()()

    def _listen(self) -> None:
        pipe = self._pipe
        with contextlib.suppress(EOFError, OSError, TypeError):
            while True:
                pid, status = pipe.recv()
                with self._news:
                    self._ends[pid] = status
                    self._news.notify_all()
                self._tell_end(pid)
        with self._news:
            self._gone = True
            self._news.notify_all()


def check_start_method(start_method: Any) -> None:
    """Raise unless workers can be started in this way, here and now."""
    if start_method not in START_METHODS:
        raise InvalidValueError(f"start_method must be one of {START_METHODS}, got {start_method!r}")
    others = [thread.name for thread in threading.enumerate() if thread is not threading.current_thread()]
    if start_method == "fork" and others:
        raise InvalidValueError(
            f"start_method='fork' copies the program while other threads run ({', '.join(others)}), and what they hold "
            "locked stays locked for ever in the copy: make the pool before they start, or use 'forkserver'"
        )


def tend(descriptor: int, arena: int, program: int, spawns: bool) -> None:
    """Be the nursery, and never return.

    Parameters
    ----------
    descriptor : int
        Of the socket to the main program.
    arena : int
        Of the shared memory.
    program : int
        Process id of the main program.
    spawns : bool
        Whether each worker is a fresh interpreter.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    pipe = Connection(descriptor)
    wake, woken = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(wake, False)
    signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    selector = selectors.PollSelector()  # it has no descriptor of its own
    ours = (descriptor, wake, woken)
    selector.register(pipe, selectors.EVENT_READ)
    selector.register(wake, selectors.EVENT_READ)
    gc.freeze()  # so that workers do not copy what they share with us
    alive: set[int] = set()
    try:
        while os.getppid() == program:
            for key, _ in selector.select(_LOOK):
                if key.fileobj == wake:
                    os.read(wake, 4096)
                    continue
                number = pipe.recv_bytes()
                if not number:
                    return
                connection, stack = receive_descriptor(pipe), receive_descriptor(pipe)
                alive.add(_started(connection, stack, arena, int.from_bytes(number, "little"), spawns, ours))
                os.close(connection)
                os.close(stack)
            for end in _ended(alive):
                pipe.send(end)
    except (EOFError, OSError):
        pass
    finally:
        for pid in alive:
            with contextlib.suppress(OSError):
                os.kill(pid, signal.SIGKILL)
        for pid in alive:
            with contextlib.suppress(OSError):
                os.waitpid(pid, 0)
        os._exit(0)


def _ended(alive: set[int]) -> list[tuple[int, int]]:
    """Return which workers have ended, and how."""
    ended = [(pid, status) for pid in alive for found, status in [os.waitpid(pid, os.WNOHANG)] if found]
    alive.difference_update(pid for pid, _ in ended)
    return ended


def _started(connection: int, stack: int, arena: int, number: int, spawns: bool, others: Sequence[int]) -> int:
    if spawns:
        code = (
            f"import sys; sys.path[:] = {_search_path()!r}; from batchup.work_pool.worker import serve; "
            f"serve({connection}, {stack}, {arena}, {number})"
        )
        worker = subprocess.Popen([*_interpreter(), "-c", code], pass_fds=(connection, stack, arena))
        worker.returncode = 0  # it is waited for with all others
        return worker.pid
    pid = _fork()
    if pid == 0:
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            for descriptor in others:
                os.close(descriptor)
            serve(connection, stack, arena, number)
        finally:
            os._exit(1)
    return pid


def _begun(descriptor: int, arena: int, spawns: bool) -> Wait:
    """Begin the nursery as a fresh interpreter; return what waits for its end."""
    code = (
        f"import sys; sys.path[:] = {_search_path()!r}; from batchup.work_pool.nursery import tend; "
        f"tend({descriptor}, {arena}, {os.getpid()}, {spawns})"
    )
    process = subprocess.Popen(
        [*_interpreter(), "-c", code],
        stdin=subprocess.DEVNULL,
        pass_fds=(descriptor, arena),
        start_new_session=True,  # so that Ctrl-C reaches the main program alone
    )
    return process.wait


def _forked(descriptor: int, arena: int, ours: int) -> Wait:
    """Fork the nursery off the main program; return what waits for its end."""
    program = os.getpid()
    pid = _fork()
    if pid == 0:
        try:
            os.close(ours)
            tend(descriptor, arena, program, spawns=False)
        finally:
            os._exit(1)

    def wait() -> None:
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)

    return wait


def _fork() -> int:
    flush()  # or what was printed would be written twice
    with warnings.catch_warnings():
        # Python 3.12 counts the threads of numerical libraries too, which look after themselves when forked
        warnings.simplefilter("ignore", DeprecationWarning)
        return os.fork()


def _search_path() -> list[str]:
    """Return where modules are looked for; what is no text there is looked at by nobody."""
    return [entry for entry in sys.path if isinstance(entry, str)]


def _interpreter() -> Sequence[str]:
    """Return the command that starts an interpreter like this one."""
    return [os.fsdecode(spawn.get_executable()), *subprocess._args_from_interpreter_flags()]  # type: ignore[attr-defined]

"""A worker process: it reads chunks of data sources and calls functions, until its pool has gone."""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import mmap
import os
import pickle
import random
import signal
import sys
import threading
from multiprocessing.connection import Connection
from queue import SimpleQueue
from time import perf_counter
from typing import Any

import numpy as np

from batchup.data_source.passes import Pass
from batchup.errors import InvalidTypeError
from batchup.work_pool.arena import Slot
from batchup.work_pool.chunks import Figures, read
from batchup.work_pool.descriptors import receive_descriptor
from batchup.work_pool.packing import Packed, Room, portable
from batchup.work_pool.pickling import rebuilt_source

SHOW_STACK = signal.SIGUSR2
PROGRESS = 32  # bytes in which a worker leaves word of what it is at
_WALKS = 64  # passes that a worker remembers


def serve(connection: int, stack: int, arena: int, number: int) -> None:
    """Be worker `number` of a pool, and never return.

    Parameters
    ----------
    connection : int
        Descriptor of the socket to the pool.
    stack : int
        Descriptor of the pipe to which the stack is written on demand.
    arena : int
        Descriptor of the shared memory.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the main program, which ends us
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    with open(stack, "wb", buffering=0, closefd=False) as file:
        faulthandler.register(SHOW_STACK, file, all_threads=False)
        random.seed()
        np.random.seed()
        gc.enable()
        _Worker(Connection(connection), arena, number).work()


class _Worker:
    """What a worker knows: the sources and passes that it was told of, and the memory that it writes to."""

    def __init__(self, connection: Connection, arena: int, number: int) -> None:
        self._connection = connection
        memory = np.frombuffer(mmap.mmap(arena, os.fstat(arena).st_size), np.uint8)
        self._progress = memory[number * PROGRESS :][:PROGRESS].view(np.int64)  # tasks begun, batch, unpacking
        self._room = Room(memory, self._more)
        self._tasks: SimpleQueue[Any] = SimpleQueue()
        self._slots: SimpleQueue[Slot | None] = SimpleQueue()
        self._sources: dict[int, Any] = {}
        self._walks: dict[bytes, tuple[int, Pass]] = {}

    def work(self) -> None:
        """Do what comes, in order."""
        threading.Thread(target=self._listen, daemon=True).start()
        self._send(("up", os.getpid()))
        while True:
            kind, *arguments = self._tasks.get()
            if kind == "source":
                self._progress[2] = 1
                self._sources[arguments[0]] = _rebuilt(*arguments[1:])
                self._progress[2] = 0
                self._send(("ready",))
            elif kind == "drop":
                self._sources.pop(arguments[0], None)
            else:
                self._send(self._done(kind, *arguments))
                flush()  # the end of a worker comes without notice
            del arguments

    def _listen(self) -> None:
        """Take in all that comes, so that the pool is never kept waiting; end with the pool."""
        try:
            while True:
                message = pickle.loads(self._connection.recv_bytes())
                if message[0] == "slot":
                    self._slots.put(message[1])
                    continue
                if message[0] == "source":
                    _, number, pickled, has_file = message
                    message = ("source", number, pickled, receive_descriptor(self._connection) if has_file else None)
                self._tasks.put(message)
        except (EOFError, OSError):
            os._exit(0)

    def _done(self, kind: str, slot: Slot | None, *arguments: Any) -> Any:
        """Do a task; return the message that says how it went."""
        self._progress[:2] = self._progress[0] + 1, 0
        self._room.enter(slot)
        try:
            if kind == "read":
                batches, figures = self._read(*arguments)
            else:
                function, args = pickle.loads(arguments[0])
                batches, figures = function(*args), Figures()
            begin = perf_counter()
            packed = self._packed(batches)
            return "done", packed, figures._replace(transporting=perf_counter() - begin)
        except BaseException as error:  # noqa: BLE001  it is raised where the result is asked for
            return "failed", *portable(error)

    def _read(self, header: bytes, chunk: bytes) -> tuple[Any, Figures]:
        if header not in self._walks:
            if len(self._walks) >= _WALKS:
                self._walks.clear()
            number, fields = pickle.loads(header)
            self._walks[header] = number, Pass(**fields, memory=self._room.empty)
        number, walk = self._walks[header]
        source = self._sources[number]
        if isinstance(source, BaseException):
            raise source
        return read(source, pickle.loads(chunk), walk, self._note)

    def _packed(self, result: Any) -> Packed:
        try:
            return self._room.pack(result)
        except (TypeError, AttributeError, pickle.PicklingError) as error:
            raise InvalidTypeError(f"a result that cannot be sent back from a worker process: {error}") from error

    def _note(self, batch: int) -> None:
        """Leave word of which batch of a chunk is begun, for those who come after us."""
        self._progress[1] = batch

    def _more(self, size: int) -> Slot | None:
        self._send(("need", size))
        return self._slots.get()

    def _send(self, message: Any) -> None:
        try:
            self._connection.send_bytes(pickle.dumps(message, 5))
        except OSError:  # the pool has gone
            os._exit(0)


def _rebuilt(pickled: bytes, descriptor: int | None) -> Any:
    """Return a source, or what went wrong: an error of every task that needs it."""
    try:
        return rebuilt_source(pickled, descriptor)
    except BaseException as error:  # noqa: BLE001
        return error


def flush() -> None:
    """Write out what was printed."""
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError, OSError, ValueError):
            stream.flush()

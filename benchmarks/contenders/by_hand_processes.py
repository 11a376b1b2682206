"""Batches brought from two processes as one would by hand with what multiprocessing has."""

from __future__ import annotations

import multiprocessing
import pickle
from collections import deque
from collections.abc import Callable, Iterator
from multiprocessing import resource_tracker
from multiprocessing.shared_memory import SharedMemory
from typing import Any

import numpy as np
from declared import Work
from sources import Array

from contenders import Closing, Ways

WORKERS = 2
AHEAD = 2
FORK: Any = multiprocessing.get_context("fork")  # the rows need not be brought to the workers

HELD: deque[SharedMemory] = deque()

Send = Callable[[Any, Array], None]
Receive = Callable[[Any], Iterator[Array]]


def queue(work: Work, rows: Array) -> Closing:
    """`queue.put(X[indices])`, `queue.get()`, one multiprocessing.Queue for each worker."""

    def channel() -> tuple[Any, Any]:
        made = FORK.Queue()
        return made, made

    return _workers(work, rows, channel, lambda channel, batch: channel.put(batch), _got)


def pipe(work: Work, rows: Array) -> Closing:
    """`connection.send(X[indices])`, `connection.recv()`, one multiprocessing.Pipe for each worker."""
    return _workers(work, rows, _pipe, lambda channel, batch: channel.send(batch), _received)


def out_of_band(work: Work, rows: Array) -> Closing:
    """`X[indices]` pickled by protocol 5, its buffers copied out of band into a fresh shared_memory segment."""
    return _workers(work, rows, _pipe, _send_out_of_band, _received_out_of_band)


def _pipe() -> tuple[Any, Any]:
    return FORK.Pipe(duplex=False)


def _got(channel: Any) -> Iterator[Array]:
    yield channel.get()


def _received(channel: Any) -> Iterator[Array]:
    yield channel.recv()


def _send_out_of_band(channel: Any, batch: Array) -> None:
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(batch, protocol=5, buffer_callback=buffers.append)
    raw = buffers[0].raw()
    segment = SharedMemory(create=True, size=raw.nbytes)
    segment.buf[: raw.nbytes] = raw
    channel.send((head, segment.name, raw.nbytes))
    segment.close()


def _received_out_of_band(channel: Any) -> Iterator[Array]:
    head, name, size = channel.recv()
    segment = SharedMemory(name)
    segment.unlink()
    yield pickle.loads(head, buffers=[segment.buf[:size]])
    HELD.append(segment)
    while HELD and _closed(HELD[0]):
        HELD.popleft()


def _closed(segment: SharedMemory) -> bool:
    """Close a segment unless its batch is still held."""
    try:
        segment.close()
    except BufferError:
        return False
    return True


def _workers(work: Work, rows: Array, channel: Callable[[], tuple[Any, Any]], send: Send, receive: Receive) -> Closing:
    """Start the workers; each has two batches asked for ahead, as PyTorch's have."""
    resource_tracker.ensure_running()  # before the fork: one for all
    asks, answers, processes = [], [], []
    for _ in range(WORKERS):
        (wanted, ask), (answer, give) = FORK.Pipe(duplex=False), channel()
        process = FORK.Process(target=_serve, args=(rows, wanted, give, send), daemon=True)
        process.start()
        asks.append(ask)
        answers.append(answer)
        processes.append(process)
    rng = np.random.RandomState(1)

    def epoch() -> Iterator[Array]:
        permutation = rng.permutation(work.rows)
        starts = deque(range(0, work.rows, work.batch))
        asked = 0

        def ask_next() -> None:
            nonlocal asked
            if starts:
                start = starts.popleft()
                asks[asked % WORKERS].send(permutation[start : start + work.batch])
                asked += 1

        for _ in range(WORKERS * AHEAD):
            ask_next()
        given = 0
        try:
            while given < asked:
                given += 1
                yield from receive(answers[(given - 1) % WORKERS])
                ask_next()
        finally:
            # an epoch that is left early is owed the rest of what was asked for
            for number in range(given, asked):
                for batch in receive(answers[number % WORKERS]):
                    del batch

    def close() -> None:
        for process in processes:
            process.kill()
            process.join()

    return Closing(epoch, close)


def _serve(rows: Array, wanted: Any, give: Any, send: Send) -> None:
    while True:
        send(give, rows[wanted.recv()])


WAYS: Ways = {
    "transport": {"mp.Queue": queue, "Pipe": pipe, "pickle 5 out of band": out_of_band},
}

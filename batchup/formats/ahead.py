"""Blocks that are read by a thread while those before are written."""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterable
from queue import Empty, Queue
from typing import Any

WAITING = 2  # blocks that are read ahead
LOOK = 0.2  # seconds until a thread looks whether anybody still wants what it has


def read_ahead(blocks: Iterable[Any], most: int = WAITING) -> Generator[Any, None, None]:
    """Yield what an iterable yields, which a thread asks for ahead of need; its error comes at its place.

    The thread ends with the iterator, also when that is closed early.

    >>> list(read_ahead(range(3)))
    [0, 1, 2]
    """
    queue: Queue[Any] = Queue(most)
    stop = threading.Event()
    thread = threading.Thread(target=_fill, args=(blocks, queue, stop), name="batchup reading", daemon=True)
    thread.start()
    try:
        while True:
            kind, what = _next(queue)
            if kind == "end":
                return
            if kind == "error":
                raise what
            yield what
            del what
    finally:
        stop.set()
        while thread.is_alive():
            _drain(queue)
            thread.join(LOOK / 10)


def _next(queue: Queue[Any]) -> Any:
    while True:
        try:
            return queue.get(timeout=LOOK)  # not for ever, so that Ctrl-C is seen wherever it comes
        except Empty:
            continue


def _drain(queue: Queue[Any]) -> None:
    while not queue.empty():
        queue.get_nowait()


def _fill(blocks: Iterable[Any], queue: Queue[Any], stop: threading.Event) -> None:
    """Put what an iterable yields into a queue, until nobody wants it any more."""
    iterator = iter(blocks)
    try:
        for block in iterator:
            queue.put(("block", block))
            if stop.is_set():
                return
            del block
        queue.put(("end", None))
    except BaseException as error:  # noqa: BLE001  it is raised by who asks
        queue.put(("error", error))
    finally:
        getattr(iterator, "close", lambda: None)()

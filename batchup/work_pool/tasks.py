"""What is given to worker processes to do."""

from __future__ import annotations

from typing import Any

from batchup.work_pool.arena import Slot
from batchup.work_pool.packing import unpack
from batchup.work_pool.tickets import Ticket


class Task(Ticket):
    """Something that a worker process is to do.

    Parameters
    ----------
    message : tuple
        What the worker is told: a kind, and bytes.
    source : int, optional
        Number of the source that it must know.
    expected : int
        How large the result probably is, in bytes; 0 if that is not known.
    """

    __slots__ = ("deaths", "expected", "message", "slots", "source")

    def __init__(self, message: tuple[Any, ...], source: int | None = None, expected: int = 0) -> None:
        super().__init__()
        self.message = message
        self.source = source
        self.expected = expected
        self.deaths = 0
        self.slots: list[Slot] = []  # the last one is where the worker writes


class Chunk(Task):
    """A chunk of a source that a worker is to read; the result is its batches, the figures and the bytes."""

    __slots__ = ()

    def result(self) -> Any:
        packed, figures = super().result()
        return unpack(packed), figures, packed.bytes


class Call(Task):
    """A function that a worker is to call; the result is what it returns."""

    __slots__ = ()

    def result(self) -> Any:
        packed, _ = super().result()
        return unpack(packed)

"""What is given to worker processes to do."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from batchup.work_pool.arena import Slot
from batchup.work_pool.packing import unpack
from batchup.work_pool.tickets import Ticket

if TYPE_CHECKING:
    from batchup.work_pool.crew import Crew


class Task(Ticket):
    """Something that a worker process is to do.

    Parameters
    ----------
    crew : Crew
        Who does it.
    message : tuple
        What the worker is told: a kind, and bytes.
    source : int, optional
        Number of the source that it must know.
    expected : int
        How large the result probably is, in bytes; 0 if that is not known.
    """

    __slots__ = ("_crew", "deaths", "expected", "message", "slots", "source")

    def __init__(self, crew: Crew, message: tuple[Any, ...], source: int | None = None, expected: int = 0) -> None:
        super().__init__()
        self._crew = crew
        self.message = message
        self.source = source
        self.expected = expected
        self.deaths = 0
        self.slots: list[Slot] = []

    def result(self) -> Any:
        """Wait for the result; return ``(value, figures, bytes)``."""
        packed, figures = super().result()
        arrays = self._crew.handed_out(self.slots.pop(), packed) if self.slots else packed.arrays
        return unpack(packed, arrays), figures, packed.bytes

    def cancel(self) -> None:
        super().cancel()
        if self.wait(0):
            self.give_back()

    def give_back(self) -> None:
        """Return the slots to the arena, in its own time: this may be called from anywhere."""
        with contextlib.suppress(IndexError):  # others may do so at the same time
            while True:
                self._crew.returned.append(self.slots.pop())

    def __del__(self) -> None:
        self.give_back()


class Call(Task):
    """A function that a worker process is to call."""

    __slots__ = ()

    def result(self) -> Any:
        value, _, _ = super().result()
        return value

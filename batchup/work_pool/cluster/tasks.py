"""What is given to the workers of a cluster to do."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

from batchup.sampling.chunks import batch_count
from batchup.work_pool.chunks import Figures, single_batches
from batchup.work_pool.cluster.views import Ledger, Reply
from batchup.work_pool.packing import unpack
from batchup.work_pool.tickets import Ticket


class Task(Ticket):
    """Something that a worker is to do.

    Parameters
    ----------
    kind : str
        Which method of the worker does it.
    ledger : Ledger
        Counts what of the object store its result takes.

    Attributes
    ----------
    source : int or None
        Number of the source that the worker must know.
    files : tuple of str
        Files that the worker must see.
    expected : int
        How large the result probably is, in bytes; 0 if that is not known.
    deaths : int
        How many workers died of it.
    urgent : bool
        Whether somebody waits for it.
    homeless : float
        Since when no node is known that sees its files; 0 if there is one.
    """

    __slots__ = ("_charged", "_hurry", "_ledger", "deaths", "expected", "files", "homeless", "kind", "source", "urgent")

    def __init__(self, kind: str, ledger: Ledger, hurry: Callable[[Task], None]) -> None:
        super().__init__()
        self.kind = kind
        self.source: int | None = None
        self.files: tuple[str, ...] = ()
        self.expected = 0
        self.deaths = 0
        self.urgent = False
        self.homeless = 0.0
        self._ledger = ledger
        self._charged = 0
        self._hurry = hurry

    def arguments(self) -> tuple[Any, ...]:
        """Return what the worker's method is given."""
        raise NotImplementedError

    def take(self, reply: Reply) -> bool:
        """Take what a worker answered; return whether that was all, or there is more to do."""
        self.succeed(reply)
        return True

    def charge(self, size: int) -> None:
        """Have so many bytes more counted as taken by the result."""
        self._charged += size
        self._ledger.note(coming=size)

    def refund(self) -> None:
        """Have them counted as free: the result is here, or will not come."""
        self._ledger.note(coming=-self._charged)
        self._charged = 0

    def __del__(self) -> None:
        self.refund()

    @property
    def batch(self) -> int:
        """Which batch of several the worker is at."""
        return 0

    @property
    def is_single(self) -> bool:
        """Whether it is known what of it killed its worker."""
        return True

    def wait(self, seconds: float = -1) -> bool:
        if not self.urgent and not super().wait(0):
            self.urgent = True
            self._hurry(self)
        return super().wait(seconds)


class Call(Task):
    """A function that a worker is to call; the result is what it returns."""

    __slots__ = ("_pickled",)

    def __init__(self, pickled: bytes, ledger: Ledger, hurry: Callable[[Task], None]) -> None:
        super().__init__("call", ledger, hurry)
        self._pickled = pickled

    def arguments(self) -> tuple[Any, ...]:
        return (self._pickled,)

    def result(self) -> Any:
        reply = super().result()
        self.refund()
        return unpack(self._ledger.admitted(reply))


class Chunk(Task):
    """A chunk of a source that a worker is to read; the result is its batches, the figures and the bytes.

    Once a worker has died of it, its batches are read one by one, so that it is known which of them kills.
    """

    __slots__ = ("_chunk", "_done", "_header", "_singles")

    def __init__(self, header: bytes, chunk: Any, ledger: Ledger, hurry: Callable[[Task], None]) -> None:
        super().__init__("read", ledger, hurry)
        self._header = header
        self._chunk = chunk
        self._singles: Sequence[Any] = ()
        self._done: list[Reply] = []

    def arguments(self) -> tuple[Any, ...]:
        if self.deaths and not self._singles and batch_count(self._chunk) > 1:
            self._singles = list(single_batches(self._chunk))
        chunk = self._singles[len(self._done)] if self._singles else self._chunk
        return self._header, pickle.dumps(chunk, 5)

    def take(self, reply: Reply) -> bool:
        self._done.append(reply)
        if self._singles and len(self._done) < len(self._singles):
            return False
        self.succeed(self._done)
        return True

    @property
    def batch(self) -> int:
        return len(self._done)

    @property
    def is_single(self) -> bool:
        return bool(self._singles) or batch_count(self._chunk) == 1

    def result(self) -> Any:
        batches: list[Any] = []
        figures, size = Figures(), 0
        replies = super().result()
        self.refund()
        for reply in replies:
            batches += unpack(self._ledger.admitted(reply))
            figures = Figures(*map(sum, zip(figures, reply.figures, strict=True)))
            size += reply.bytes
        self._done.clear()
        return batches, figures, size

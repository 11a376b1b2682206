"""Verbs that go through the items again, keep them, or fetch them ahead: repeat, cache, prefetch."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue
from typing import Any

from batchup._indices import Indices
from batchup.errors import StateError
from batchup.pipeline.stage import Run, Stage, from_place, known, numbered

ATTENTIVE = 0.5  # seconds after which one who waits looks whether the other is still there


class Repeated(Stage):
    """The items again and again; the orders of each repetition are others."""

    verb = "repeat"

    def __init__(self, parent: Stage, times: int) -> None:
        self.parents = (parent,)
        self.where = parent.where
        self.times = times
        self.given = (times,)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        length = self.parents[0].length()
        first = 0
        if known(length) and length:
            first, start = divmod(start, int(length))
        return from_place(self._from(first, run, start if known(length) else 0), 0 if known(length) else start)

    def _from(self, first: int, run: Run, start: int) -> Iterator[Any]:
        number = first
        while self.times < 0 or number < self.times:
            any_left = bool(start)
            for item in self.parents[0].items(run.repetition(number), start):
                any_left = True
                yield item
            if not any_left:
                return  # of nothing, there is no end
            number, start = number + 1, 0

    def length(self) -> int | float | None:
        length = self.parents[0].length()
        if self.times == 0 or length == 0:
            return 0
        if self.times < 0:
            return None if length is None else math.inf
        return length if length is None else length * self.times

    @property
    def endless(self) -> bool:
        return self.length() == math.inf or (self.length() is None and (self.times < 0 or self.parents[0].endless))

    @property
    def random_access(self) -> bool:
        return self.parents[0].random_access and self.times >= 0

    def item(self, index: int, run: Run) -> Any:
        number, place = divmod(index, int(self.parents[0].length() or 1))
        return self.parents[0].item(place, run.repetition(number))

    def shape(self) -> Any:
        return self.parents[0].shape()


class Cached(Stage):
    """The items of the first pass, kept; those that nobody has asked for yet are made when they are.

    They are those of the first epoch, whatever is drawn.
    """

    verb = "cache"

    def __init__(self, parent: Stage) -> None:
        self.parents = (parent,)
        self.where = parent.where
        self._kept: list[Any] = []
        self._rest: Iterator[Any] | None = None
        self._made_by: Run | None = None
        self._entropy: int | None = None  # that of the first pass
        self._over = False
        self._lock = threading.RLock()

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        place = start
        try:
            while self._has(place, run):
                yield self._kept[place]
                place += 1
        finally:
            if self._made_by is run and self._with_helpers:
                self._rest = self._made_by = None  # what the pass was at belongs to its workers, which end with it

    def length(self) -> int | float | None:
        return len(self._kept) if self._over else self.parents[0].length()

    @property
    def random_access(self) -> bool:
        return self.parents[0].random_access

    def item(self, index: int, run: Run) -> Any:
        return self._kept[index] if index < len(self._kept) else self.parents[0].item(index, self._as_first(run))

    def shape(self) -> Any:
        return self.parents[0].shape()

    def _has(self, place: int, run: Run) -> bool:
        """Return whether there is an item at a place, once all up to it are kept."""
        if place < len(self._kept):
            return True
        with self._lock:
            while not self._over and place >= len(self._kept):
                if self._rest is None:
                    self._rest = self.parents[0].items(self._as_first(run), len(self._kept))
                    self._made_by = run if self._with_helpers else None
                try:
                    self._kept.append(next(self._rest))
                except StopIteration:
                    self._over, self._rest, self._made_by = True, None, None
                except BaseException:
                    self._rest = self._made_by = None
                    raise
            return place < len(self._kept)

    def _as_first(self, run: Run) -> Run:
        if self._entropy is None:
            self._entropy = run.entropy
        return run.first(self._entropy)

    @property
    def _with_helpers(self) -> bool:
        return any(stage.where is not None or isinstance(stage, Prefetched) for stage in numbered(self))

    def __getstate__(self) -> dict[str, Any]:
        return {"parent": self.parents[0], "kept": self._kept if self._over else None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["parent"])  # type: ignore[misc]
        self._kept, self._over = state["kept"] or [], state["kept"] is not None


class Prefetched(Stage):
    """The items, made by a thread ahead of need."""

    verb = "prefetch"

    def __init__(self, parent: Stage, count: int) -> None:
        self.parents = (parent,)
        self.where = parent.where
        self.count = count
        self.given = (count,)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        return ahead(lambda: self.parents[0].items(run, start), self.count, run)

    def length(self) -> int | float | None:
        return self.parents[0].length()

    @property
    def random_access(self) -> bool:
        return self.parents[0].random_access

    def item(self, index: int, run: Run) -> Any:
        return self.parents[0].item(index, run)

    def gather(self, indices: Indices, run: Run) -> Any:
        return self.parents[0].gather(indices, run)

    def shape(self) -> Any:
        return self.parents[0].shape()


def ahead(begin: Callable[[], Iterator[Any]], count: int, run: Run) -> Iterator[Any]:
    """Yield items that a thread makes, at most so many ahead of need; when this is closed, it ends."""
    maker = _Maker(begin, count)
    run.helped_by(maker)
    try:
        while True:
            there, made = maker.next()
            if not there:
                if made is not None:
                    raise made
                return
            yield made
            del made
    finally:
        maker.end()


class _Maker:
    """A thread that makes items, and puts them where they wait for whoever asks."""

    def __init__(self, begin: Callable[[], Iterator[Any]], count: int) -> None:
        self._made: SimpleQueue[tuple[bool, Any]] = SimpleQueue()  # True and an item, or False and an error or None
        self._room = threading.Semaphore(count)
        self._over = threading.Event()
        self._thread = threading.Thread(
            target=_make, args=(begin, self._made, self._room, self._over), name="batchup prefetch", daemon=True
        )
        self._thread.start()

    def next(self) -> tuple[bool, Any]:
        """Return what has been made next, once it is."""
        while True:
            try:
                made = self._made.get(timeout=ATTENTIVE)
            except Empty:
                if not self._thread.is_alive() and self._made.empty():  # in a process that was forked off, it is not
                    raise StateError("the thread that prefetches items is not in this process: begin anew") from None
            else:
                self._room.release()
                return made

    def end(self) -> None:
        """Have the thread end, and wait for it."""
        self._over.set()
        self._room.release()
        if self._thread is not threading.current_thread():
            self._thread.join()


def _make(
    begin: Callable[[], Iterator[Any]],
    made: SimpleQueue[tuple[bool, Any]],
    room: threading.Semaphore,
    over: threading.Event,
) -> None:
    """Make items as long as there is room for them."""
    try:
        items = begin()
        while room.acquire() and not over.is_set():
            try:
                made.put((True, next(items)))
            except StopIteration:
                break
        if hasattr(items, "close"):
            items.close()
    except BaseException as error:  # noqa: BLE001  it is raised where the items are asked for
        made.put((False, error))
    else:
        made.put((False, None))

"""Verbs that go through the items again, keep them, or fetch them ahead: repeat, cache, prefetch."""

from __future__ import annotations

import math
import secrets
import threading
import weakref
from abc import abstractmethod
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from itertools import tee
from queue import Empty, SimpleQueue
from typing import Any

from batchup._indices import Indices
from batchup.errors import StateError
from batchup.pipeline.sources import Iterated
from batchup.pipeline.stage import Passing, Run, Stage, from_place, known, numbered

ATTENTIVE = 0.5  # seconds after which one who waits looks whether the other is still there


class Repeated(Passing):
    """The items again and again; the orders of each repetition are others."""

    verb = "repeat"

    def __init__(self, parent: Stage, times: int) -> None:
        super().__init__(parent)
        self.times = times
        self.given = (times,)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        length = self.parent.length()
        first = 0
        if known(length) and length:
            first, start = divmod(start, int(length))
        return from_place(self._from(first, run, start if known(length) else 0), 0 if known(length) else start)

    def _from(self, first: int, run: Run, start: int) -> Iterator[Any]:
        number = first
        while self.times < 0 or number < self.times:
            any_left = bool(start)
            for item in self.parent.items(run.repetition(number), start):
                any_left = True
                yield item
            if not any_left:
                return  # of nothing, there is no end
            number, start = number + 1, 0

    def length(self) -> int | float | None:
        length = self.parent.length()
        if self.times == 0 or length == 0:
            return 0
        if self.times < 0:
            return None if length is None else math.inf
        return length if length is None else length * self.times

    @property
    def endless(self) -> bool:
        return self.length() == math.inf or (self.length() is None and (self.times < 0 or self.parent.endless))

    @property
    def random_access(self) -> bool:
        return self.parent.random_access and self.times >= 0

    def item(self, index: int, run: Run) -> Any:
        number, place = divmod(index, int(self.parent.length() or 1))
        return self.parent.item(place, run.repetition(number))


class Cached(Passing):
    """What the two kinds of caches share: items are those of the first epoch, with draws of their own."""

    verb = "cache"

    def __init__(self, parent: Stage) -> None:
        super().__init__(parent)
        self.entropy = secrets.randbits(64)
        self._numbers = numbered(parent)
        self._lock = threading.RLock()

    @property
    @abstractmethod
    def filled(self) -> bool:
        """Whether anything is kept."""

    def _inner(self, run: Run) -> Run:
        return run.within(self.entropy, self._numbers)


def cached(parent: Stage) -> Cached:
    """Return a stage that keeps items."""
    return CachedByNumber(parent) if parent.random_access else CachedInTurn(parent)


class CachedByNumber(Cached):
    """The items of random access, kept when they have been made."""

    def __init__(self, parent: Stage) -> None:
        super().__init__(parent)
        self._kept: dict[int, Any] = {}

    @property
    def filled(self) -> bool:
        return bool(self._kept)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        return self.at(iter(range(start, int(self.length() or 0))), run)

    def item(self, index: int, run: Run) -> Any:
        with self._lock:
            if index not in self._kept:
                self._kept[index] = self.parent.item(index, self._inner(run))
            return self._kept[index]

    def at(self, indices: Iterator[int], run: Run) -> Iterator[Any]:
        wanted, again = tee(indices)
        asked: deque[int] = deque()  # for, and not come yet
        made = self.parent.at(self._missing(wanted, asked), self._inner(run))
        for index in again:
            if index not in self._kept or (asked and asked[0] == index):
                self._kept[index] = next(made)
                asked.popleft()
            yield self._kept[index]

    def _missing(self, indices: Iterator[int], asked: deque[int]) -> Iterator[int]:
        """Yield those that nobody has made, and note them."""
        seen = set()
        for index in indices:
            if index not in self._kept and index not in seen:
                seen.add(index)
                asked.append(index)
                yield index

    def __getstate__(self) -> dict[str, Any]:
        return {"parent": self.parent, "entropy": self.entropy, "kept": dict(self._kept)}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["parent"])  # type: ignore[misc]
        self.entropy, self._kept = state["entropy"], state["kept"]


class CachedInTurn(Cached):
    """The items of a stream, kept in their order; those that nobody has asked for yet are made when they are."""

    def __init__(self, parent: Stage) -> None:
        super().__init__(parent)
        self._kept: list[Any] = []
        self._rest: _Rest | None = None
        self._over = False

    @property
    def filled(self) -> bool:
        return bool(self._kept)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        place = start
        while self._has(place, run):
            yield self._kept[place]
            place += 1

    def length(self) -> int | float | None:
        return len(self._kept) if self._over else self.parent.length()

    def _has(self, place: int, run: Run) -> bool:
        """Return whether there is an item at a place, once all up to it are kept."""
        if place < len(self._kept):
            return True
        with self._lock:
            while not self._over and place >= len(self._kept):
                if self._rest is None:
                    self._rest = _Rest(self, self.parent.items(self._inner(run), len(self._kept)))
                    if not self._outlives_a_pass:
                        run.used_by(self._rest)
                try:
                    self._kept.append(next(self._rest.items))
                except StopIteration:
                    self._over, self._rest = True, None
                except BaseException:
                    self._rest = None
                    raise
            return place < len(self._kept)

    @property
    def _outlives_a_pass(self) -> bool:
        """Whether what is left must be kept: it can be had only once, and no workers of the pass make it."""
        stages = self._numbers
        helped = any(
            isinstance(stage, Prefetched) or (stage.where is not None and stage.where.anywhere) for stage in stages
        )
        return not helped and any(isinstance(stage, Iterated) for stage in stages)

    def let_go(self, rest: _Rest) -> None:
        """Forget what is left, with the pass that it belongs to."""
        with self._lock:
            if self._rest is rest:
                self._rest = None

    def __getstate__(self) -> dict[str, Any]:
        return {
            "parent": self.parent,
            "entropy": self.entropy,
            "kept": self._kept if self._over else [],
            "over": self._over,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(state["parent"])  # type: ignore[misc]
        self.entropy, self._kept, self._over = state["entropy"], state["kept"], state["over"]


class _Rest:
    """What is left of a stream that is being kept."""

    def __init__(self, cache: CachedInTurn, items: Iterator[Any]) -> None:
        self._cache = weakref.ref(cache)
        self.items = items

    def end(self) -> None:
        """End with the pass."""
        cache = self._cache()
        if cache is not None:
            cache.let_go(self)


class Prefetched(Passing):
    """The items, made by a thread ahead of need."""

    verb = "prefetch"

    def __init__(self, parent: Stage, count: int) -> None:
        super().__init__(parent)
        self.count = count
        self.given = (count,)

    def items(self, run: Run, start: int = 0) -> Iterator[Any]:
        return ahead(lambda: self.parent.items(run, start), self.count, run)

    def item(self, index: int, run: Run) -> Any:
        return self.parent.item(index, run)

    def at(self, indices: Iterator[int], run: Run) -> Iterator[Any]:
        if run.alone:
            return self.parent.at(indices, run)
        return ahead(lambda: self.parent.at(indices, run), self.count, run)

    def gather(self, indices: Indices, run: Run) -> Any:
        return self.parent.gather(indices, run)

    @property
    def fingerprints(self) -> Sequence[str]:
        return ("prefetch()",)


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
        made.put((False, StateError("the pass that prefetched these items has ended") if over.is_set() else None))

"""Sources that several workers load, a few at a time, in order."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup.errors import InvalidTypeError, InvalidValueError, WorkerError
from batchup.typed_files.arrays import flattened
from batchup.typed_files.feature import Feature
from batchup.typed_files.loading import loaded
from batchup.work_pool import AbstractWorkerPool, WorkerProcessPool, WorkerThreadPool

Results = Generator["dict[str, NDArray[Any]] | str", None, None]

GOAL = 0.05  # seconds that a task should take
MOST = 16 * 2**20  # bytes that it should return
BUFFERED = 4  # tasks that are done ahead of need, for each worker


def checked_workers(n_workers: Any, parallelism: Any) -> tuple[int | None, str]:
    """Return the number of workers, and of which kind they are.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If it is no number, or there is no such kind.
    """
    if parallelism not in ("mp", "threads", "none"):
        raise InvalidValueError(f"parallelism must be 'mp', 'threads' or 'none', got {parallelism!r}")
    return None if n_workers is None else whole_number(n_workers, "n_workers", 1), parallelism


def pool_of(n_workers: int | None, parallelism: str) -> AbstractWorkerPool | None:
    """Return the workers; None if nobody but the caller does it."""
    n_workers, parallelism = checked_workers(n_workers, parallelism)
    if parallelism == "none":
        return None
    return WorkerProcessPool(n_workers) if parallelism == "mp" else WorkerThreadPool(n_workers)


def loaded_by(
    n_workers: int | None, parallelism: str, schema: Mapping[str, Feature], sources: Sequence[str], skips: bool
) -> Results:
    """Yield what features load from sources, in their order; if it `skips`, a text for what cannot be loaded."""
    yield from in_order(pool_of(n_workers, parallelism) if sources else None, _load, (schema, skips), sources)


def in_order(
    pool: AbstractWorkerPool | None, function: Callable[..., Any], first: tuple[Any, ...], items: Items
) -> Generator[Any, None, None]:
    """Yield what a function returns for items; workers are given as many at a time as are worth it.

    Parameters
    ----------
    pool : AbstractWorkerPool or None
        The workers; they are ended in the end.
    function : callable
        ``function(*first, item)``.
    first : tuple
        Its first arguments.
    items : sequence
        The items.
    """
    if pool is None:
        for item in items:
            yield function(*first, item)
        return
    pace = _Pace()
    with pool:
        stream = pool.work_stream(pace.tasks(function, first, items), BUFFERED * pool.processes)
        with contextlib.closing(stream), pace.named():
            for results, seconds in stream.retrieve_iter():
                pace.learn(results, seconds)
                yield from results


class Items(Protocol):
    """What is given to workers, some at a time."""

    def __len__(self) -> int: ...
    def __getitem__(self, some: slice, /) -> Sequence[Any]: ...
    def __iter__(self) -> Iterator[Any]: ...


class _Pace:
    """How many items a task has."""

    def __init__(self) -> None:
        self._many = 1
        self._begun: deque[Sequence[Any]] = deque()

    def tasks(self, function: Callable[..., Any], first: tuple[Any, ...], items: Items) -> Iterator[Any]:
        start = 0
        while start < len(items):
            some = items[start : start + self._many]
            start += len(some)
            self._begun.append(some)
            yield _do, (function, first, some)

    @contextlib.contextmanager
    def named(self) -> Iterator[None]:
        """Say in an error about a worker that died which items it was at."""
        try:
            yield
        except WorkerError as error:
            shown = ", ".join(f"{item!r:.200}" for item in self._begun[0][:20])
            error.__dict__.setdefault("__notes__", []).append(f"while it was at {shown}")
            raise

    def learn(self, results: Sequence[Any], seconds: float) -> None:
        self._begun.popleft()
        each = max(seconds / len(results), 1e-6)
        size = max(sum(map(_bytes, results)) / len(results), 1.0)
        self._many = max(1, min(int(GOAL / each), int(MOST / size), 2 * self._many))


def _do(function: Callable[..., Any], first: tuple[Any, ...], items: Sequence[Any]) -> tuple[list[Any], float]:
    begin = time.perf_counter()
    return [function(*first, item) for item in items], time.perf_counter() - begin


def _bytes(result: Any) -> int:
    if isinstance(result, np.ndarray):
        return int(result.nbytes)
    return sum(map(_bytes, result.values())) if isinstance(result, Mapping) else 0


def _load(schema: Mapping[str, Feature], skips: bool, source: str) -> dict[str, NDArray[Any]] | str:
    try:
        return _named(source, schema)
    except (ImportError, MemoryError):
        raise  # nothing is wrong with the source
    except Exception as error:
        if not skips:
            raise
        return f"{type(error).__name__}: {error}"


def _named(source: str, schema: Mapping[str, Feature]) -> dict[str, NDArray[Any]]:
    try:
        return flattened(loaded(source, schema), "")
    except (InvalidTypeError, InvalidValueError) as error:
        error.__dict__.setdefault("__notes__", []).append(f"while {source!r} was loaded")
        raise
    except StopIteration as error:
        raise RuntimeError(f"StopIteration while {source!r} was loaded") from error

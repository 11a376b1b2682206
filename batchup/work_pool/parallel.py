"""A data source whose batches are made ahead of need by the workers of a pool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import numpy as np

from batchup.columns.chunked import WINDOW
from batchup.data_source import AbstractDataSource
from batchup.data_source.ahead import Reading
from batchup.data_source.passes import Pass
from batchup.data_source.walk import WalkedDataSource
from batchup.data_source.wrapped import WrappedSource
from batchup.errors import InvalidTypeError
from batchup.sampling.chunks import batch_count, chunk_length, cut
from batchup.sampling.streams import IndexStream
from batchup.work_pool.abstract import AbstractWorkerPool
from batchup.work_pool.chunks import read
from batchup.work_pool.pace import Buffer, Pace
from batchup.work_pool.tickets import Ticket

FEW = 8  # batches in a window of which it is not known how large they are


class ParallelDataSource(WrappedSource):
    """The batches of a source, made by the workers of a pool; see `AbstractWorkerPool.parallel_data_source`.

    It is a data source like any other: its iterators start filling their buffers when they are made. Functions that
    are mapped over it are called by whoever draws the batches, those mapped over `source` by the workers.

    Attributes
    ----------
    source : AbstractDataSource
        Whose batches these are.
    pool : AbstractWorkerPool
        Who makes them.
    batch_buffer_size : int or str
        How many are made ahead.
    """

    _kept_as = {"ds": "source"}  # noqa: RUF012

    def __init__(self, ds: Any, pool: AbstractWorkerPool, batch_buffer_size: int | str = 20) -> None:
        if not isinstance(ds, AbstractDataSource):
            raise InvalidTypeError(
                f"a pool makes the batches of a data source, got {type(ds).__name__}; see coerce_data_source"
            )
        if not ds.is_random_access or not isinstance(ds, WalkedDataSource):
            outsider = ds._outsider() or ds
            raise InvalidTypeError(
                f"a pool reads by index, and {type(outsider).__name__} is not random access: its batches are made one "
                "after the other"
            )
        self._buffer = Buffer(batch_buffer_size, "batch_buffer_size")
        self.source = ds
        self.pool = pool
        self.batch_buffer_size = batch_buffer_size
        self._known = pool._reader(ds)
        self._paces: dict[tuple[int, bool], Pace] = {}

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        return self._walked().samples_by_indices_nomapping(indices)

    def samples_by_indices(self, indices: Any) -> Any:
        return self._walked().samples_by_indices(indices)

    def _enter_pass(self, walk: Pass, keywords: Mapping[str, Any]) -> Any:
        self.pool._check_open()
        if not self._look_ahead(walk):
            return self._walked()._enter_pass(walk, keywords)
        return super()._enter_pass(walk, keywords)

    def _read_chunk(self, chunk: Any, walk: Pass) -> Iterator[Any]:
        return self._walked()._read_chunk(chunk, walk)

    def _steps_of_pass(self, walk: Pass) -> IndexStream:
        return self._walked()._steps_of_pass(walk)

    def _one_rank(self, walk: Pass) -> IndexStream:
        return self._walked()._one_rank(walk)

    def _num_steps(self, walk: Pass, keywords: Mapping[str, Any]) -> Any:
        return self._walked()._num_steps(walk, keywords)

    def _batch_keys(self) -> Any:
        return self._walked()._batch_keys()

    def _by_row(self) -> bool:
        return self._walked()._by_row()

    def _maps(self) -> bool:
        return self._walked()._maps()

    def _column_lengths(self) -> tuple[int, ...]:
        return self._known.column_lengths()

    def _plan_structure(self) -> str:
        return self._walked()._plan_structure()

    def _look_ahead(self, walk: Pass) -> int:
        pace = self._pace(walk)
        if self._resident() and self._pace(walk, here=True).known and not self._worth(walk):
            return 0
        ahead = self._known.look_ahead(self._buffer.batches(pace.bytes), self._bytes_to_copy(walk))
        together = self._window_of_worker(walk, ahead)
        return max(ahead, together * self.pool.processes)

    def _together(self, walk: Pass) -> int:
        pace, ahead = self._pace(walk), self._look_ahead(walk)
        together = self._window_of_worker(walk, ahead)
        if together or not pace.known:
            return max(1, together)
        share = ahead // (2 * self.pool.processes)
        return max(1, min(share, int(self._known.goal / max(pace.seconds, 1e-9))))

    def _window_of_worker(self, walk: Pass, ahead: int) -> int:
        """Return how many batches a worker is to read as one window; 0 if the source wants none."""
        pace, most = self._pace(walk), self._window(walk)
        if not most or walk.policy.tolerant:
            return 0
        if self._buffer.in_bytes:
            most = min(most, ahead // self.pool.processes)
        # what maps make of them may be larger
        most = min(most, WINDOW // pace.bytes if pace.bytes else FEW)
        timeout = getattr(self.pool, "timeout", None)
        if timeout is not None and pace.seconds:
            most = min(most, int(timeout / 4 / pace.seconds))
        return max(1, most)

    def _begin_chunk(self, chunk: Any, walk: Pass, urgent: bool = False) -> Reading:
        if not self._worth(walk):
            return Reading(partial(self._read_now, chunk, walk))
        if urgent and self._splits(chunk, walk):
            return _SplitReading(self, chunk, walk)
        return _PoolReading(self, chunk, walk)

    def _worth(self, walk: Pass) -> bool:
        """Return whether batches are worth handing to a worker."""
        return self._known.worth(self._pace(walk), self._pace(walk, here=True))

    def _pace(self, walk: Pass, here: bool = False) -> Pace:
        """Return what batches take a worker, or whoever asks for them."""
        key = walk.batch_size, here
        if key not in self._paces:
            self._paces[key] = Pace()
        return self._paces[key]

    def _bytes_to_copy(self, walk: Pass) -> int | None:
        """Return how large a batch is, if making it is a mere copy of memory; None if there is more to it."""
        sample_bytes = self._sample_bytes(walk)
        if sample_bytes is None or self._maps() or not self._resident():
            return None
        return sample_bytes * walk.batch_size

    def _splits(self, chunk: Any, walk: Pass) -> bool:
        """Return whether a chunk that is waited for is to be read by all workers together."""
        return (
            2 <= self.pool.processes <= chunk_length(chunk) // 2
            and batch_count(chunk) == 1
            and not walk.policy.tolerant
            and walk.copy
            and self._by_row()
            and self._bytes_to_copy(walk) is None
        )

    def _begin(self, chunk: Any, walk: Pass) -> Ticket:
        expected = self._pace(walk).bytes
        if not expected and not self._maps():
            expected = (self._sample_bytes(walk) or 0) * walk.batch_size
        return self._known.begin(chunk, walk, expected * batch_count(chunk))

    def _read_now(self, chunk: Any, walk: Pass) -> Iterator[Any]:
        batches, figures = read(self._walked(), chunk, walk)
        self._pace(walk, here=True).note(figures, len(batches), figures.bytes)
        walk.clock.add(*figures[:5])
        return _each(batches)

    def __reduce__(self) -> Any:
        return _as_it_is, (self.source,)


class _PoolReading(Reading):
    """A chunk that a worker reads."""

    __slots__ = ("_chunk", "_source", "_ticket", "_walk")

    def __init__(self, source: ParallelDataSource, chunk: Any, walk: Pass) -> None:
        self._source = source
        self._chunk = chunk
        self._walk = walk
        self._ticket = source._begin(chunk, walk)

    def result(self) -> Iterator[Any]:
        return _each(self.batches(whole=True))

    def batches(self, whole: bool) -> list[Any]:
        """Return the batches; only those that are whole tell how long batches take."""
        batches, figures, size = self._ticket.result()
        if whole:
            self._source._pace(self._walk).note(figures, len(batches), size)
        self._walk.clock.add(*figures[:5])
        made: list[Any] = batches
        return made

    def cancel(self) -> None:
        self._ticket.cancel()


class _SplitReading(Reading):
    """A batch that all workers read together, each some of its rows, since somebody waits for it."""

    __slots__ = ("_chunk", "_source", "_walk")

    def __init__(self, source: ParallelDataSource, chunk: Any, walk: Pass) -> None:
        ends = np.linspace(0, chunk_length(chunk), source.pool.processes + 1).astype(int).tolist()
        parts = [_PoolReading(source, cut(chunk, *ends[i : i + 2]), walk) for i in range(source.pool.processes)]
        super().__init__(self._joined, parts)
        self._source = source
        self._chunk = chunk
        self._walk = walk

    def _joined(self) -> Iterator[Any]:
        parts = [part.batches(whole=False)[0] for part in self._parts]  # type: ignore[attr-defined]
        batch = _side_by_side(parts)
        if batch is None:  # rows that cannot be stacked, because they depend on one another after all
            return _PoolReading(self._source, self._chunk, self._walk).result()
        return iter((batch,))


def _side_by_side(parts: list[Any]) -> Any:
    """Join batches row after row; None if they are not of one make."""
    first = parts[0]
    if any(type(part) is not type(first) for part in parts):
        return None
    if type(first) is np.ndarray:
        if any(part.dtype != first.dtype or part.shape[1:] != first.shape[1:] or not part.ndim for part in parts):
            return None
        together: Any = np.empty((sum(map(len, parts)), *first.shape[1:]), first.dtype)
        return np.concatenate(parts, out=together)
    if type(first) is dict:
        named = {name: _side_by_side([part.get(name) for part in parts]) for name in first}
        return None if any(column is None for column in named.values()) else named
    if type(first) is tuple and all(len(part) == len(first) for part in parts):
        joined = [_side_by_side(list(column)) for column in zip(*parts, strict=True)]
        return None if any(column is None for column in joined) else tuple(joined)
    return None


def _each(batches: list[Any]) -> Iterator[Any]:
    """Yield batches and hold none of them any longer."""
    batches.reverse()
    while batches:
        yield batches.pop()


def _as_it_is(source: Any) -> Any:
    return source

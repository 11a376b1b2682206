"""Reads one column in whichever of two ways NumPy is faster at, on this machine and for these rows."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any

from batchup._indices import Indices
from batchup.columns import Column
from batchup.data_source.buffers import BufferRing, Memory

TRIALS = 8
REUSE = 16 * 2**20


class ColumnReader:
    """Gathers the batches of a column, into memory that is used again or into fresh memory.

    For small rows and for large batches, memory used again wins by far. Between them it depends on the processor,
    so the first batches are read in the one way and then in the other, and the faster is kept.

    Parameters
    ----------
    column : Column
        What to read.
    """

    def __init__(self, column: Column) -> None:
        self.column = column
        self._ring: BufferRing | None = None
        if column.takes_out and column.sample_shape is not None and column.dtype is not None:
            self._ring = BufferRing(column.sample_shape, column.dtype)
            self._windows = BufferRing(column.sample_shape, column.dtype, kept_buffers=1)
        self._sample_bytes = 0 if self._ring is None else self._ring.sample_bytes
        self._fresh = False
        self._seconds: tuple[list[float], list[float]] | None = ([], []) if hasattr(column, "fresh") else None

    def read(self, indices: Indices, samples: int, memory: Memory | None = None) -> Any:
        """Return the samples at `indices`, which are so many."""
        if self._ring is None:
            return self.column.gather(indices)
        if memory is not None:
            return self.column.gather(indices, memory((samples, *self._ring.sample_shape), self._ring.dtype))
        return self.column.gather(indices, self._ring.empty(samples))

    def read_large(self, indices: Indices, samples: int, memory: Memory | None = None) -> Any:
        """Return the samples of a batch that is read by itself, by the faster way as soon as that is known."""
        alone = isinstance(indices, slice) or samples * self._sample_bytes > REUSE
        if alone or self._ring is None or memory is not None:
            return self.read(indices, samples, memory)
        trial = self._seconds  # another thread may end it
        if trial is not None:
            return self._try(indices, samples, *trial)
        return self.column.fresh(indices) if self._fresh else self.read(indices, samples)  # type: ignore[attr-defined]

    def batches(self, indices: Indices, size: int, memory: Memory | None = None) -> Iterator[Any]:
        """Yield batches of `size` samples at `indices`; a column that wants a window is read for all at once."""
        begin, end = (indices.start, indices.stop) if isinstance(indices, slice) else (0, len(indices))
        window = self._window(indices)
        for start in range(begin, end, size):
            part = slice(start, start + size)
            if window is None:
                yield self.read_large(part if isinstance(indices, slice) else indices[part], size, memory)
            else:
                yield self._copied(window[start - begin : start - begin + size], memory)

    def _window(self, indices: Indices) -> Any:
        """Return all samples at `indices`; None if they are to be read batch by batch."""
        if self._ring is None or not self.column.window:
            return None
        length = indices.stop - indices.start if isinstance(indices, slice) else len(indices)
        try:
            return self.column.gather(indices, self._windows.empty(length))
        except MemoryError:
            raise
        except Exception:  # noqa: BLE001  it comes again with the batch that it belongs to
            return None

    def _copied(self, rows: Any, memory: Memory | None) -> Any:
        assert self._ring is not None
        batch = self._ring.empty(len(rows)) if memory is None else memory(rows.shape, rows.dtype)
        batch[...] = rows  # who holds a batch is not to hold the window
        return batch

    def _try(self, indices: Indices, samples: int, reused: list[float], fresh: list[float]) -> Any:
        begin = perf_counter()
        if len(reused) < TRIALS:
            batch = self.read(indices, samples)
            reused.append(perf_counter() - begin)
            return batch
        batch = self.column.fresh(indices)  # type: ignore[attr-defined]
        fresh.append(perf_counter() - begin)
        if len(fresh) >= TRIALS:
            self._fresh = sorted(fresh)[TRIALS // 2] < sorted(reused)[TRIALS // 2]
            self._seconds = None
        return batch

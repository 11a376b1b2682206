"""Reads one column in whichever of two ways NumPy is faster at, on this machine and for these rows."""

from __future__ import annotations

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

"""What a worker does for a data source: it reads the batches of a chunk, and says what that took."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from time import perf_counter, thread_time
from typing import Any, NamedTuple

from batchup.data_source.clock import Clock
from batchup.data_source.passes import Pass
from batchup.data_source.walk import WalkedDataSource
from batchup.sampling.chunks import batch_count, chunk_length, cut


class Figures(NamedTuple):
    """What a worker read, and how long each part of that took it."""

    samples: int = 0
    bytes: int = 0
    gathering: float = 0.0
    mapping: float = 0.0
    transporting: float = 0.0
    computing: float = 0.0  # of all these, with the processor and not waiting for anything

    @property
    def seconds(self) -> float:
        """How long the worker was busy."""
        return self.gathering + self.mapping + self.transporting


def read(
    source: WalkedDataSource, chunk: Any, walk: Pass, note: Callable[[int], None] = lambda batch: None
) -> tuple[list[Any], Figures]:
    """Return the batches of a chunk, all read, and what that took; `note` is told which is begun."""
    clock = Clock()
    begin, busy = perf_counter(), thread_time()
    walk = replace(walk, clock=clock)
    batches: list[Any] = []
    for part in _parts(source, chunk, walk):
        note(len(batches))
        batches += source._read_chunk(part, walk)
    gathering = perf_counter() - begin - clock.mapping
    return batches, Figures(clock.samples, clock.bytes, gathering, clock.mapping, 0.0, thread_time() - busy)


def single_batches(chunk: Any) -> Iterator[Any]:
    """Yield each batch of a chunk as a chunk of its own."""
    count = batch_count(chunk)
    if count == 1:
        yield chunk
        return
    size = chunk_length(chunk) // count
    for start in range(0, count * size, size):
        yield cut(chunk, start, start + size)


def _parts(source: WalkedDataSource, chunk: Any, walk: Pass) -> Iterator[Any]:
    """Yield what of a chunk is to be read at once: all, if that is a mere copy or saves work, else batch by batch."""
    at_once = source._sample_bytes(walk) is not None or source._window(walk)
    return iter((chunk,)) if at_once else single_batches(chunk)

"""What a function returns for the batches of a source, in the place of the batches, so that others can call it."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter
from typing import Any

import numpy as np

from batchup._numbers import whole_number
from batchup.columns import Ragged
from batchup.data_source.abstract import AbstractDataSource
from batchup.data_source.batch_map import Applied
from batchup.data_source.batches import with_mask
from batchup.data_source.buffers import Memory
from batchup.data_source.passes import Pass
from batchup.data_source.steps import FirstSteps
from batchup.data_source.walk import WalkedDataSource
from batchup.data_source.wrapped import WrappedSource
from batchup.sampling.chunks import batch_count, first_leaf, real_samples
from batchup.sampling.streams import IndexStream


class AppliedDataSource(WrappedSource):
    """Hand out, for each batch of a source, its number of samples and what `Applied` returns for it.

    A batch is a dict of the two, which is empty if the function returned None. The padding of the batch is cut off
    before the function is called, as `batch_map_concat` does.

    Parameters
    ----------
    source : AbstractDataSource
        Gives the batches.
    apply : Applied
        What is done to each.
    n_batches : int, optional
        Stop after so many batches.
    """

    def __init__(self, source: AbstractDataSource, apply: Applied, n_batches: int | None = None) -> None:
        self.source = source
        self.apply = apply
        self.n_batches = None if n_batches is None else whole_number(n_batches, "n_batches")

    @property
    def is_random_access(self) -> bool:
        return isinstance(self.source, WalkedDataSource) and self.source.is_random_access

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        return self._walked().samples_by_indices_nomapping(indices)

    def samples_by_indices(self, indices: Any) -> Any:
        return self._walked().samples_by_indices(indices)

    def _read_chunk(self, chunk: Any, walk: Pass) -> Iterator[Any]:
        return self._each_applied(self._walked()._read_chunk(chunk, walk.elsewhere()), chunk, walk)

    def _steps_of_pass(self, walk: Pass) -> IndexStream:
        steps = super()._steps_of_pass(walk)
        return steps if self.n_batches is None else FirstSteps(steps, self.n_batches)

    def _maps(self) -> bool:
        return True

    def _plan_structure(self) -> str:
        return self._walked()._plan_structure()

    def _each_applied(self, batches: Iterator[Any], chunk: Any, walk: Pass) -> Iterator[Any]:
        padded = walk.tail == "pad"
        size = len(first_leaf(chunk)) // batch_count(chunk)
        for batch in batches:
            begin = perf_counter()
            if padded:
                batch = with_mask(batch, np.arange(size) < real_samples(chunk))
            applied = _as_batch(self.apply(batch, padded), walk.memory)
            walk.clock.mapping += perf_counter() - begin
            del batch
            yield applied
            del applied  # nothing here may hold the last results while the next batch is read


def arrived(batch: Any, padded: bool) -> tuple[int, Any] | None:
    """Return what `Applied` returned for a batch, of what an `AppliedDataSource` handed out."""
    return (batch["samples"], batch["results"]) if "results" in batch else None


def _as_batch(applied: tuple[int, Any] | None, memory: Memory | None) -> dict[str, Any]:
    if applied is None:
        return {}
    samples, results = applied
    return {"samples": samples, "results": {name: _copied(value, memory) for name, value in results.items()}}


def _copied(value: Any, memory: Memory | None) -> Any:
    """Return a copy of a result: the function may use its memory again for the next batch."""
    if isinstance(value, Ragged):
        return Ragged(value.values.copy(), value.offsets)
    if memory is None or not isinstance(value, np.ndarray):
        return value.copy()
    copy = memory(value.shape, value.dtype)
    copy[...] = value
    return copy

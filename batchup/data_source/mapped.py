"""A function applied to every batch of a source."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import Any

from batchup.data_source.abstract import AbstractDataSource
from batchup.data_source.batch_iterator import Count
from batchup.data_source.batches import call, checked_result
from batchup.data_source.passes import Pass
from batchup.data_source.walk import WalkedDataSource
from batchup.errors import InvalidTypeError
from batchup.sampling.streams import IndexStream


class MapDataSource(WalkedDataSource):
    """Apply a function to every batch of a source; random access if the source is.

    Parameters
    ----------
    source : AbstractDataSource
        Gives the batches.
    fn : callable
        ``fn(*batch)`` (for dicts ``fn(**batch)``) returns a batch. It may write into the arrays that it is given.

    Raises
    ------
    TypeError
        If an argument is of another kind, or, when a batch is drawn, if `fn` returns no batch.
    ValueError
        When a batch is drawn, if `fn` returns arrays of different lengths.

    Examples
    --------
    >>> import numpy as np
    >>> from batchup.data_source import ArrayDataSource
    >>> ds = ArrayDataSource([np.arange(3), np.arange(3)]).map(lambda x, y: (x * 10, y))
    >>> next(ds.batch_iterator(2))
    (array([ 0, 10]), array([0, 1]))
    """

    def __init__(self, source: AbstractDataSource, fn: Callable[..., Any]) -> None:
        if not isinstance(source, AbstractDataSource):
            raise InvalidTypeError(f"source must be a data source, got {type(source).__name__}")
        if not callable(fn):
            raise InvalidTypeError(f"fn must be callable, got {type(fn).__name__}")
        self.source = source
        self.fn = fn

    @property
    def is_random_access(self) -> bool:
        return isinstance(self.source, WalkedDataSource) and self.source.is_random_access

    def num_samples(self, **kwargs: Any) -> Count:
        return self.source.num_samples(**kwargs)

    def outsider(self) -> AbstractDataSource | None:
        return self.source.outsider()

    def num_batches(self, batch_size: int, keywords: Mapping[str, Any]) -> Count:
        return self.source.num_batches(batch_size, keywords)

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        return self._apply(self._walked().samples_by_indices_nomapping(indices))

    def samples_by_indices(self, indices: Any) -> Any:
        return self._apply(self._walked().samples_by_indices(indices))

    def index_batches(self, walk: Pass) -> IndexStream:
        return self._walked().index_batches(walk)

    def read(self, chunk: Any, walk: Pass) -> Iterator[Any]:
        return self._map(self._walked().read(chunk, walk), walk)

    def public_indices(self, chunk: Any) -> Any:
        return self._walked().public_indices(chunk)

    def lengths(self) -> tuple[int, ...]:
        return self._walked().lengths()

    def sample_bytes(self, walk: Pass) -> int | None:
        return self._walked().sample_bytes(walk)

    def stream_batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Iterator[Any]:
        return self._map(self.source.batches(walk, keywords), walk)

    def _map(self, batches: Iterator[Any], walk: Pass) -> Iterator[Any]:
        for batch in batches:
            begin = perf_counter()
            result = self._apply(batch)
            walk.clock.mapping += perf_counter() - begin
            yield result

    def _apply(self, batch: Any) -> Any:
        return checked_result(call(self.fn, batch), self.fn)

    def _walked(self) -> WalkedDataSource:
        self._require_random_access()
        return self.source  # type: ignore[return-value]

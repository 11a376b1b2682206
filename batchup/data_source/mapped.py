"""A function applied to every batch of a source, or to every sample."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from time import perf_counter
from typing import Any

import numpy as np

from batchup._numbers import whole_number
from batchup.data_source.abstract import AbstractDataSource
from batchup.data_source.ahead import Reading
from batchup.data_source.batches import call, checked_result, length, name_of, stack_samples, take_sample, trim
from batchup.data_source.passes import Pass
from batchup.data_source.tolerance import BadSamplesError
from batchup.data_source.wrapped import WrappedSource
from batchup.errors import InvalidTypeError
from batchup.sampling.chunks import batch_count, branch, first_leaf
from batchup.sampling.order import Key

_MAP = 0x6D6170  # sets the keys of mapped functions apart from those of orders


class MapDataSource(WrappedSource):
    """Apply a function to every batch of a source; random access if the source is.

    A function that has a parameter `rng` is given a `numpy.random.Generator`, which depends on the seed, the epoch
    and the place of the batch in the epoch alone: it is the same whoever calls the function, and different for
    every batch and every epoch.

    Parameters
    ----------
    source : AbstractDataSource
        Gives the batches.
    fn : callable
        ``fn(*batch)`` (for dicts ``fn(**batch)``) returns a batch. It may write into the arrays that it is given.
    seed : int, optional
        What `rng` depends on; without it, on the int that is passed as `shuffle`. With neither, a parameter `rng`
        that has a default is left alone.
    per_sample : bool, default False
        Whether `fn` is called with one sample at a time (no batch axis), and returns one. Its `rng` depends on the
        place of the sample in the epoch, whatever the batch size.

    Raises
    ------
    TypeError
        If an argument is of another kind; from `batch_iterator`, if `fn` needs an `rng` and there is no seed; when
        a batch is drawn, if `fn` returns no batch.
    ValueError
        When a batch is drawn, if `fn` returns arrays of different lengths.

    Examples
    --------
    >>> from batchup.data_source import ArrayDataSource
    >>> ds = ArrayDataSource([np.arange(3), np.arange(3)]).map(lambda x, y: (x * 10, y))
    >>> next(ds.batch_iterator(2))
    (array([ 0, 10]), array([0, 1]))

    >>> noisy = ArrayDataSource([np.zeros(4)]).map(lambda x, rng: (x + rng.integers(10, size=len(x)),))
    >>> [batch.tolist() for (batch,) in noisy.batch_iterator(2, shuffle=1)]
    [[8.0, 6.0], [5.0, 4.0]]
    """

    def __init__(
        self, source: AbstractDataSource, fn: Callable[..., Any], seed: int | None = None, per_sample: bool = False
    ) -> None:
        if not isinstance(source, AbstractDataSource):
            raise InvalidTypeError(f"source must be a data source, got {type(source).__name__}")
        if not callable(fn):
            raise InvalidTypeError(f"fn must be callable, got {type(fn).__name__}")
        self.source = source
        self.fn = fn
        self.seed = None if seed is None else whole_number(seed, "seed")
        self.per_sample = bool(per_sample)
        self._rng = rng_parameter(fn)
        self._nothing: Any = None  # an empty batch as `fn` would make it, known after the first one
        self._stage: int = source._stage + 1 if isinstance(source, MapDataSource) else 0

    def _check_pass(self, walk: Pass) -> None:
        super()._check_pass(walk)
        if self._key(walk) is None and self._rng is not None and self._rng.default is inspect.Parameter.empty:
            raise InvalidTypeError(
                f"{name_of(self.fn)} needs an rng: pass a seed to map(), or an int as shuffle to batch_iterator()"
            )

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        return self._by_indices(self._walked().samples_by_indices_nomapping(indices))

    def samples_by_indices(self, indices: Any) -> Any:
        return self._by_indices(self._walked().samples_by_indices(indices))

    def _read_chunk(self, chunk: Any, walk: Pass) -> Iterator[Any]:
        return self._begin_chunk(chunk, walk).result()

    def _begin_chunk(self, chunk: Any, walk: Pass, urgent: bool = False) -> Reading:
        leaf = first_leaf(chunk)
        size = len(leaf) // batch_count(chunk)
        places = (leaf.cut(i * size, (i + 1) * size).places for i in range(batch_count(chunk)))
        begun = self._walked()._begin_chunk(chunk, walk.elsewhere(), urgent)
        return Reading(lambda: self._map(begun.result(), places, walk, branch(chunk)), [begun])

    def _maps(self) -> bool:
        return True

    def _by_row(self) -> bool:
        return self.per_sample and self._walked()._by_row()

    def _plan_structure(self) -> str:
        seed = "" if self.seed is None else f", seed={self.seed}"
        return f"Map({self._walked()._plan_structure()}{seed}{', per_sample' if self.per_sample else ''})"

    def _stream_batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Iterator[Any]:
        return self._map(self.source._batches_of_pass(walk, keywords), None, walk)

    def _map(self, batches: Iterator[Any], places: Iterator[Any] | None, walk: Pass, branch: int = 0) -> Iterator[Any]:
        key = self._key(walk)
        chance = None if key is None or self._rng is None else Chance(key, self._stage, branch)
        count = 0
        for batch in batches:
            begin = perf_counter()
            where = next(places) if places is not None else None
            if self.per_sample:
                result = self._apply_per_sample(batch, where, count, chance, walk)
            else:
                result = self._apply(batch, None if chance is None else chance.at(_first(where, count)))
            if chance is not None or self.per_sample:
                count += length(batch)
            walk.clock.mapping += perf_counter() - begin
            del batch
            yield result
            del result  # nothing here may hold the last batch while the next one is read

    def _apply(self, batch: Any, rng: Any = None) -> Any:
        keywords: dict[str, Any] = {} if rng is None else {"rng": rng}
        return checked_result(call(self.fn, batch, **keywords), self.fn, batch)

    def _apply_per_sample(self, batch: Any, where: Any, count: int, chance: Chance | None, walk: Pass) -> Any:
        rows = length(batch)
        places = range(count, count + rows) if where is None else where().tolist()
        samples: list[Any] = []
        bad: dict[int, Exception] = {}
        for row in range(rows):
            keywords: dict[str, Any] = {} if chance is None else {"rng": chance.at(places[row])}
            try:
                samples.append(call(self.fn, take_sample(batch, row), **keywords))
            except Exception as error:
                if not walk.policy.tolerant or isinstance(error, MemoryError):
                    raise
                bad[row] = error
        if bad:
            stage = f"map {getattr(self.fn, '__qualname__', repr(self.fn))}"
            raise BadSamplesError({row: (stage, error) for row, error in bad.items()})
        if not rows:
            return batch if self._nothing is None else self._nothing
        result = checked_result(stack_samples(samples, walk.memory), self.fn, batch)
        self._nothing = trim(result, 0)
        return result

    def _by_indices(self, batch: Any) -> Any:
        if self._rng is not None and self._rng.default is inspect.Parameter.empty:
            raise InvalidTypeError(
                f"{name_of(self.fn)} needs an rng, which belongs to a place in an epoch: use batch_iterator or replay"
            )
        if self.per_sample:
            samples = [call(self.fn, take_sample(batch, row)) for row in range(length(batch))]
            return checked_result(stack_samples(samples), self.fn, batch)
        return self._apply(batch)

    def _key(self, walk: Pass) -> Key | None:
        return walk.key(self.seed) if self._rng is not None else None


class Chance:
    """Generators for the places of an epoch: a Philox under one key, whose counter begins with the place."""

    def __init__(self, key: Key, stage: int, branch: int) -> None:
        self._key = key.seeds(_MAP, stage).generate_state(2, np.uint64)
        self._branch = branch

    def at(self, place: int) -> np.random.Generator:
        """Return the generator of a place."""
        return np.random.Generator(np.random.Philox(key=self._key, counter=[0, self._branch, place, 0]))


def _first(where: Any, count: int) -> int:
    """Return the place of the first sample of a batch."""
    if where is None:
        return count
    places = where()
    return int(places[0]) if len(places) else 0


def rng_parameter(fn: Callable[..., Any]) -> inspect.Parameter | None:
    """Return the parameter `rng` of a function, None if it takes none."""
    try:
        return inspect.signature(fn).parameters.get("rng")
    except (TypeError, ValueError):  # some builtins do not tell
        return None

"""Several sources in one batch: every batch is drawn from all of them, in exact proportion."""

from __future__ import annotations

import contextlib
import math
import numbers
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import checked_indices
from batchup.data_source.ahead import Reading
from batchup.data_source.batch_iterator import Count
from batchup.data_source.batches import merged, take_sample
from batchup.data_source.passes import Pass
from batchup.data_source.random_access import RandomAccessDataSource
from batchup.data_source.tolerance import read_all
from batchup.data_source.walk import WalkedDataSource, each_once
from batchup.data_source.wrapped import WrappedSource
from batchup.errors import InvalidTypeError, InvalidValueError, LengthError
from batchup.sampling import num_batches
from batchup.sampling.chunks import IndexChunk
from batchup.sampling.classes import spread_offsets
from batchup.sampling.streams import Frozen, IndexStream

_LONGEST = 1_000_000


class MixDataSource(WalkedDataSource):
    """Draw every batch from several sources, in exact proportion.

    The sources take turns sample by sample, in a fixed pattern that spreads each evenly; so any stretch of the
    epoch holds each in its proportion, to within a sample or two. They must hand out batches of one make: the same
    arrays, of the same shapes and dtypes. The samples are numbered through: first those of the first source.

    Parameters
    ----------
    sources : list of AbstractDataSource
        Array sources and others whose samples have one index each, mapped or not; mixes too.
    weights : sequence of float
        The proportion of each, of any sum.
    stop : {'first', 'all'}, default 'first'
        When the epoch ends: when the first source is used up; or when all have been, the shorter ones beginning
        again as often as needed.

    Raises
    ------
    TypeError, ValueError
        If `sources` is empty or holds something else, or the weights are not positive numbers, one for each.

    Examples
    --------
    >>> from batchup.data_source import ArrayDataSource
    >>> a, b = ArrayDataSource([np.arange(6)]), ArrayDataSource([np.arange(100, 110)])
    >>> [batch.tolist() for (batch,) in MixDataSource([a, b], weights=[2, 1]).batch_iterator(3)]
    [[0, 100, 1], [2, 101, 3], [4, 102, 5]]
    """

    def __init__(self, sources: Sequence[Any], weights: Sequence[float], stop: str = "first") -> None:
        self.sources = sources
        self.weights = list(weights)
        self.stop = stop
        for i, source in enumerate(sources):
            if not _has_flat_indices(source):
                raise InvalidTypeError(
                    "a mix takes sources that are drawn sample by sample, with one index each (array sources, maps of "
                    f"them, mixes); number {i} is {type(source).__name__}"
                )
        if stop not in ("first", "all"):
            raise InvalidValueError(f"stop must be 'first' or 'all', got {stop!r}")
        self._pattern = Pattern(_proportions(self.weights, len(sources)))
        if stop == "all" and any(source.num_samples() == math.inf for source in sources):
            raise InvalidValueError("stop='all' needs sources that end; one of them never does")
        if stop == "all" and any(source.num_samples() == 0 for source in sources):
            raise InvalidValueError("stop='all' needs sources with samples; one of them has none")
        self._ends = np.cumsum([source._flat_length() for source in sources])
        self._starts = self._ends - [source._flat_length() for source in sources]

    @property
    def is_random_access(self) -> bool:
        return True

    def _flat_length(self) -> int:
        return int(self._ends[-1])

    def num_samples(self, **kwargs: Any) -> Count:
        sizes = [source.num_samples() for source in self.sources]
        ends: list[Count]
        if self.stop == "first":
            ends = [self._pattern.place_of(i, size) for i, size in enumerate(sizes)]
            return min(end for end in ends if end is not None)
        ends = [self._pattern.place_of(i, size - 1) + 1 for i, size in enumerate(sizes)]
        return max(end for end in ends if end is not None)

    def _num_batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Count:
        samples = self.num_samples()
        if samples is None or samples == math.inf:
            return samples
        return int(samples) // walk.batch_size if walk.tail == "drop" else num_batches(int(samples), walk.batch_size)

    @property
    def _cuttable(self) -> bool:
        return True

    def _outsider(self) -> None:
        """Return None: batchup makes the batches itself."""
        return

    def _check_pass(self, walk: Pass) -> None:
        super()._check_pass(walk)
        for i, source in enumerate(self.sources):
            source._check_pass(walk.member(i))

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        if isinstance(indices, (int, np.integer)):
            return take_sample(self.samples_by_indices_nomapping([indices]), 0)
        checked = checked_indices(indices, self._flat_length())
        parts = [
            (self.sources[i].samples_by_indices_nomapping(checked[rows] - self._starts[i]), rows)
            for i, rows in self._by_source(checked)
        ]
        return merged([part for part, _ in parts], np.concatenate([rows for _, rows in parts]))

    def samples_by_indices(self, indices: Any) -> Any:
        return self.samples_by_indices_nomapping(indices)

    def _index_batches(self, walk: Pass) -> IndexStream:
        return _MixStream(self.sources, self._starts, self._pattern, walk, self.stop == "all", self.num_samples())

    def _expect(self, chunk: IndexChunk) -> bool:
        return True in [self.sources[i]._expect(part) for i, part in self._parts(chunk)]

    def _files(self, chunk: IndexChunk) -> tuple[str, ...]:
        return each_once(self.sources[i]._files(part) for i, part in self._parts(chunk))

    def _all_files(self) -> tuple[str, ...]:
        return each_once(source._all_files() for source in self.sources)

    def _read_chunk(self, chunk: IndexChunk, walk: Pass) -> Iterator[Any]:
        return self._begin_chunk(chunk, walk).result()

    def _begin_chunk(self, chunk: IndexChunk, walk: Pass, urgent: bool = False) -> Reading:
        indices, places = chunk.array(), chunk.places()
        by_source = self._by_source(indices)
        parts = [
            self.sources[i]._begin_chunk(
                IndexChunk(indices[rows] - self._starts[i], 1, places[rows]), walk.elsewhere().member(i), urgent
            )
            for i, rows in by_source
        ]

        def joined() -> Iterator[Any]:
            reads = [(part.only, rows) for part, (_, rows) in zip(parts, by_source, strict=True)]
            return iter((merged(read_all(reads), np.concatenate([rows for _, rows in by_source])),))

        return Reading(joined, parts)

    def _look_ahead(self, walk: Pass) -> int:
        ahead: list[int] = [source._look_ahead(walk.member(i)) for i, source in enumerate(self.sources)]
        return max(ahead)

    def _public_indices(self, chunk: IndexChunk) -> Any:
        return chunk.array()

    def _batch_keys(self) -> Any:
        return self.sources[0]._batch_keys()

    def _column_lengths(self) -> tuple[int, ...]:
        return tuple([length for source in self.sources for length in source._column_lengths()])

    def _sample_bytes(self, walk: Pass) -> int | None:
        return None

    def _resident(self) -> bool:
        return all(source._resident() for source in self.sources)

    def _maps(self) -> bool:
        return any(source._maps() for source in self.sources)

    def _plan_structure(self) -> str:
        members = ", ".join(source._plan_structure() for source in self.sources)
        return f"MixDataSource(weights={self.weights}, stop={self.stop!r}: {members})"

    def _parts(self, chunk: IndexChunk) -> list[tuple[int, IndexChunk]]:
        """Return the samples of a chunk that are each source's."""
        indices = chunk.array()
        return [(i, IndexChunk(indices[rows] - self._starts[i])) for i, rows in self._by_source(indices)]

    def _by_source(self, indices: NDArray[np.intp]) -> list[tuple[int, NDArray[np.intp]]]:
        """Return the rows that belong to each source that has any; to the first one if there are none at all."""
        owner = np.searchsorted(self._ends, indices, "right")
        rows = [(i, np.flatnonzero(owner == i)) for i in range(len(self.sources))]
        return [(i, places) for i, places in rows if len(places)] or rows[:1]


class Pattern:
    """The turns of members in a period: each has as many as its count, spread evenly."""

    def __init__(self, counts: Sequence[int]) -> None:
        self.counts = counts
        self.period = sum(counts)
        first = spread_offsets(len(counts))
        turns = np.concatenate([(np.arange(n) + begin) / n for n, begin in zip(counts, first, strict=True)])
        members = np.repeat(np.arange(len(counts)), counts)
        self._members = members[np.argsort(turns, kind="stable")]
        self._places = [np.flatnonzero(self._members == member) for member in range(len(counts))]

    def count(self, member: int, place: int) -> int:
        """Return how many turns a member has before a place."""
        periods, rest = divmod(place, self.period)
        return periods * self.counts[member] + int(self._places[member].searchsorted(rest))

    def place_of(self, member: int, turn: Any) -> Any:
        """Return the place of a turn of a member."""
        if turn == math.inf:
            return turn
        periods, rest = divmod(int(turn), self.counts[member])
        return periods * self.period + int(self._places[member][rest])

    def rows(self, member: int, start: int, stop: int) -> NDArray[np.intp]:
        """Return which of the places from `start` to `stop` are a member's, counted from `start`."""
        return np.flatnonzero(self._members[np.arange(start, stop) % self.period] == member)


class _MixStream(IndexStream):
    """Stretches of the pattern, each source's samples taken from a stream of its own, one by one."""

    def __init__(
        self, sources: Sequence[Any], starts: Any, pattern: Pattern, walk: Pass, again: bool, samples: Count
    ) -> None:
        self._members = [
            _Member(source, int(start), walk.member(i), again)
            for i, (source, start) in enumerate(zip(sources, starts, strict=True))
        ]
        self._pattern = pattern
        self._batch_size = walk.batch_size
        self._end = math.inf if samples is None else samples
        self._place = 0
        self.entered = all(member.stream.entered for member in self._members)

    def ready(self) -> int:
        return 0

    def take(self, count: int) -> IndexChunk | None:
        start, stop = self._place, int(min(self._place + self._batch_size, self._end))
        if stop <= start:
            return None
        self._place = stop
        indices = np.empty(stop - start, np.intp)
        for i, member in enumerate(self._members):
            rows = self._pattern.rows(i, start, stop)
            if len(rows):
                indices[rows] = member.take(len(rows))
        return IndexChunk(indices, 1, start)

    def seek(self, number: int) -> None:
        self._place = int(min(number * self._batch_size, self._end))
        for i, member in enumerate(self._members):
            member.seek(self._pattern.count(i, self._place))

    def state(self, back: int) -> Any:
        return [self._place, *([member.cycle, member.stream.state(0)] for member in self._members)]

    def restore(self, state: Any) -> None:
        self._place, *parts = state
        for member, (cycle, part) in zip(self._members, parts, strict=True):
            member.restart(cycle)
            member.stream.restore(part)

    def at(self, place: int, like: Any) -> IndexChunk:
        numbers = range(len(self._members))
        # the one whose turn it is, or else, where an order is drawn and its has not been yet, any other
        for i in sorted(numbers, key=lambda i: not len(self._pattern.rows(i, place, place + 1))):
            with contextlib.suppress(LookupError):
                return IndexChunk(self._members[i].at(self._pattern.count(i, place)), 1, place)
        raise LookupError("nothing has been drawn yet")


class _Member(Frozen):
    """The samples of one source, one after the other, from the beginning again when they are used up."""

    def __init__(self, source: Any, start: int, walk: Pass, again: bool) -> None:
        self._source = source
        self._start = start
        self._walk = replace(walk, batch_size=1, tail="short")
        self._samples = int(source.num_samples()) if again else None
        self.restart(0)

    def restart(self, cycle: int) -> None:
        """Begin the source's samples for the so-manieth time; a seeded order differs each time."""
        self.cycle = cycle
        self.stream = self._begun(cycle)

    def _begun(self, cycle: int) -> IndexStream:
        stream: IndexStream = self._source._index_batches(self._walk.member(cycle) if cycle else self._walk)
        return stream

    def take(self, count: int) -> NDArray[np.intp]:
        """Return the numbers of the next `count` samples."""
        taken: list[NDArray[np.intp]] = []
        while count > 0:
            chunk = self.stream.take(count)
            if chunk is None:
                self.restart(self.cycle + 1)
                continue
            taken.append(checked_indices(chunk.array(), self._source._flat_length()))
            count -= len(chunk)
        return np.concatenate(taken) + self._start

    def seek(self, turn: int) -> None:
        """Go behind so many samples."""
        cycle, turn = divmod(turn, self._samples) if self._samples else (0, turn)
        if cycle != self.cycle:
            self.restart(cycle)
        self.stream.seek(turn)

    def at(self, turn: int) -> NDArray[np.intp]:
        """Return the number of a sample by its turn."""
        cycle, turn = divmod(turn, self._samples) if self._samples else (0, turn)
        stream = self.stream if cycle == self.cycle else self._begun(cycle)
        indices = checked_indices(stream.at(turn, None).array(), self._source._flat_length())
        return indices + self._start


def _has_flat_indices(source: Any) -> bool:
    if isinstance(source, WrappedSource):
        return _has_flat_indices(source.source)
    return isinstance(source, (RandomAccessDataSource, MixDataSource)) and source._cuttable


def _proportions(weights: Sequence[Any], members: int) -> list[int]:
    """Return whole numbers in the proportion of the weights."""
    if len(weights) != members or members == 0:
        raise LengthError(f"expected one weight for each of {members} sources, got {len(weights)}")
    if not all(isinstance(w, numbers.Real) and math.isfinite(w) and float(w) > 0 for w in weights):
        raise InvalidValueError(f"weights must be positive numbers, got {list(weights)}")
    exact = [Fraction(str(weight)) for weight in weights]  # as written: 0.1 is a tenth
    scale = math.lcm(*(weight.denominator for weight in exact))
    counts = [int(weight * scale) for weight in exact]
    shared = math.gcd(*counts)
    counts = [count // shared for count in counts]
    if sum(counts) <= _LONGEST:
        return counts
    if min(counts) * _LONGEST < sum(counts):
        raise InvalidValueError(f"weights may differ by a factor of {_LONGEST:,} at most, got {list(weights)}")
    return [round(count * _LONGEST / sum(counts)) for count in counts]

"""One walk for all sources: index batches are taken, read a few at a time where that is free, and handed out."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from itertools import chain
from time import perf_counter
from typing import Any

import numpy as np

from batchup.data_source.abstract import AbstractDataSource
from batchup.data_source.ahead import Ahead, Begun, Mark, Reading, changed_length, waited_for
from batchup.data_source.batch_iterator import Count
from batchup.data_source.batches import with_mask
from batchup.data_source.clock import Clock
from batchup.data_source.door import OwnDataSource, check_keywords
from batchup.data_source.hints import Hints, most_in_window
from batchup.data_source.passes import AHEAD, GROWTH, SMALL, Pass, as_pass
from batchup.data_source.states import VERSION, checked_state, plan_of, step_at
from batchup.data_source.steps import ShardStream, TailStream
from batchup.data_source.tolerance import Ledger, put, read_tolerantly, samples_shown
from batchup.errors import InvalidTypeError, InvalidValueError, StateError, UnsupportedError, WorkerError
from batchup.sampling.chunks import batch_count, chunk_length, cut, first_leaf, real_samples
from batchup.sampling.order import Shuffle, generator_state, raw_state, set_generator_state
from batchup.sampling.streams import IndexStream, index_batches

# Batches of up to SMALL bytes are read several at a time: AHEAD bytes (which stay in a core's own cache), but at most
# MOST batches. For larger ones just the indices are taken together, for LATER of them. All begin with one batch, and
# grow by GROWTH.
MOST = 256
LATER = 32


class WalkedDataSource(OwnDataSource):
    """A source that can be read by index, if all the sources that it is made of can."""

    def batch_indices_iterator(
        self,
        batch_size: int,
        shuffle: Shuffle = None,
        *,
        epoch: int = 0,
        tail: str = "short",
        shard: tuple[int, int] | None = None,
        **kwargs: Any,
    ) -> Iterator[Any]:
        """Return an iterator over the sample indices of the batches that `batch_iterator` would hand out.

        Parameters
        ----------
        batch_size, shuffle, epoch, tail, shard
            As in `batch_iterator`.

        Returns
        -------
        iterator
            Of ndarray of intp, shape (<= batch_size,), or whatever indices this kind of source takes.

        Raises
        ------
        TypeError
            If the source is not random access, or an argument is of the wrong kind.
        """
        self._require_random_access()
        outsider = self._outsider()
        if outsider is not None and not isinstance(outsider, WalkedDataSource):
            raise InvalidTypeError(f"the index batches of {type(outsider).__name__} are not batchup's to draw")
        check_keywords(type(self).__name__, None, {}, kwargs)
        walk = replace(as_pass(batch_size, shuffle, epoch, tail, shard), indices_only=True)
        return map(self._public_indices, index_batches(self._steps_of_pass(walk)))

    @abstractmethod
    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        """Return the batch of samples at `indices` of the data."""

    @abstractmethod
    def samples_by_indices(self, indices: Any) -> Any:
        """Return the batch of samples at `indices` of what is sampled from: positions in the subset, if any."""

    def _batches_of_pass(self, walk: Pass, keywords: Mapping[str, Any]) -> Iterator[Any]:
        if makes_its_own(self):
            return iter(self.batch_iterator(walk.batch_size, **keywords))
        return iter(self._enter_pass(walk, keywords))

    def _enter_pass(self, walk: Pass, keywords: Mapping[str, Any]) -> Iterable[Any]:
        if self.is_random_access and self._outsider() is None:
            return Walk(self, walk)
        return self._stream_batches(walk, keywords)

    def _stream_batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Iterator[Any]:
        """Return the batches of a pass over a tree that is not random access."""
        raise UnsupportedError(f"{type(self).__name__} has no batches but those read by index")

    @property
    @abstractmethod
    def _cuttable(self) -> bool:
        """Whether the epoch is a row of samples that may be cut into batches anywhere."""

    @abstractmethod
    def _index_batches(self, walk: Pass) -> IndexStream:
        """Return the index batches of a pass on one rank, in chunks that `read` takes. Draws nothing."""

    @abstractmethod
    def _read_chunk(self, chunk: Any, walk: Pass) -> Iterator[Any]:
        """Return the batches of a chunk; what lies in arrays is read before this returns."""

    def _begin_chunk(self, chunk: Any, walk: Pass, urgent: bool = False) -> Reading:
        """Begin to read a chunk, if this source has others to do it; urgent is what somebody waits for already."""
        return Reading(partial(self._read_chunk, chunk, walk))

    def _look_ahead(self, walk: Pass) -> int:
        """Return how many batches to begin before they are needed; 0 if all is read here, when it is needed."""
        return 0

    def _window(self, walk: Pass) -> int:
        """Return how many batches to read as one chunk because that is less work; 0 if it is not, or not possible."""
        return 0

    def _together(self, walk: Pass) -> int:
        """Return how many of those batches to begin as one chunk."""
        return 1

    @abstractmethod
    def _public_indices(self, chunk: Any) -> Any:
        """Return the indices of a chunk that holds one batch, as users see them."""

    @abstractmethod
    def _column_lengths(self) -> tuple[int, ...]:
        """Return the number of samples in each column of the tree, as it is now."""

    @abstractmethod
    def _sample_bytes(self, walk: Pass) -> int | None:
        """Return the bytes to copy for one sample, None if samples are not to be read ahead of need."""

    def _expect(self, chunk: Any) -> bool:
        """Tell the data that a chunk will soon be read; return whether something has to be fetched for it."""
        return False

    def _files(self, chunk: Any) -> tuple[str, ...]:
        """Return the paths of the files that are to be read for a chunk, if it matters on which machine that is done.

        It is answered without opening any, and whether or not they lie on this machine.
        """
        return ()

    def _all_files(self) -> tuple[str, ...]:
        """Return the paths of all such files."""
        return ()

    def _resident(self) -> bool:
        """Return whether all data lies in memory, and is read from there without code of the user's."""
        return False

    def _by_row(self) -> bool:
        """Return whether a batch may be read in parts, and is what they make up together."""
        return False

    def _maps(self) -> bool:
        """Return whether functions of the user's are called on the way."""
        return False

    @abstractmethod
    def _plan_structure(self) -> str:
        """Return what an order depends on, apart from the keywords of `batch_iterator`, in a line."""

    def _one_rank(self, walk: Pass) -> IndexStream:
        """Return the index batches of a pass on one rank, with the tail that was asked for."""
        if walk.tail == "short" or not self._cuttable:
            return self._index_batches(walk)
        return TailStream(lambda: self._index_batches(walk), walk)

    def _steps_of_pass(self, walk: Pass) -> IndexStream:
        """Return the index batches of a pass on the rank that was asked for."""
        if walk.world_size == 1:
            return self._one_rank(walk)
        whole: Count = None
        if not walk.drawn:
            whole = self.num_samples() if self._cuttable else self._num_batches(walk, {})
            if self._cuttable and whole is not None and whole != math.inf:
                whole //= walk.batch_size
        return ShardStream(lambda: self._index_batches(walk), walk, whole, self._cuttable)

    def _num_steps(self, walk: Pass, keywords: Mapping[str, Any]) -> Count:
        if walk.world_size == 1:
            return self._num_batches(walk, keywords)
        whole = self.num_samples(**keywords) if self._cuttable else self._num_batches(walk, keywords)
        if whole is None or whole == math.inf:
            return whole
        step = walk.world_size * (walk.batch_size if self._cuttable else 1)
        return int(whole) // step if walk.tail == "drop" else -(-int(whole) // step)

    def _check_pass(self, walk: Pass) -> None:
        keys = self._batch_keys()
        if walk.tail == "pad" and isinstance(keys, tuple) and "mask" in keys:
            raise InvalidValueError("with tail='pad' the key 'mask' is taken: rename that column")

    def _require_random_access(self) -> None:
        if not self.is_random_access:
            raise InvalidTypeError(
                f"{type(self).__name__} cannot be read by index: {type(self._outsider()).__name__} is not random access"
            )


def makes_its_own(source: AbstractDataSource) -> bool:
    """Return whether a source's class brings a `batch_iterator` that is not batchup's."""
    return type(source).batch_iterator is not OwnDataSource.batch_iterator


def outsider_in(source: AbstractDataSource) -> AbstractDataSource | None:
    """Return the first source in a tree whose batches batchup does not make itself, if there is one."""
    return source if makes_its_own(source) else source._outsider()


def each_once(files: Iterable[tuple[str, ...]]) -> tuple[str, ...]:
    """Return all the paths in some tuples, each once.

    >>> each_once([("a", "b"), ("b", "c")])
    ('a', 'b', 'c')
    """
    return tuple(dict.fromkeys(chain.from_iterable(files)))


class Walk:
    """The batches of one pass over a random access source, on one rank; it can be left and entered anywhere."""

    def __init__(self, source: WalkedDataSource, walk: Pass) -> None:
        self.source = source
        self.walk = walk
        self.ledger = Ledger(walk, source.num_samples)
        self._each_timed = self._maps = False
        self._known_plan: dict[str, Any] | None = None
        self._batches: Iterator[Any]
        self._enter(source._steps_of_pass(walk), 0)

    def __iter__(self) -> Iterator[Any]:
        return self._batches

    def close(self) -> None:
        """Give up the batches that are made ahead."""
        self._batches = iter(())
        if self._ahead is not None:
            self._ahead.close()

    def state_dict(self, position: int) -> dict[str, Any]:
        """Return the state of having handed out `position` batches."""
        state = {
            "version": VERSION,
            "plan": dict(self._plan()),
            "position": position * self.walk.world_size,
            "world_size": self.walk.world_size,
        }
        if self.walk.drawn:
            stream, taken, generator = self._mark()
            now = raw_state(self.walk.order) if generator is None else generator  # type: ignore[arg-type]
            state["stream"] = stream.state(taken - position)
            state["generator"] = generator_state(now)
        return state

    def load_state_dict(self, state: Any) -> int:
        """Go to where a state was taken; return how many batches had been handed out there, on this rank."""
        state = checked_state(state, self._plan())
        ended = self._ended(state["position"])
        step = step_at(state["position"], self.walk.world_size, ended)
        if self.walk.drawn and state["world_size"] != self.walk.world_size:
            raise StateError(
                f"with a generator's order the world size stays: it was {state['world_size']} and is "
                f"{self.walk.world_size}; an int seed as shuffle may change it"
            )
        stream = self.source._steps_of_pass(self.walk)
        if self.walk.drawn:
            _restore(stream, state, self.walk.order)
        else:
            stream.seek(step)
        self.close()
        self._enter(stream, step, ended)
        return step

    def _plan(self) -> dict[str, Any]:
        if self._known_plan is None:
            self._known_plan = plan_of(self.source._plan_structure(), self.source.num_samples(), self.walk)
        return self._known_plan

    def _ended(self, position: int) -> bool:
        batches = self.source._num_batches(self.walk, {})
        return batches is not None and position >= batches

    @property
    def step(self) -> int:
        """Number of the step whose batch is in work."""
        return self._mark().taken - 1

    def with_others(self, chunk: Any, rows: Any, place: int) -> Any:
        """Put into rows of a chunk the samples from a place of the one-rank order on, round and round."""
        samples = self.source.num_samples() if self.source._cuttable else None
        places = [place + i for i in range(len(rows))]
        if samples is not None and samples != math.inf:
            places = [place % int(samples) for place in places]
        stream = self._mark().stream
        return put(chunk, rows, [stream.at(place, chunk) for place in places])

    def _enter(self, stream: IndexStream, taken: int, ended: bool = False) -> None:
        """Go on from where a stream stands, behind so many batches."""
        self._stream, self._taken = stream, taken
        self._ahead: Ahead | None = None
        self._batches = iter(())
        if ended:
            return
        single = self.walk.policy.tolerant  # bad samples are looked for batch by batch
        if self.source._look_ahead(self.walk):
            self._ahead = Ahead(self.source, self.walk, stream, taken, 1 if single else MOST)
            self._batches = chain.from_iterable(map(self._finish, self._ahead))
        else:
            self._batches = chain.from_iterable(self._chunks(single))

    def _mark(self) -> Mark:
        """Return where the pass stood when the chunk in work had been taken."""
        return Mark(self._stream, self._taken, None) if self._ahead is None else self._ahead.mark

    def _finish(self, begun: Begun) -> Iterator[Any]:
        """Return the batches of a chunk that was begun ahead."""
        chunk, reading, _ = begun
        reading = Reading(partial(self._located, begun), [reading])
        if self.walk.policy.tolerant:
            return waited_for(self._tolerated(chunk, reading), self.walk.clock)
        batches = waited_for(_result(reading), self.walk.clock)
        return _masked(batches, chunk) if self.walk.tail == "pad" else batches

    def _located(self, begun: Begun) -> Iterator[Any]:
        """Return the batches of a reading; if a worker fails at it, tell which batch that was."""
        try:
            return begun.reading.result()
        except WorkerError as error:
            count = batch_count(begun.chunk)
            size = chunk_length(begun.chunk) // count
            batch = cut(begun.chunk, error.batch * size, (error.batch + 1) * size)
            number = begun.mark.taken - count + error.batch
            raise type(error)(f"batch {number} of epoch {self.walk.epoch}, {samples_shown(batch)}: {error}") from error

    def _tolerated(self, chunk: Any, reading: Reading) -> Iterator[Any]:
        batches, chunk = read_tolerantly(self.source, chunk, self, reading)
        yield from _masked(batches, chunk) if self.walk.tail == "pad" else batches

    def _chunks(self, single: bool) -> Iterator[Iterator[Any]]:
        source, walk = self.source, self.walk
        lengths = source._column_lengths()
        sample_bytes = source._sample_bytes(walk)
        self._maps = source._maps()
        self._each_timed = self._maps or sample_bytes is None or sample_bytes * walk.batch_size > SMALL
        most = 1 if single else _batches_at_once(sample_bytes, walk.batch_size)
        resident = source._resident()
        looks = sample_bytes is None and not resident
        hints = None if resident else Hints(source, walk)
        if hints is not None:
            most = min(most, most_in_window(sample_bytes, walk.batch_size))
        if not single:
            most = max(most, source._window(walk))
        count = 1
        while (chunk := self._stream.take(count)) is not None:
            # a NumPy array to which somebody refers cannot change its length
            if looks and source._column_lengths() != lengths:
                raise changed_length(lengths, source._column_lengths())
            self._taken += batch_count(chunk)
            if hints is not None:
                hints.taken(chunk, self._taken, self._stream)
            yield self._read(chunk)  # kept in no variable: it would hold the last batch while the next is read
            count = min(count * GROWTH, most)

    def _read(self, chunk: Any) -> Iterator[Any]:
        begin, clock = perf_counter(), self.walk.clock
        if self.walk.policy.tolerant:
            batches, chunk = read_tolerantly(self.source, chunk, self, self.source._begin_chunk(chunk, self.walk))
        else:
            batches = self.source._read_chunk(chunk, self.walk)
        if self.walk.tail == "pad":
            batches = _masked(batches, chunk)
        if self._each_timed and (self._maps or batch_count(chunk) > 1):
            return _timed(batches, clock, begin)
        seconds = perf_counter() - begin
        clock.gathering += seconds
        clock.wait(seconds, batch_count(chunk))
        return batches


def _restore(stream: IndexStream, state: dict[str, Any], generator: Any) -> None:
    """Go to where the stream of a generator's order was, and set the generator to what it was then."""
    before = raw_state(generator)
    try:
        stream.restore(state["stream"])
        set_generator_state(generator, state["generator"])
    except (KeyError, TypeError, ValueError, IndexError) as error:
        set_generator_state(generator, generator_state(before))
        raise StateError(f"the state is damaged: {error!r}") from error


def _result(reading: Reading) -> Iterator[Any]:
    """Wait for the batches of a reading when the first one is asked for."""
    yield from reading.result()


def _timed(batches: Iterator[Any], clock: Clock, begin: float) -> Iterator[Any]:
    """Hand on batches, each of which takes its time; what is not spent in maps is gathering."""
    mapped, total = clock.mapping, 0.0
    waits, counts = clock.waits, clock.counts
    try:
        for batch in batches:
            seconds = perf_counter() - begin
            total += seconds
            waits.append(seconds)
            counts.append(1)
            yield batch
            del batch  # nothing here may hold the last batch while the next one is read
            begin = perf_counter()
    finally:
        clock.gathering += total - (clock.mapping - mapped)
        clock.wait(0.0, 0)  # puts them into buckets when they are many


def _masked(batches: Iterator[Any], chunk: Any) -> Iterator[Any]:
    """Append to each batch the column that marks the samples that are no padding."""
    size = len(first_leaf(chunk)) // batch_count(chunk)
    for batch in batches:
        yield with_mask(batch, np.arange(size) < real_samples(chunk))
        del batch


def _batches_at_once(sample_bytes: int | None, batch_size: int) -> int:
    """Return for how many batches to take the indices at once; small ones are read at once, too."""
    if sample_bytes is None:
        return 1
    if sample_bytes * batch_size > SMALL:
        return LATER
    return min(MOST, AHEAD // max(1, sample_bytes * batch_size))

"""Batches the way seqp hands them out: without end, padded, each from one bucket of sequences of like length."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup.columns.padding import Padding
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.sampling.buckets import least_padding
from batchup.sampling.order import Generator, Key, as_order
from batchup.sequences.reader import RecordReader

BatchSize: TypeAlias = "int | Callable[[int], int]"


class DataLoader:
    """Padded batches of records of like length, for loops that decide themselves when to stop.

    For epochs that end, can be resumed, dealt out to ranks or given to workers, see `RecordReader.data_source`.

    Parameters
    ----------
    reader : RecordReader
        Gives the records.
    pad_value : scalar, default 0
        What fills the places behind the elements of a record.
    num_buckets : int, default 100
        Number of buckets at most; their edges are those with which the least is to be padded.

    Attributes
    ----------
    bucket_limits : list of tuple of int
        The shortest and the longest length of each bucket, ascending.

    Raises
    ------
    ValueError
        If there are no records, or they cannot hold `pad_value`.

    Examples
    --------
    >>> from batchup.sequences import DataLoader, InMemoryReader
    >>> loader = DataLoader(InMemoryReader([[1], [2, 2], [3], [4, 4]]), num_buckets=2)
    >>> [batch.shape for batch in loader.iterator(batch_size=2, shuffle=1, epochs=1)]
    [(2, 2), (2, 1)]
    """

    def __init__(self, reader: RecordReader, pad_value: Any = 0, num_buckets: int = 100) -> None:
        if not isinstance(reader, RecordReader):
            raise InvalidTypeError(f"reader must be a RecordReader, got {type(reader).__name__}")
        self.record_reader = reader
        self.pad_value = pad_value
        main = reader.columns[reader.sequence_field]
        Padding(pad_value).check(main.dtype, main.inner_shape)
        lengths = reader.lengths
        if not len(lengths):
            raise InvalidValueError("there are no records to make batches of")
        edges = least_padding(lengths, whole_number(num_buckets, "num_buckets", 1))
        bucket = np.searchsorted(edges, lengths, "left")
        self.buckets = [np.flatnonzero(bucket == number) for number in range(len(edges) + 1)]
        self.bucket_limits = [(int(lengths[rows].min()), int(lengths[rows].max())) for rows in self.buckets]
        self.num_buckets = len(self.buckets)
        self.max_length = self.bucket_limits[-1][1]

    def iterator(
        self,
        batch_size: BatchSize,
        is_size_in_tokens: bool = False,
        dynamic_seq_length: Callable[[], tuple[int, int]] | None = None,
        dynamic_padded_length: Callable[[int], int] | None = None,
        length_schedule: Callable[[int], tuple[float, float]] | None = None,
        *,
        shuffle: Any = None,
        epochs: int | None = None,
    ) -> Iterator[Any]:
        """Return an iterator over batches.

        In each epoch every record comes once; the last batch from a bucket may be short. Where a schedule keeps
        buckets out, those that are left begin again when they are used up.

        Parameters
        ----------
        batch_size : int or callable
            Records in a batch; or ``batch_size(padded_length)`` returns that. With `is_size_in_tokens` an int that
            caps the length after padding times their number.
        is_size_in_tokens : bool, default False
            What `batch_size` counts.
        dynamic_seq_length : callable, optional
            Returns, before each batch, between which lengths a bucket must lie.
        dynamic_padded_length : callable, optional
            ``dynamic_padded_length(longest)`` returns what to pad to, given the longest length of the bucket.
        length_schedule : callable, optional
            ``length_schedule(number)`` returns, for the batch of this number, between which shares of the buckets,
            from the shortest (0.0) to the longest (1.0), one is chosen.
        shuffle : int, Generator or RandomState, optional
            Where the order comes from; fresh entropy by default.
        epochs : int, optional
            After how many epochs to stop; never by default.

        Yields
        ------
        ndarray, shape (n, padded length, ...); or dict of those, if records have fields

        Raises
        ------
        TypeError, ValueError
            If arguments exclude each other, or the budget is less than the longest record; when a batch is drawn, if
            a function returns what cannot be.
        """
        if length_schedule is not None and dynamic_seq_length is not None:
            raise InvalidTypeError("give length_schedule or dynamic_seq_length, not both")
        if epochs is not None:
            whole_number(epochs, "epochs", 1)
            if length_schedule is not None or dynamic_seq_length is not None:
                raise InvalidTypeError("epochs= has no meaning where a schedule keeps records out")
        if callable(batch_size):
            if is_size_in_tokens:
                raise InvalidTypeError("batch_size counts tokens if it is a number only, got a function")
        else:
            whole_number(batch_size, "batch_size", 1)
            if is_size_in_tokens and batch_size < self.max_length and dynamic_seq_length is None:
                self._refuse(batch_size)
        draws = _Draws(self, _generator(shuffle), epochs)
        size = _records_in(batch_size, is_size_in_tokens)
        return self._batches(draws, size, dynamic_seq_length, dynamic_padded_length, length_schedule)

    def _batches(
        self,
        draws: _Draws,
        size: Callable[[int], int],
        dynamic_seq_length: Callable[[], tuple[int, int]] | None,
        dynamic_padded_length: Callable[[int], int] | None,
        length_schedule: Callable[[int], tuple[float, float]] | None,
    ) -> Iterator[Any]:
        number = 0
        while True:
            allowed = range(self.num_buckets)
            if dynamic_seq_length is not None:
                allowed = self._between(*dynamic_seq_length())
            elif length_schedule is not None:
                allowed = self._shares(*length_schedule(number))
            bucket = draws.bucket(allowed)
            if bucket is None:
                return
            longest = self.bucket_limits[bucket][1]
            width = longest if dynamic_padded_length is None else int(dynamic_padded_length(longest))
            if width < longest:
                raise InvalidValueError(f"dynamic_padded_length({longest}) returned {width}: it cannot be less")
            count = size(width)
            if count < 1:
                raise InvalidValueError(f"a batch of records of length {width} would have {count} of them")
            yield self._padded(draws.records(bucket, count), width)
            number += 1

    def _padded(self, places: NDArray[np.intp], width: int) -> Any:
        reader = self.record_reader
        batch = {
            field: column.laid_out(
                places, Padding(self.pad_value, to=width if field == reader.sequence_field else None)
            )
            for field, column in reader.columns.items()
        }
        return batch[None] if reader.fields is None else batch

    def _between(self, shortest: int, longest: int) -> range:
        """Return the buckets that lie between two lengths."""
        fitting = [
            number for number, (low, high) in enumerate(self.bucket_limits) if low >= shortest and high <= longest
        ]
        if not fitting:
            raise InvalidValueError(
                f"no bucket lies between the lengths {shortest} and {longest}: there are {self.bucket_limits}"
            )
        return range(fitting[0], fitting[-1] + 1)

    def _shares(self, low: float, high: float) -> range:
        """Return the buckets between two shares."""
        if not 0 <= low <= high <= 1:
            raise InvalidValueError(f"length_schedule must return two shares, 0 <= a <= b <= 1, got {low} and {high}")
        last = self.num_buckets - 1
        return range(int(last * low), int(last * high) + 1)

    def _refuse(self, budget: int) -> None:
        lengths = self.record_reader.lengths
        index = list(self.record_reader.indexes())[int(lengths.argmax())]
        raise InvalidValueError(
            f"batch_size={budget} tokens is less than the longest record: number {index} has {self.max_length}"
        )


class CoordinatedDataLoader:
    """Batches from several loaders side by side, of the same size and padded to the same length.

    The first one leads: it draws a bucket; the others follow with as many records, none longer than what the leader
    pads to.

    Parameters
    ----------
    data_loaders : sequence of DataLoader
        At least two.
    length_ratios : sequence of float, optional
        How long the records of each are, as a multiple of the leader's, at which there is to be room for those of its
        bucket; 1 by default. The leader's own is not looked at.

    Examples
    --------
    >>> from batchup.sequences import CoordinatedDataLoader, DataLoader, InMemoryReader
    >>> words = DataLoader(InMemoryReader([[1], [2, 2], [3, 3, 3]]))
    >>> tags = DataLoader(InMemoryReader([[7], [8, 8]]))
    >>> left, right = next(CoordinatedDataLoader([words, tags]).iterator(batch_size=1, shuffle=1))
    >>> left.shape == right.shape
    True
    """

    def __init__(self, data_loaders: Sequence[DataLoader], length_ratios: Sequence[float] | None = None) -> None:
        loaders = list(data_loaders)
        if len(loaders) < 2:
            raise InvalidValueError(f"there must be at least 2 loaders, got {len(loaders)}")
        ratios = [0.0] + [1.0] * (len(loaders) - 1) if length_ratios is None else list(length_ratios)
        if len(ratios) != len(loaders):
            raise InvalidValueError(f"expected one length ratio per loader, got {len(ratios)} for {len(loaders)}")
        self.leader_dl, self.follower_dls = loaders[0], loaders[1:]
        self.follower_length_ratios = ratios[1:]

    def iterator(
        self,
        batch_size: int,
        is_size_in_tokens: bool = False,
        leader_length_schedule: Callable[[int], tuple[float, float]] | None = None,
        *,
        shuffle: Any = None,
    ) -> Iterator[tuple[Any, ...]]:
        """Return an endless iterator over tuples with one batch per loader.

        Parameters
        ----------
        batch_size, is_size_in_tokens
            As for `DataLoader.iterator`.
        leader_length_schedule : callable, optional
            The `length_schedule` of the leader.
        shuffle : int, Generator or RandomState, optional
            Where the order comes from; fresh entropy by default.
        """
        whole_number(batch_size, "batch_size", 1)
        return self._batches(_records_in(batch_size, is_size_in_tokens), leader_length_schedule, _generator(shuffle))

    def _batches(
        self, size: Callable[[int], int], schedule: Callable[[int], tuple[float, float]] | None, generator: Generator
    ) -> Iterator[tuple[Any, ...]]:
        count = width = 0

        def of_leader(padded: int) -> int:
            nonlocal count
            count = size(padded)
            return count

        def wide_enough(longest: int) -> int:
            nonlocal width
            width = max([longest, *(_limit(f, int(r * longest)) for f, r in self._followers())])
            return width

        leader = self.leader_dl.iterator(
            of_leader, dynamic_padded_length=wide_enough, length_schedule=schedule, shuffle=generator
        )
        draws = [_Draws(follower, generator, None, whole=True) for follower in self.follower_dls]
        for batch in leader:
            first = len(next(iter(batch.values())) if isinstance(batch, dict) else batch)
            others = []
            for follower, of_follower in zip(self.follower_dls, draws, strict=True):
                bucket = of_follower.bucket(follower._between(0, width))
                assert bucket is not None
                others.append(follower._padded(of_follower.records(bucket, first), width))
            yield (batch, *others)

    def _followers(self) -> Iterator[tuple[DataLoader, float]]:
        return zip(self.follower_dls, self.follower_length_ratios, strict=True)


class _Draws:
    """What is left of each bucket, in random order.

    Parameters
    ----------
    loader : DataLoader
        Whose buckets they are.
    generator : Generator or RandomState
        Where chance comes from.
    epochs : int or None
        After how many epochs nothing is left; None is never.
    whole : bool
        Whether batches are never short: a bucket that is used up begins again within one.
    """

    def __init__(self, loader: DataLoader, generator: Generator, epochs: int | None, whole: bool = False) -> None:
        self._buckets = loader.buckets
        self._generator = generator
        self._epochs = epochs
        self._whole = whole
        self._left: list[NDArray[np.intp]] = [self._shuffled(number) for number in range(len(self._buckets))]

    def bucket(self, allowed: range) -> int | None:
        """Return one of the allowed buckets, the likelier the more is left of it; None at the end."""
        left = np.array([len(self._left[number]) for number in allowed])
        if not left.any():
            if self._epochs is not None:
                self._epochs -= 1
                if not self._epochs:
                    return None
            for number in allowed:
                self._left[number] = self._shuffled(number)
            left = np.array([len(self._left[number]) for number in allowed])
        place = int(np.searchsorted(np.cumsum(left), self._generator.random() * left.sum(), "right"))
        return allowed[place]

    def records(self, bucket: int, count: int) -> NDArray[np.intp]:
        """Return the next records of a bucket."""
        while self._whole and len(self._left[bucket]) < count:
            self._left[bucket] = np.concatenate([self._left[bucket], self._shuffled(bucket)])
        drawn, self._left[bucket] = self._left[bucket][:count], self._left[bucket][count:]
        return drawn

    def _shuffled(self, number: int) -> NDArray[np.intp]:
        drawn: NDArray[np.intp] = self._generator.permutation(self._buckets[number])
        return drawn


def _records_in(batch_size: BatchSize, is_size_in_tokens: bool) -> Callable[[int], int]:
    """Return the function that tells, for a length after padding, the number of records in a batch."""
    if callable(batch_size):
        return batch_size
    budget = batch_size
    return (lambda width: budget // max(1, width)) if is_size_in_tokens else (lambda width: budget)


def _limit(loader: DataLoader, length: int) -> int:
    """Return the longest length of the bucket into which a length falls, or of the last one."""
    return next((high for _, high in loader.bucket_limits if high >= length), loader.max_length)


def _generator(shuffle: Any) -> Generator:
    order = as_order(shuffle)
    if order is None:
        return np.random.default_rng()
    return order.generator() if isinstance(order, Key) else order

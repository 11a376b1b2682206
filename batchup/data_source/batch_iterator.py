"""The iterator over batches that every data source hands out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from time import perf_counter
from types import TracebackType
from typing import Any, TypeAlias

from batchup.data_source.clock import Clock
from batchup.errors import InvalidTypeError

# a number of samples or batches: `numpy.inf` if there is no end, None if it is not known
Count: TypeAlias = "int | float | None"

_SETTLE = 4096


class BatchIterator(Iterator[Any]):
    """The batches of one pass over a data source.

    It is an iterator and a context manager. ``len()`` is the number of batches in the whole pass; where that is
    infinite or not known it raises a TypeError. After an error it is exhausted, like a generator.

    Examples
    --------
    >>> import numpy as np
    >>> from batchup.data_source import ArrayDataSource
    >>> with ArrayDataSource([np.arange(10)]).batch_iterator(4) as batches:
    ...     print(len(batches), next(batches), batches.position)
    3 (array([0, 1, 2, 3]),) 1
    """

    __slots__ = ("_batches", "_clock", "_count_batches", "_count_samples", "_position")

    def __init__(
        self,
        batches: Iterator[Any],
        clock: Clock,
        count_batches: Callable[[], Count] = lambda: None,
        count_samples: Callable[[], Count] = lambda: None,
    ) -> None:
        self._batches = batches
        self._clock = clock
        self._count_batches = count_batches
        self._count_samples = count_samples
        self._position = 0

    def __next__(self) -> Any:
        begin = perf_counter()
        try:
            batch = next(self._batches)
        except BaseException:
            self.close()  # at the end, and after an error: there is no going on with a hole in the epoch
            raise
        self._position += 1
        self._clock.waits.append(perf_counter() - begin)
        if not self._position % _SETTLE:
            self._clock.settle()
        return batch

    def __len__(self) -> int:
        length = self._count_batches()
        if isinstance(length, int):
            return length
        raise InvalidTypeError(f"the number of batches is {'not known' if length is None else 'infinite'}")

    @property
    def position(self) -> int:
        """Number of batches handed out so far."""
        return self._position

    @property
    def num_samples(self) -> Count:
        """Number of samples in the whole pass: `numpy.inf` if it never ends, None if it is not known."""
        return self._count_samples()

    def stats(self) -> dict[str, Any]:
        """Return where the time went so far.

        Returns
        -------
        dict
            ``batches`` handed out; ``samples`` and ``bytes`` read for them, and for those made ahead; the seconds
            ``waiting`` for batches, of which so many were spent ``gathering`` samples, ``mapping`` them and
            ``transporting`` them; and ``p50``, ``p95`` and ``p99``, the seconds that so many percent of the
            batches took at most, good to 5%.
        """
        return self._clock.report()

    def close(self) -> None:
        """Let go of the data and of batches made ahead; from here on the iterator is exhausted."""
        self._batches = iter(())

    def __enter__(self) -> BatchIterator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

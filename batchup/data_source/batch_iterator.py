"""The iterator over batches that every data source hands out."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeAlias

from batchup.data_source.passes import Pass
from batchup.errors import InvalidTypeError, StateError, UnsupportedError

if TYPE_CHECKING:
    from batchup.data_source.tolerance import SampleError

# a number of samples or batches: `numpy.inf` if there is no end, None if it is not known
Count: TypeAlias = "int | float | None"


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

    __slots__ = ("_batches", "_count_batches", "_count_samples", "_failed", "_position", "_walk", "_walker")

    def __init__(
        self,
        batches: Iterable[Any],
        walk: Pass,
        count_batches: Callable[[], Count] = lambda: None,
        count_samples: Callable[[], Count] = lambda: None,
    ) -> None:
        self._walker: Any = batches if hasattr(batches, "load_state_dict") else None
        self._batches = iter(batches)
        self._walk = walk
        self._count_batches = count_batches
        self._count_samples = count_samples
        self._position = 0
        self._failed = False

    def __next__(self) -> Any:
        try:
            batch = next(self._batches)
        except StopIteration:
            self.close()
            raise
        except BaseException:
            self._failed = True
            self.close()  # there is no going on with a hole in the epoch
            raise
        self._position += 1
        return batch

    def __bool__(self) -> bool:
        return True

    def __len__(self) -> int:
        length = self._count_batches()
        if isinstance(length, int):
            return length
        raise InvalidTypeError(f"the number of batches is {'not known' if length is None else 'infinite'}")

    @property
    def position(self) -> int:
        """Number of batches handed out so far, since the beginning of the pass."""
        return self._position

    @property
    def num_samples(self) -> Count:
        """Number of samples in the whole pass: `numpy.inf` if it never ends, None if it is not known."""
        try:
            return self._count_samples()
        except UnsupportedError:  # a source, or a sampler, that does not tell
            return None

    @property
    def padded(self) -> bool:
        """Whether the last column of every batch is the mask of the samples that are no padding."""
        return self._walk.tail == "pad"

    @property
    def errors(self) -> list[SampleError]:
        """The samples that could not be read so far: (epoch, position, sample_index, stage, exception)."""
        return [] if self._walker is None else list(self._walker.ledger.errors)

    def state_dict(self) -> dict[str, Any]:
        """Return where this pass stands, to go on from there later, elsewhere.

        Returns
        -------
        dict
            JSON; what `load_state_dict` takes. For an order that follows from a seed, or from the data, it is
            small. For one drawn from a generator it holds the states of the generator.

        Raises
        ------
        TypeError
            If the batches come from a callable or an iterator.

        Examples
        --------
        >>> import numpy as np
        >>> from batchup.data_source import ArrayDataSource
        >>> ds = ArrayDataSource([np.arange(5)])
        >>> batches = ds.batch_iterator(2, shuffle=7)
        >>> first, state = next(batches), batches.state_dict()
        >>> again = ds.batch_iterator(2, shuffle=7)
        >>> again.load_state_dict(state)
        >>> [batch.tolist() for (batch,) in again] == [batch.tolist() for (batch,) in batches]
        True
        """
        walker = self._resumable()
        if self._failed and self._walk.drawn:
            raise StateError(
                "the order came from a generator, which has gone past the batch that failed: take states before, or "
                "pass an int seed as shuffle"
            )
        state: dict[str, Any] = walker.state_dict(self._position)
        return state

    def load_state_dict(self, state: Any) -> None:
        """Go to where a state was taken: the next batch is the one that would have come next there.

        Parameters
        ----------
        state : dict or str
            From `state_dict` of a pass with the same arguments, over a source of the same make; or the same as
            JSON text. The world size may differ if it divides the number of batches handed out in all.

        Raises
        ------
        ValueError
            If the state belongs to something else, saying what differs, or is damaged.
        """
        walker = self._resumable()
        self._position = walker.load_state_dict(state)
        self._failed = False
        self._batches = iter(walker)

    def _resumable(self) -> Any:
        if self._walker is None:
            raise InvalidTypeError("state_dict: batches that a callable or an iterator makes cannot be entered again")
        return self._walker

    def stats(self) -> dict[str, Any]:
        """Return where the time went so far.

        Returns
        -------
        dict
            ``batches`` handed out; ``samples`` and ``bytes`` read for them, and for those made ahead; the seconds
            ``waiting`` for batches; the seconds spent ``gathering`` samples, ``mapping`` them and ``transporting``
            them, which are a part of those, or the workers' own, if there are any; and ``p50``, ``p95`` and
            ``p99``, the seconds that so many percent of the batches took at most, good to 5%. Batches that are read
            together share the time that it took.
        """
        return self._walk.clock.report()

    def close(self) -> None:
        """Let go of the data and of batches made ahead; from here on the iterator is exhausted."""
        self._batches = iter(())
        if self._walker is not None:
            self._walker.close()

    def __del__(self) -> None:
        if getattr(self, "_walker", None) is not None:
            self._walker.close()

    def __enter__(self) -> BatchIterator:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

"""Sources that are handed their batches: by a function that makes an iterator, or by an iterator."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from batchup.data_source.abstract import AbstractDataSource
from batchup.data_source.batch_iterator import Count
from batchup.data_source.door import OURS, OwnDataSource
from batchup.data_source.passes import Pass
from batchup.errors import InvalidTypeError
from batchup.sampling import num_batches


class _HandedSource(OwnDataSource):
    """What both share: they are not random access, and their batches are not batchup's."""

    def _outsider(self) -> AbstractDataSource:
        return self

    def _num_batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Count:
        samples = self.num_samples(**keywords)
        return samples if samples is None or math.isinf(samples) else num_batches(int(samples), walk.batch_size)


class CallableDataSource(_HandedSource):
    """A source whose batches are made by a function.

    Parameters
    ----------
    batch_iterator_fn : callable
        ``batch_iterator_fn(batch_size, **kwargs)`` returns an iterator over the batches of an epoch; the keywords
        are just those that the caller of `batch_iterator` wrote (`shuffle` among them).
    num_samples_fn : callable, int or numpy.inf, optional
        The number of samples, or a function ``num_samples_fn(**kwargs)`` that returns it. None: not known.

    Raises
    ------
    TypeError
        If an argument is of another kind.

    Examples
    --------
    >>> ds = CallableDataSource(lambda batch_size, **kwargs: ((i,) for i in range(3)), num_samples_fn=3)
    >>> list(ds.batch_iterator(1))
    [(0,), (1,), (2,)]
    """

    def __init__(
        self, batch_iterator_fn: Callable[..., Any], num_samples_fn: Callable[..., Count] | Count = None
    ) -> None:
        if not callable(batch_iterator_fn):
            raise InvalidTypeError(f"batch_iterator_fn must be callable, got {type(batch_iterator_fn).__name__}")
        self.batch_iterator_fn = batch_iterator_fn
        self.num_samples_fn = num_samples_fn if callable(num_samples_fn) else checked_count(num_samples_fn)

    def num_samples(self, **kwargs: Any) -> Count:
        if callable(self.num_samples_fn):
            return self.num_samples_fn(**{k: v for k, v in kwargs.items() if k not in OURS})
        return self.num_samples_fn

    def _batches_of_pass(self, walk: Pass, keywords: Mapping[str, Any]) -> Iterator[Any]:
        batches = self.batch_iterator_fn(walk.batch_size, **keywords)
        if not hasattr(batches, "__iter__"):
            raise InvalidTypeError(f"batch_iterator_fn must return an iterator, got {type(batches).__name__}")
        return iter(batches)


class IteratorDataSource(_HandedSource):
    """A source whose batches come from an iterator, as they are; the batch size is the iterator's own.

    Parameters
    ----------
    batch_iter : iterator
        Gives the batches.
    n_samples : int or numpy.inf, optional
        The number of samples. None: not known.

    Raises
    ------
    TypeError
        If an argument is of another kind.
    """

    def __init__(self, batch_iter: Iterator[Any], n_samples: Count = None) -> None:
        if not hasattr(batch_iter, "__next__"):
            raise InvalidTypeError(f"batch_iter must be an iterator, got {type(batch_iter).__name__}; use iter(...)")
        self.batch_iter = batch_iter
        self.n_samples = checked_count(n_samples)

    def num_samples(self, **kwargs: Any) -> Count:
        return self.n_samples

    def _num_batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Count:
        return math.inf if self.n_samples == math.inf else None

    def _batches_of_pass(self, walk: Pass, keywords: Mapping[str, Any]) -> Iterator[Any]:
        return iter(self.batch_iter)


def checked_count(count: Any) -> Count:
    """Return a number of samples; an error unless it is None, an int or `numpy.inf`."""
    whole = isinstance(count, numbers.Integral) and not isinstance(count, bool)
    if count is None or whole or (isinstance(count, float) and count == math.inf):
        return int(count) if whole else count
    raise InvalidTypeError(f"the number of samples must be None, an int or numpy.inf, got {count!r}")

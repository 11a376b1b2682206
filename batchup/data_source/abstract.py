"""The contract of a data source, for users and for the trees that sources form."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from batchup._repr import Represented
from batchup.data_source.batch_iterator import Count
from batchup.data_source.batch_map import Applied, as_arrays, as_sums, concat, mean
from batchup.data_source.passes import Pass
from batchup.errors import InvalidTypeError, InvalidValueError, UnsupportedError

if TYPE_CHECKING:
    from batchup.data_source.mapped import MapDataSource
    from batchup.work_pool import AbstractWorkerPool


UNKNOWN: Any = object()


class AbstractDataSource(Represented):
    """Something that hands out batches.

    A source of your own provides `num_samples` and `batch_iterator`. It can then be mapped, joined with others
    and evaluated like those of batchup. If its samples can be read by index, derive it from
    `RandomAccessDataSource` instead.
    """

    @property
    def is_random_access(self) -> bool:
        """Whether samples can be read by index."""
        return False

    def num_samples(self, **kwargs: Any) -> Count:
        """Return the number of samples in an epoch: `numpy.inf` if it never ends, None if it is not known.

        Parameters
        ----------
        **kwargs
            What `batch_iterator` would be given, for sources whose answer depends on it.
        """
        raise UnsupportedError(f"{type(self).__name__} does not define num_samples")

    def batch_iterator(self, batch_size: int, **kwargs: Any) -> Iterator[Any]:
        """Return an iterator over the batches of one epoch."""
        raise UnsupportedError(f"{type(self).__name__} does not define batch_iterator")

    def map(self, fn: Callable[..., Any], seed: int | None = None, per_sample: bool = False) -> MapDataSource:
        """Return a source whose batches are ``fn(*batch)``; see `MapDataSource`."""
        from batchup.data_source.mapped import MapDataSource

        return MapDataSource(self, fn, seed, per_sample)

    def batch_map_concat(
        self,
        func: Callable[..., Any],
        batch_size: int,
        progress_iter_func: Callable[..., Any] | None = None,
        n_batches: int | None = None,
        prepend_args: Sequence[Any] | None = None,
        *,
        out: Any = None,
        pool: AbstractWorkerPool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Apply a function to every batch of an epoch and join what it returns.

        Parameters
        ----------
        batch_size : int
            Samples in a batch.
        pool : AbstractWorkerPool, optional
            Whose workers make the batches, and call `func`, some ahead of need; the result is the same.
        **kwargs
            Handed to `batch_iterator`.
        func, progress_iter_func, n_batches, prepend_args, out
            See `batchup.data_source.batch_map_concat`.

        Returns
        -------
        tuple or dict of ndarray, or None

        Raises
        ------
        TypeError
            If `func` returns something else; if `pool` is no pool, or cannot read the source by index, or cannot send
            it, or `func`, to its workers.
        ValueError
            If the source is infinite and `n_batches` is not given, or the pool was closed.

        Examples
        --------
        >>> import numpy as np
        >>> from batchup.data_source import ArrayDataSource
        >>> ds = ArrayDataSource([np.arange(5)])
        >>> ds.batch_map_concat(lambda x: x * 2, batch_size=2)
        (array([0, 2, 4, 6, 8]),)

        >>> from batchup.work_pool import WorkerThreadPool
        >>> with WorkerThreadPool(processes=2) as pool:
        ...     ds.batch_map_concat(lambda x: x * 2, batch_size=2, pool=pool)
        (array([0, 2, 4, 6, 8]),)
        """
        apply = Applied(func, prepend_args, as_arrays)
        apply_here, batches = self._to_apply(apply, n_batches, pool, batch_size, kwargs)
        return concat(apply_here, batches, progress_iter_func, n_batches, out)

    def batch_map_mean(
        self,
        func: Callable[..., Any],
        batch_size: int,
        progress_iter_func: Callable[..., Any] | None = None,
        sum_axis: int | tuple[int, ...] | None = None,
        n_batches: int | None = None,
        prepend_args: Sequence[Any] | None = None,
        *,
        pool: AbstractWorkerPool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Apply a function to every batch of an epoch and average what it returns over the samples.

        Parameters
        ----------
        batch_size : int
            Samples in a batch.
        pool : AbstractWorkerPool, optional
            Whose workers make the batches, and call `func`, some ahead of need; the result is the same.
        **kwargs
            Handed to `batch_iterator`.
        func, progress_iter_func, sum_axis, n_batches, prepend_args
            See `batchup.data_source.batch_map_mean`.

        Returns
        -------
        tuple or dict, or None

        Raises
        ------
        TypeError
            If `func` returns something else; if `pool` is no pool, or cannot read the source by index, or cannot send
            it, or `func`, to its workers.
        ValueError
            If the source is infinite and `n_batches` is not given, or the pool was closed.

        Examples
        --------
        >>> import numpy as np
        >>> from batchup.data_source import ArrayDataSource
        >>> ArrayDataSource([np.arange(5)]).batch_map_mean(lambda x: x.sum(), batch_size=2)
        (np.float64(2.0),)
        """
        apply = Applied(func, prepend_args, partial(as_sums, sum_axis))
        apply_here, batches = self._to_apply(apply, n_batches, pool, batch_size, kwargs)
        return mean(apply_here, batches, progress_iter_func, n_batches)

    def _batch_keys(self) -> Any:
        """Return the keys of the batches, None if they are tuples, `UNKNOWN` where only a batch would tell."""
        return UNKNOWN

    def _outsider(self) -> AbstractDataSource | None:
        """Return the first source in this tree whose batches batchup does not make itself, if there is one."""
        return self

    def _num_batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Count:
        """Return the number of batches in a pass on one rank, as far as it is known before the pass begins."""
        return None

    def _num_steps(self, walk: Pass, keywords: Mapping[str, Any]) -> Count:
        """Return the number of batches in a pass on the rank that was asked for."""
        return self._num_batches(walk, keywords)

    def _check_pass(self, walk: Pass) -> None:
        """Raise if this tree cannot make the pass that was asked for."""

    def _enter_pass(self, walk: Pass, keywords: Mapping[str, Any]) -> Iterable[Any]:
        """Return the batches of a pass, as a walk that can be left and entered anywhere if the source allows it."""
        return self._batches_of_pass(walk, keywords)

    def _batches_of_pass(self, walk: Pass, keywords: Mapping[str, Any]) -> Iterator[Any]:
        """Return the batches of a pass; outsiders are given just the keywords that the user wrote."""
        return iter(self.batch_iterator(walk.batch_size, **keywords))

    def _to_apply(
        self, apply: Applied, n_batches: int | None, pool: Any, batch_size: int, keywords: dict[str, Any]
    ) -> tuple[Callable[..., Any], Iterator[Any]]:
        """Return what is left to do to each batch here, and the batches: to those of a pool the rest was done."""
        self._check_finite(n_batches, keywords)
        if pool is None:
            return apply, self.batch_iterator(batch_size, **keywords)
        from batchup.data_source.applied import AppliedDataSource, arrived
        from batchup.work_pool import AbstractWorkerPool

        if not isinstance(pool, AbstractWorkerPool):
            raise InvalidTypeError(f"pool must be a worker pool, got {type(pool).__name__}")
        ds = pool.parallel_data_source(AppliedDataSource(self, apply, n_batches))
        return arrived, ds.batch_iterator(batch_size, **keywords)

    def _check_finite(self, n_batches: int | None, keywords: dict[str, Any]) -> None:
        if n_batches is None and self.num_samples(**keywords) == math.inf:
            raise InvalidValueError(f"{type(self).__name__} never ends: pass n_batches=")

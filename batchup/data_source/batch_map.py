"""Functions applied to every batch, their results joined or averaged."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup.columns import Ragged
from batchup.data_source.batch_iterator import BatchIterator
from batchup.data_source.batches import call, length, without_padding
from batchup.data_source.joining import JoinedArrays
from batchup.errors import InvalidTypeError, InvalidValueError

_MOST_BATCHES = 1000  # what is set aside on the word of a caller, who may mean "all"


def batch_map_concat(
    func: Callable[..., Any],
    batch_iter: Iterable[Any],
    progress_iter_func: Callable[..., Any] | None = None,
    n_batches: int | None = None,
    prepend_args: Sequence[Any] | None = None,
    *,
    out: Any = None,
) -> Any:
    """Apply a function to every batch and join what it returns.

    Parameters
    ----------
    func : callable
        ``func(*prepend_args, *batch)`` (dicts: ``func(*prepend_args, **batch)``) returns an array, a tuple or a
        dict of arrays with one row per sample, or None, which is passed over.
    batch_iter : iterable
        Gives the batches.
    progress_iter_func : callable, optional
        A progress bar in the manner of tqdm: ``progress_iter_func(iterator, total=..., leave=False)``.
    n_batches : int, optional
        Stop after so many batches.
    prepend_args : sequence, optional
        What `func` is given before the batch.
    out : ndarray, or tuple or dict of ndarray, optional
        Where to write the results: as many rows as there are, or more.

    Returns
    -------
    tuple or dict of ndarray, or None
        The results in the order of the samples; None if there were none.

    Raises
    ------
    TypeError
        If `func` returns something else, or another number of results than before.
    ValueError
        If results do not fit together, or into `out`.
    """
    return concat(Applied(func, prepend_args, as_arrays), batch_iter, progress_iter_func, n_batches, out)


def batch_map_mean(
    func: Callable[..., Any],
    batch_iter: Iterable[Any],
    progress_iter_func: Callable[..., Any] | None = None,
    sum_axis: int | tuple[int, ...] | None = None,
    n_batches: int | None = None,
    prepend_args: Sequence[Any] | None = None,
) -> Any:
    """Apply a function to every batch and average what it returns over the samples.

    Parameters
    ----------
    func : callable
        ``func(*prepend_args, *batch)`` (dicts: ``func(*prepend_args, **batch)``) returns an array or a number, or
        a tuple, a list or a dict of them: sums over the samples of the batch, or, with `sum_axis`, values per
        sample. None is passed over.
    batch_iter : iterable
        Gives the batches.
    progress_iter_func : callable, optional
        A progress bar in the manner of tqdm: ``progress_iter_func(iterator, total=..., leave=False)``.
    sum_axis : int or tuple of int, optional
        Axis over which to sum what `func` returns.
    n_batches : int, optional
        Stop after so many batches.
    prepend_args : sequence, optional
        What `func` is given before the batch.

    Returns
    -------
    tuple or dict, or None
        Total / number of samples, summed in at least float64; None if there were none.

    Raises
    ------
    TypeError
        If `func` returns something else, or another number of results than before.
    """
    return mean(Applied(func, prepend_args, partial(as_sums, sum_axis)), batch_iter, progress_iter_func, n_batches)


class Applied:
    """What is done to every batch: a function is called, and what it returns is made ready to be joined or summed.

    Parameters
    ----------
    func : callable
        Called as `batch_map_concat` says.
    before : sequence or None
        What it is given before the batch.
    ready : callable
        ``ready(result)`` returns, by name, what is left to be joined or summed.
    """

    def __init__(self, func: Callable[..., Any], before: Sequence[Any] | None, ready: Callable[[Any], Any]) -> None:
        self.func = func
        self.before = tuple(before or ())
        self.ready = ready

    def __call__(self, batch: Any, padded: bool) -> tuple[int, Any] | None:
        """Return the number of samples in a batch, and the results for it; None if there are none."""
        if padded:
            batch = without_padding(batch)
        result = call(self.func, batch, self.before)
        if result is None:
            return None
        results = self.ready(result)
        return length(batch), results


def concat(apply: Callable[..., Any], batch_iter: Iterable[Any], bar: Any, n_batches: int | None, out: Any) -> Any:
    """Join what `apply` returns for each batch."""
    joined: JoinedArrays | None = None
    expected = batch_iter.num_samples if isinstance(batch_iter, BatchIterator) else None
    batches_to_come = _bar_total(batch_iter)
    for samples, parts in _results(apply, batch_iter, bar, n_batches):
        if joined is None:
            joined = JoinedArrays(samples, _rows_to_come(samples, n_batches, batches_to_come, expected), out)
        joined.append(parts)
    return None if joined is None else joined.result()


def mean(apply: Callable[..., Any], batch_iter: Iterable[Any], bar: Any, n_batches: int | None) -> Any:
    """Average what `apply` returns for each batch over the samples."""
    totals: dict[Any, Any] | None = None
    samples = 0
    for count, sums in _results(apply, batch_iter, bar, n_batches):
        if totals is None:
            totals = {key: total.copy() for key, total in sums.items()}  # the function may use its memory again
        elif totals.keys() != sums.keys():
            raise InvalidTypeError(f"the function returned the results {list(totals)} and then {list(sums)}")
        else:
            totals = {key: _added(totals[key], sums[key]) for key in totals}
        samples += count
    if totals is None or samples == 0:
        return None
    return unnamed({key: total / samples for key, total in totals.items()})


def as_arrays(result: Any) -> dict[Any, Any]:
    """Return the arrays of a result by name."""
    return _named(result, _as_array)


def as_sums(sum_axis: Any, result: Any) -> dict[Any, Any]:
    """Return the sums of a result by name."""
    return {key: _total(value, sum_axis) for key, value in _named(result, _as_number).items()}


def _rows_to_come(batch_rows: int, wanted: int | None, batches: int | None, samples: Any) -> Any:
    """Return how many rows to set memory aside for; None if that cannot be told."""
    known = [batch_rows * count for count in (wanted, batches) if count is not None]
    if samples is not None and samples != math.inf:
        known.append(samples)
    elif wanted is not None and batches is None:
        known.append(batch_rows * _MOST_BATCHES)
    return min(known, default=None)


def unnamed(results: dict[Any, Any]) -> Any:
    """Return results as a dict if they have names, as a tuple if they have numbers."""
    return tuple(results.values()) if 0 in results else results


def _results(
    apply: Callable[..., Any], batch_iter: Iterable[Any], bar: Any, n_batches: Any
) -> Iterator[tuple[int, Any]]:
    """Yield the samples and the results of each batch, those that have none left out."""
    batches: Any = iter(batch_iter)
    if n_batches is not None:
        batches = islice(batches, whole_number(n_batches, "n_batches"))
    if bar is not None:
        batches = bar(batches, total=n_batches if n_batches is not None else _bar_total(batch_iter), leave=False)
    padded = isinstance(batch_iter, BatchIterator) and batch_iter.padded
    for batch in batches:
        applied = apply(batch, padded)
        if applied is not None:
            yield applied


def _bar_total(batch_iter: Any) -> int | None:
    try:
        return len(batch_iter)
    except TypeError:
        return None


def _named(result: Any, convert: Callable[[Any], Any]) -> dict[Any, Any]:
    """Return the results by name, or by number if they have none."""
    if isinstance(result, dict):
        return {name: convert(value) for name, value in result.items()}
    if isinstance(result, list) and convert is _as_array:
        raise InvalidTypeError("the function must return an array, a tuple or a dict of arrays, or None, got list")
    values = result if isinstance(result, (tuple, list)) else (result,)
    return {number: convert(value) for number, value in enumerate(values)}


def _as_array(value: Any) -> Any:
    if isinstance(value, Ragged):
        return value
    if not hasattr(value, "__array__") or np.ndim(value) == 0:
        came = "a 0-dimensional array" if hasattr(value, "__array__") else type(value).__name__
        raise InvalidTypeError(f"the function must return an array, a tuple or a dict of arrays, or None, got {came}")
    return np.asarray(value)


def _as_number(value: Any) -> NDArray[Any]:
    if not hasattr(value, "__array__") and not isinstance(value, numbers.Number):
        raise InvalidTypeError(
            "the function must return an array or a number, a tuple, a list or a dict of them, or None, "
            f"got {type(value).__name__}"
        )
    return np.asarray(value)


def _added(total: Any, more: Any) -> Any:
    if np.shape(total) != np.shape(more):
        raise InvalidValueError(f"sums of shape {np.shape(more)} cannot be added to those of shape {np.shape(total)}")
    return total + more


def _total(value: NDArray[Any], sum_axis: Any) -> Any:
    """Return the sum over an axis, in float64 or better."""
    if value.dtype.kind not in "biufc":
        raise InvalidTypeError(f"only numbers can be averaged, got dtype {value.dtype}")
    precise = value.astype(np.result_type(value.dtype, np.float64), copy=False)
    return precise[()] if sum_axis is None else precise.sum(axis=sum_axis)

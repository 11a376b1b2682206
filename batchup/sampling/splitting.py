"""Index arrays that split data into parts, or into folds."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup.errors import InvalidValueError, LengthError
from batchup.sampling.classes import checked_classes
from batchup.sampling.order import Key, as_order
from batchup.sampling.stratified import StratifiedSampler

Parts = list[NDArray[np.intp]]


def split(
    n: int, shares: Sequence[float], stratify: Any = None, groups: Any = None, *, seed: int | None = None
) -> Parts:
    """Split the indices of `n` samples into parts.

    Parameters
    ----------
    n : int
        Number of samples.
    shares : sequence of float or of int
        The share of each part, which come to 1; or its number of samples, which come to `n`.
    stratify : array-like of int, shape (n,), optional
        Classes, whose shares each part is to mirror.
    groups : array-like of int, shape (n,), optional
        Groups, which are to stay whole; parts come as close to their shares as groups allow.
    seed : int, optional
        Shuffles the samples; without it they are split in order.

    Returns
    -------
    list of ndarray of intp

    Raises
    ------
    TypeError, ValueError
        If the shares do not come to 1 or to `n`, lengths differ, or both `stratify` and `groups` are given.

    Examples
    --------
    >>> [part.tolist() for part in split(10, [0.8, 0.2], seed=1)]
    [[9, 7, 4, 2, 6, 3, 0, 8], [1, 5]]
    """
    n = whole_number(n, "n")
    bounds = _bounds(n, shares)
    if groups is not None:
        if stratify is not None:
            raise InvalidValueError("give either stratify or groups, not both")
        return _split_groups(_one_each(groups, n, "groups"), bounds, seed)
    if stratify is not None:
        order = _in_order_of(StratifiedSampler(_one_each(stratify, n, "stratify")), n, seed)
    else:
        drawn = np.arange(n) if seed is None else _key(seed).generator().permutation(n)
        order = drawn.astype(np.intp, copy=False)
    return [order[start:stop] for start, stop in pairwise(bounds)]


def k_fold(
    n: int, k: int, stratify: Any = None, groups: Any = None, *, seed: int | None = None
) -> Iterator[tuple[NDArray[np.intp], NDArray[np.intp]]]:
    """Return `k` pairs of training and test indices; each sample is in one test part.

    Parameters
    ----------
    n : int
        Number of samples.
    k : int
        Number of folds, at least 2.
    stratify, groups, seed
        As in `split`.

    Returns
    -------
    iterator of (ndarray of intp, ndarray of intp)

    Examples
    --------
    >>> [(train.tolist(), test.tolist()) for train, test in k_fold(4, 2)]
    [([2, 3], [0, 1]), ([0, 1], [2, 3])]
    """
    k = whole_number(k, "k", 2)
    n = whole_number(n, "n", k)
    sizes = [n // k + (i < n % k) for i in range(k)]
    parts = split(n, sizes, stratify, groups, seed=seed)
    return ((np.concatenate(parts[:i] + parts[i + 1 :]), parts[i]) for i in range(k))


def _bounds(n: int, shares: Sequence[float]) -> NDArray[np.intp]:
    sizes = np.asarray(shares)
    if sizes.ndim != 1 or len(sizes) == 0 or sizes.dtype.kind not in "iuf" or not (sizes >= 0).all():
        raise InvalidValueError(f"shares must be numbers of at least 0, one for each part, got {shares!r}")
    if sizes.dtype.kind != "f":
        if sizes.sum() != n:
            raise InvalidValueError(f"shares, as numbers of samples, must come to n={n}, got {sizes.sum()}")
        return np.concatenate([[0], np.cumsum(sizes)]).astype(np.intp)
    if not math.isclose(sizes.sum(), 1, abs_tol=1e-9):
        raise InvalidValueError(f"shares must come to 1, got {sizes.sum()}")
    bounds: NDArray[np.intp] = np.rint(np.concatenate([[0], np.cumsum(sizes)]) * n).astype(np.intp)
    return bounds


def _split_groups(groups: NDArray[np.intp], bounds: NDArray[np.intp], seed: int | None) -> Parts:
    """Deal out groups in turn, each to the part that it falls into by its middle."""
    _, inverse, sizes = np.unique(groups, return_inverse=True, return_counts=True)
    order = np.arange(len(sizes)) if seed is None else _key(seed).generator().permutation(len(sizes))
    ends = np.cumsum(sizes[order])
    part_of = np.empty(len(sizes), np.intp)
    part_of[order] = np.searchsorted(bounds[1:-1], ends - sizes[order] / 2, "right")
    return [np.flatnonzero(part_of[inverse] == part) for part in range(len(bounds) - 1)]


def _in_order_of(sampler: StratifiedSampler, n: int, seed: int | None) -> NDArray[np.intp]:
    chunk = sampler._index_stream(max(n, 1), None if seed is None else _key(seed)).take(1)
    return np.empty(0, np.intp) if chunk is None else chunk.array()


def _one_each(values: Any, n: int, what: str) -> NDArray[np.intp]:
    array = checked_classes(values, what)
    if len(array) != n:
        raise LengthError(f"{what} must have one entry per sample, got {len(array)} for {n} samples")
    return array


def _key(seed: Any) -> Key:
    key = as_order(whole_number(seed, "seed"))
    assert isinstance(key, Key)
    return key

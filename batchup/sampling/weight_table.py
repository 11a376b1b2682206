"""A table that turns uniform numbers into weighted draws, exactly as `numpy.random` does, in constant time."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import InvalidTypeError, InvalidValueError

_STEPS = 8
_BLOCK = 1 << 20


class WeightTable:
    """The cumulative distribution of weights, with a guide to where each search begins.

    The interval [0, 1) is cut into equal parts, and for each the first candidate is kept; from there a search
    takes a step or two (the guide table of H.-C. Chen and Y. Asau, "On generating random variates from an
    empirical distribution", AIIE Transactions 6, 1974). Draws that would need more than a few steps are found
    by bisection. The number of parts is a power of two, so that finding the part of a number is exact.

    Parameters
    ----------
    probabilities : ndarray of float, shape (n,)
        What ``rng.choice(n, p=probabilities)`` would be given. If it is of float64, its memory is taken over.
    """

    def __init__(self, probabilities: NDArray[Any]) -> None:
        cumulative: NDArray[np.float64] = probabilities.astype(np.float64, copy=False)
        np.cumsum(cumulative, out=cumulative)
        cumulative /= cumulative[-1]
        self._guide_into(cumulative)

    def _guide_into(self, cumulative: NDArray[np.float64]) -> None:
        self.cumulative = cumulative
        n = len(cumulative)
        self._parts = 1 << n.bit_length()
        self._guide = np.empty(self._parts, np.int32 if n <= np.iinfo(np.int32).max else np.int64)
        for start in range(0, self._parts, _BLOCK):
            edges = np.arange(start, min(start + _BLOCK, self._parts)) / self._parts
            self._guide[start : start + _BLOCK] = self.cumulative.searchsorted(edges, "right")

    def __len__(self) -> int:
        return len(self.cumulative)

    def __getstate__(self) -> NDArray[np.float64]:
        return self.cumulative

    def __setstate__(self, cumulative: NDArray[np.float64]) -> None:
        self._guide_into(cumulative)

    @property
    def probabilities(self) -> NDArray[np.float64]:
        """The share of each index in the draws."""
        return np.diff(self.cumulative, prepend=0.0)

    def pick(self, uniform: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the index that each uniform number in [0, 1) selects.

        >>> WeightTable(np.array([0.25, 0.75])).pick(np.array([0.1, 0.25, 0.9]))
        array([0, 1, 1])
        """
        picked = self._guide.take((uniform * self._parts).astype(np.intp)).astype(np.intp)
        behind = np.flatnonzero(self.cumulative.take(picked) <= uniform)
        for _ in range(_STEPS):
            if len(behind) == 0:
                return picked
            picked[behind] += 1
            behind = behind[self.cumulative.take(picked[behind]) <= uniform[behind]]
        picked[behind] = self.cumulative.searchsorted(uniform[behind], "right")
        return picked


def checked_weights(weights: Any) -> NDArray[Any]:
    """Return weights as an array; an error unless they can be drawn by."""
    array = np.asarray(weights)
    if array.ndim != 1:
        raise InvalidValueError(f"weights must be 1-dimensional, got shape {array.shape}")
    if array.dtype.kind not in "fiub":
        raise InvalidTypeError(f"weights must be real numbers, got dtype {array.dtype}")
    with np.errstate(all="ignore"):
        total = array.sum()
    # one pass over sound weights: NaN and infinity show in the sum
    if not np.isfinite(total) or (len(array) and array.min() < 0):
        bad = np.flatnonzero(~(np.isfinite(array) & (array >= 0)))
        if len(bad):
            raise InvalidValueError(
                f"weights must be finite and not negative, got {array[bad[0]]} at position {bad[0]}"
                + (f" ({len(bad)} such, at {_some(bad)})" if len(bad) > 1 else "")
            )
        raise InvalidValueError(f"weights must have a finite sum in {array.dtype}, got {total}; scale them down")
    if not total > 0:
        raise InvalidValueError(f"weights must sum to more than 0, got {total} over {len(array)} weights")
    return array


def _some(positions: NDArray[np.intp]) -> str:
    return ", ".join(map(str, positions[:5].tolist())) + (", ..." if len(positions) > 5 else "")

"""Where to divide sequences by their length, so that the least has to be padded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

CANDIDATES = 256  # edges that are looked at, if there are more different lengths


def least_padding(lengths: NDArray[np.intp], num_buckets: int) -> NDArray[np.intp]:
    """Return the longest length of each bucket but the last, such that padding to the longest adds the least in all.

    The best choice for the first j candidates and k buckets follows from the best ones for k - 1 buckets (dynamic
    programming). Among many different lengths, candidates have about equally many elements between them.

    >>> least_padding(np.array([1, 1, 1, 9, 9, 8, 30]), 3)
    array([1, 9])
    """
    different, counts = _counted(lengths)
    if len(different) <= num_buckets:
        return different[:-1]
    numbers = np.cumsum(counts)
    if len(different) > CANDIDATES:
        elements = np.cumsum(different * counts)
        chosen = np.searchsorted(elements, np.linspace(0, elements[-1], CANDIDATES + 1)[1:])
        chosen = np.unique(np.minimum(chosen, len(different) - 1))
        different, numbers = different[chosen], numbers[chosen]
    below = np.concatenate([[0], numbers])
    # the area of a bucket with the sequences behind candidate i up to candidate j; the row for i = 0 is for all of them
    area = different * (numbers - below[:-1, None]).astype(np.float64)
    area[np.tril_indices(len(different), -1)] = np.inf
    least, choices = area[0], []
    for _ in range(min(num_buckets, len(different)) - 1):
        candidates = least[:-1, None] + area[1:]
        choice = candidates.argmin(0)
        choices.append(choice)
        least = candidates[choice, np.arange(len(different))]
    edges, last = [], len(different) - 1
    for choice in reversed(choices):
        last = int(choice[last])
        edges.append(last)
    return different[edges[::-1]].astype(np.intp)


def _counted(lengths: NDArray[np.intp]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the different lengths, ascending, and how often each is there."""
    if len(lengths) and lengths.max() <= len(lengths) + 2**16:
        counts = np.bincount(lengths)
        different = np.flatnonzero(counts)
        return different, counts[different]
    return np.unique(lengths, return_counts=True)

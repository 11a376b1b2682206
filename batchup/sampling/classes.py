"""Classes and subsets of samples, as samplers are given them."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._indices import checked_indices, integer_array
from batchup.errors import InvalidValueError


def checked_classes(y: Any, what: str = "y") -> NDArray[np.intp]:
    """Return the class of each sample."""
    return integer_array(y, what)


_FEW = 4


def frozen(indices: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return a copy that nobody may change: it was checked."""
    copy: NDArray[np.intp] = indices.copy()
    copy.flags.writeable = False
    return copy


def checked_subset(indices: Any, length: int) -> NDArray[np.intp] | None:
    """Return the indices of a subset of `length` samples, None for all of them."""
    return None if indices is None else frozen(checked_indices(indices, length))


def spread_offsets(n: int) -> NDArray[np.float64]:
    """Return where in its first interval each of `n` rows of evenly spread samples begins.

    In the middle; where there are many, at multiples of the golden ratio, so that rows of like density do not fall
    together.
    """
    if n <= _FEW:
        return np.full(n, 0.5)
    return np.asarray((0.5 + np.arange(n) * 0.6180339887498949) % 1.0, np.float64)


def counted_classes(y: Any, n_classes: int | None) -> NDArray[np.intp]:
    """Return the class of each sample, where classes are counted from 0."""
    classes = checked_classes(y)
    if len(classes) == 0:
        raise InvalidValueError("y must hold at least one class, got an empty array")
    for place in (int(classes.argmin()), int(classes.argmax())):
        if classes[place] < 0 or (n_classes is not None and classes[place] >= n_classes):
            bound = "" if n_classes is None else f" and less than n_classes={n_classes}"
            raise InvalidValueError(f"classes must be 0 or more{bound}, got {classes[place]} for sample {place}")
    return classes

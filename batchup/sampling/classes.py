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


def checked_subset(indices: Any, length: int) -> NDArray[np.intp] | None:
    """Return the indices of a subset of `length` samples, None for all of them."""
    return None if indices is None else checked_indices(indices, length).copy()


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

"""Make a data source of whatever can be one."""

from __future__ import annotations

import os
from typing import Any

from batchup.data_source.abstract import AbstractDataSource
from batchup.data_source.array import ArrayDataSource
from batchup.data_source.stream import CallableDataSource, IteratorDataSource
from batchup.errors import InvalidTypeError, InvalidValueError


def coerce_data_source(x: Any) -> AbstractDataSource:
    """Return a data source made of `x`.

    Parameters
    ----------
    x : AbstractDataSource, list, tuple or dict of array-like, file, path, iterator, or callable
        A source is returned as it is; array-likes make an `ArrayDataSource`, an iterator an
        `IteratorDataSource`, a callable a `CallableDataSource`. What has a method `data_source`, as batch files
        have, is asked for one. The name of a file, or a pattern, makes one over the rows of all columns, as dicts: see
        `open_table`.

    Raises
    ------
    ValueError
        If `x` is empty.
    TypeError
        If `x` is anything else.

    Examples
    --------
    >>> import numpy as np
    >>> coerce_data_source((np.zeros((3, 2)), np.zeros(3)))
    ArrayDataSource(data=[<float64 (3, 2)>, <float64 (3,)>], sampler=StandardSampler(length=3))
    """
    if isinstance(x, AbstractDataSource):
        return x
    if isinstance(x, (list, tuple, dict)):
        if not x:
            raise InvalidValueError("cannot make a data source of an empty sequence")
        return ArrayDataSource(list(x) if isinstance(x, tuple) else x)
    if callable(getattr(x, "data_source", None)):
        return coerce_data_source(x.data_source())
    if isinstance(x, (str, os.PathLike)):
        from batchup.formats import open_table

        return open_table(x).data_source()
    if hasattr(x, "__next__"):
        return IteratorDataSource(x)
    if callable(x):
        return CallableDataSource(x)
    raise InvalidTypeError(
        "cannot make a data source: expected one, a list of array-likes, a file, an iterator or a callable, "
        f"got {type(x).__name__}"
    )

"""What users add to a file, as arrays by path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.typed_files.layout import checked_name, h5py


def as_array(data: Any, what: str) -> NDArray[Any]:
    """Return data as an array of a dtype that HDF5 has.

    Raises
    ------
    InvalidTypeError
        If it cannot be stored.
    """
    detached = getattr(data, "detach", None)  # a tensor of PyTorch
    array = np.asarray(detached().cpu().numpy() if callable(detached) else data)
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "U" or (array.dtype.hasobject and all(isinstance(text, str) for text in array.ravel())):
        return array.astype(h5py().string_dtype())
    try:
        h5py().h5t.py_create(array.dtype, logical=True)
    except TypeError:
        raise InvalidTypeError(f"{what}: HDF5 cannot hold {array.dtype} ({type(data).__name__})") from None
    return array


def flattened(data: Any, path: str) -> dict[str, NDArray[Any]]:
    """Return the arrays in a dict of dicts, by their paths; None stands for nothing."""
    if data is None:
        return {}
    if not isinstance(data, Mapping):
        return {path: as_array(data, path)}
    found = {}
    for name, part in data.items():
        checked_name(name)
        found.update(flattened(part, f"{path}/{name}".lstrip("/")))
    return found


def converted(array: NDArray[Any], dtype: np.dtype[Any], what: str) -> NDArray[Any]:
    """Return an array in a dtype; an error if its values would not survive that."""
    if array.dtype == dtype:
        return array
    if array.dtype.hasobject != dtype.hasobject:
        raise InvalidTypeError(f"{what} is of {array.dtype}, which does not fit: texts and numbers do not mix")
    if not np.can_cast(array.dtype, dtype, "same_kind") and not _fits(array, dtype):
        raise InvalidTypeError(f"{what} is of {array.dtype}, which does not fit the {dtype} of the dataset: convert it")
    if dtype.kind in "iu" and not _fits(array, dtype):
        raise InvalidValueError(f"{what} has numbers that do not fit the {dtype} of the dataset")
    return array.astype(dtype)


def _fits(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    if dtype.kind not in "iu" or array.dtype.kind not in "biu":
        return False
    bounds = np.iinfo(dtype)
    return not array.size or (int(array.min()) >= bounds.min and int(array.max()) <= bounds.max)

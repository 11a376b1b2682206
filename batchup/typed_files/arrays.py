"""What users add to a file, as arrays by path."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.typed_files.layout import checked_name, h5py, is_text


def as_array(data: Any, what: str) -> NDArray[Any]:
    """Return data as an array of a dtype that HDF5 has.

    Raises
    ------
    InvalidTypeError
        If it cannot be stored.
    """
    detached = getattr(data, "detach", None)  # a tensor of PyTorch
    try:
        array = np.asarray(detached().cpu().numpy() if callable(detached) else data)
    except ValueError as error:
        raise InvalidValueError(f"{what} is no array: {error}") from error
    if array.dtype.kind in "biuf":
        return array
    if array.dtype.kind == "U" or (array.dtype.hasobject and all(isinstance(text, str) for text in array.ravel())):
        if any("\0" in text or not is_text(text) for text in array.ravel()):
            raise InvalidValueError(f"{what}: HDF5 cannot hold a text with NUL, or that is no UTF-8")
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
    """Return an array in a dtype.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If its values would not survive that; floats may be rounded to shorter ones.
    """
    if array.dtype == dtype:
        return array
    mixed = array.dtype.hasobject != dtype.hasobject or (array.dtype.kind == "S") != (dtype.kind == "S")
    if mixed or not (np.can_cast(array.dtype, dtype, "same_kind") or _are_integers(array, dtype)):
        raise InvalidTypeError(f"{what} is of {array.dtype}, which does not fit the {dtype} of the dataset: convert it")
    with np.errstate(over="ignore"):
        found = array.astype(dtype)
    if not _survived(array, found):
        raise InvalidValueError(f"{what} has values that do not fit the {dtype} of the dataset")
    return found


def _are_integers(array: NDArray[Any], dtype: np.dtype[Any]) -> bool:
    return dtype.kind in "iu" and array.dtype.kind in "biu"


def _survived(array: NDArray[Any], found: NDArray[Any]) -> bool:
    """Return whether values are what they were."""
    if array.dtype.kind in "fc" and found.dtype.kind in "fc":
        return bool((np.isfinite(array) == np.isfinite(found)).all())
    if array.dtype.kind in "iu" and found.dtype.kind in "iu":
        bounds = np.iinfo(found.dtype)
        return not array.size or (int(array.min()) >= bounds.min and int(array.max()) <= bounds.max)
    if array.dtype.kind in "biuS" and not array.dtype.hasobject:
        return bool(np.array_equal(found.astype(array.dtype), array))
    return True

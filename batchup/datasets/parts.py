"""What the standard data sets have in common: images with labels, to train on, to validate and to test."""

from __future__ import annotations

import inspect
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup.columns import ScaledArray
from batchup.data_source import ArrayDataSource
from batchup.datasets.folder import Folder
from batchup.errors import InvalidValueError

PARTS = ("train", "val", "test")


class Parts:
    """Images and labels in three parts. Nothing is read when they are opened.

    Attributes
    ----------
    train_X, val_X, test_X : array-like of float32, shape (n, channels, height, width)
        The images, made when they are read.
    train_X_u8, val_X_u8, test_X_u8 : array-like of uint8, of the same shapes
        The images as they lie in memory-mapped files.
    train_y, val_y, test_y : ndarray of int32, shape (n,)
        The class of each.
    class_names : list of str
        What the classes are called.
    """

    train_X: Any
    train_y: NDArray[np.int32]
    val_X: Any
    val_y: NDArray[np.int32]
    test_X: Any
    test_y: NDArray[np.int32]
    class_names: list[str]

    @cached_property
    def train(self) -> ArrayDataSource:
        """The samples to train on, as a data source with batches of images (float32) and labels."""
        return ArrayDataSource([self.train_X, self.train_y])

    @cached_property
    def val(self) -> ArrayDataSource:
        """The samples to validate with, as a data source."""
        return ArrayDataSource([self.val_X, self.val_y])

    @cached_property
    def test(self) -> ArrayDataSource:
        """The samples to test with, as a data source."""
        return ArrayDataSource([self.test_X, self.test_y])

    def _scale(self, lower: float, upper: float) -> None:
        """Set the images, from their pixels."""
        self.val_lower, self.val_upper = lower, upper
        for part in PARTS:
            setattr(self, f"{part}_X", ScaledArray(getattr(self, f"{part}_X_u8"), lower, upper))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(self._arguments().values())  # the files are opened anew

    def __repr__(self) -> str:
        arguments = ", ".join(f"{name}={value!r}" for name, value in self._arguments().items())
        counts = ", ".join(f"{len(getattr(self, f'{part}_y'))} {part}" for part in PARTS)
        return f"{type(self).__name__}({arguments})  # {counts}"

    def _arguments(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}


def train_and_val(n_val: int | None, *arrays: Any) -> list[Any]:
    """Cut the last `n_val` samples off arrays; return what is left of each, and what was cut off.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If `n_val` is no number of samples, or there are not so many.
    """
    count = 0 if n_val is None else whole_number(n_val, "n_val")
    length = len(arrays[0])
    if count > length:
        raise InvalidValueError(f"n_val must be at most {length}, the number of training samples, got {n_val}")
    return [part for array in arrays for part in (array[: length - count], array[length - count :])]


class PlainParts(Parts):
    """Parts whose validation samples are the last ones of those to train on, and whose images are scaled.

    Parameters
    ----------
    path : str
        The folder with the arrays.
    n_val : int or None
        Number of validation samples.
    val_lower, val_upper : float
        What the pixels 0 and 255 become.
    """

    def __init__(self, path: str, n_val: int | None, val_lower: float, val_upper: float) -> None:
        folder = Folder(path)
        self.n_val = n_val
        self.train_X_u8, self.val_X_u8 = train_and_val(n_val, folder.array("train_X_u8"))
        self.train_y, self.val_y = train_and_val(n_val, folder.array("train_y"))
        self.test_X_u8, self.test_y = folder.array("test_X_u8"), folder.array("test_y")
        self._scale(val_lower, val_upper)

"""Images with labels, to train on, to validate and to test: what the standard data sets have in common."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup.columns import ScaledArray
from batchup.columns.lazy import check_limits
from batchup.data_source import ArrayDataSource
from batchup.datasets.dataset import FetchedDataset
from batchup.datasets.folder import Folder
from batchup.errors import InvalidValueError

SPLITS = ("train", "val", "test")


class ImageSplits:
    """Images and labels, split in three. Nothing is read when they are opened.

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

    @property
    def counts(self) -> dict[str, int]:
        """How many samples there are to train on, to validate and to test."""
        return {split: len(getattr(self, f"{split}_y")) for split in SPLITS}

    def _scale(self, lower: float, upper: float) -> None:
        """Set the images, from their pixels."""
        self.val_lower, self.val_upper = lower, upper
        for split in SPLITS:
            setattr(self, f"{split}_X", ScaledArray(getattr(self, f"{split}_X_u8"), lower, upper))

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), tuple(self._arguments().values())  # the files are opened anew

    def __repr__(self) -> str:
        return with_counts(type(self).__name__, self._arguments(), self.counts)

    def _arguments(self) -> dict[str, Any]:
        return {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}


class ImageDataset(ImageSplits):
    """Images with labels. The last ones to train on are for validation. See `ImageSplits` for the attributes.

    Parameters
    ----------
    n_val : int or None, default 10000
        How many of the samples to train on, the last ones, are for validation.
    val_lower, val_upper : float, default 0 and 1
        What the pixels 0 and 255 become.

    Raises
    ------
    FetchError
        If it is not on this machine and cannot be fetched; the message says what to do.
    ValueError
        If there are fewer than `n_val` samples.
    """

    _fetch: ClassVar[FetchedDataset]
    _class_names: ClassVar[Sequence[str]] = ()

    def __init__(self, n_val: int | None = 10000, val_lower: float = 0.0, val_upper: float = 1.0) -> None:
        check_n_val(n_val)
        check_limits(val_lower, val_upper)
        folder = Folder(self._fetch())
        self.n_val = n_val
        self.train_X_u8, self.val_X_u8 = train_and_val(n_val, folder.array("train_X_u8"))
        self.train_y, self.val_y = train_and_val(n_val, folder.labels("train_y", self.train_X_u8, self.val_X_u8))
        self.test_X_u8 = folder.array("test_X_u8")
        self.test_y = folder.labels("test_y", self.test_X_u8)
        self.class_names = list(self._class_names)
        self._scale(val_lower, val_upper)


def check_n_val(n_val: int | None) -> int:
    """Return a number of validation samples; raise an error unless it is one."""
    return 0 if n_val is None else whole_number(n_val, "n_val")


def train_and_val(n_val: int | None, array: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return an array without its last `n_val` samples, and these.

    Raises
    ------
    InvalidTypeError, InvalidValueError
        If `n_val` is no number of samples, or there are not so many.
    """
    left = len(array) - check_n_val(n_val)
    if left < 0:
        raise InvalidValueError(f"n_val must be at most {len(array)}, the number of training samples, got {n_val}")
    return array[:left], array[left:]


def with_counts(name: str, arguments: dict[str, Any], counts: dict[str, int]) -> str:
    """Return the call that opens a data set, and how many samples it has.

    >>> with_counts("MNIST", {"n_val": 7}, {"train": 53, "val": 7})
    'MNIST(n_val=7)  # 53 train, 7 val'
    """
    given = ", ".join(f"{name}={value!r}" for name, value in arguments.items())
    return f"{name}({given})  # {', '.join(f'{count} {split}' for split, count in counts.items())}"

"""USPS: handwritten digits of envelopes, 7,291 to train on and 2,007 to test, of 16 x 16 pixels."""

from __future__ import annotations

from typing import Any

import numpy as np

from batchup._extras import required
from batchup._hdf5 import checked_dataset
from batchup.datasets.dataset import DownloadSourceFile, fetch_and_convert_dataset
from batchup.datasets.folder import Folder, NewFolder
from batchup.datasets.splits import ImageSplits, check_n_val, train_and_val
from batchup.errors import FileFormatError

__all__ = ["USPS", "delete_cache", "fetch_usps"]

SOURCES = [
    DownloadSourceFile(
        "usps.h5",
        url=["https://github.com/Britefury/usps_dataset/raw/master/usps.h5"],
        sha256="ba768d9a9b11e79b31c1e40130647c4fc04e6afc1fb41a0d4b9f1176065482b4",
        folder="usps",
    )
]
_SHAPE = (1, 16, 16)
_AT_ONCE = 4096  # images


@fetch_and_convert_dataset(SOURCES, "usps")
def fetch_usps(source_paths: list[str], target_path: str) -> str:
    """Fetch USPS if need be, and return the folder that it lies in."""
    h5py = required("h5py", "datasets", "converting USPS")
    folder = NewFolder(target_path)
    try:
        file = h5py.File(source_paths[0], "r")
    except OSError as error:
        raise FileFormatError(f"{source_paths[0]} is damaged, or no HDF5 file: {error}") from error
    with file:
        for part in ("train", "test"):
            X, y = (checked_dataset(file, f"usps/{part}_{name}", source_paths[0]) for name in "Xy")
            _convert(X, y, part, folder)
    return target_path


def _convert(X: Any, y: Any, part: str, folder: NewFolder) -> None:
    if X.shape != (*y.shape, *_SHAPE) or X.dtype.kind != "f" or y.dtype.kind not in "iu":
        raise FileFormatError(
            f"{X.file.filename}: {part}_X must be images {_SHAPE} of floats, with as many integers in {part}_y, not "
            f"{X.dtype} {X.shape} with {y.dtype} {y.shape}"
        )
    with folder.rows(f"{part}_X", _SHAPE, np.float32, len(X)) as extend:
        for start in range(0, len(X), _AT_ONCE):
            extend(X[start : start + _AT_ONCE].astype(np.float32))
    folder.array(f"{part}_y", y[:].astype(np.int32))


delete_cache = fetch_usps.delete_cache


class USPS(ImageSplits):
    """The digits of USPS. Images are (1, 16, 16), and float32 in the file, too.

    Parameters
    ----------
    n_val : int or None, default 729
        How many of the samples to train on, the last ones, are for validation.

    Attributes
    ----------
    train_X, val_X, test_X : ndarray of float32, shape (n, 1, 16, 16)
        The images, in memory-mapped files.
    train_y, val_y, test_y : ndarray of int32, shape (n,)
        The digit of each.
    class_names : list of str
        What the classes are called.

    Raises
    ------
    FetchError
        If it is not on this machine and cannot be fetched; the message says what to do.
    ValueError
        If there are fewer than `n_val` samples.
    """

    def __init__(self, n_val: int | None = 729) -> None:
        check_n_val(n_val)
        folder = Folder(fetch_usps())
        self.n_val = n_val
        self.train_X, self.val_X = train_and_val(n_val, folder.array("train_X"))
        self.train_y, self.val_y = train_and_val(n_val, folder.labels("train_y", self.train_X, self.val_X))
        self.test_X = folder.array("test_X")
        self.test_y = folder.labels("test_y", self.test_X)
        self.class_names = [str(digit) for digit in range(10)]

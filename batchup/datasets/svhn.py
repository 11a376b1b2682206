"""SVHN: house numbers seen from the street, cut into digits of 32 x 32 pixels in colour."""

from __future__ import annotations

import numpy as np

from batchup.columns import ScaledArray
from batchup.columns.lazy import check_limits
from batchup.data_source import ArrayDataSource
from batchup.datasets.dataset import DownloadSourceFile, fetch_and_convert_dataset
from batchup.datasets.folder import Folder, NewFolder
from batchup.datasets.matlab import Matrix, matrices
from batchup.datasets.splits import ImageDataset, with_counts
from batchup.errors import FileFormatError

__all__ = ["SVHN", "SVHNExtra", "delete_cache", "fetch_svhn_extra", "fetch_svhn_train_test"]

_BASE_URL = "http://ufldl.stanford.edu/housenumbers/"
_SHAPE = (3, 32, 32)  # of an image
_AT_ONCE = 4096  # images


def _source(name: str, sha256: str) -> DownloadSourceFile:
    return DownloadSourceFile(name, base_url=[_BASE_URL], sha256=sha256, folder="svhn")


SOURCES = [
    _source("train_32x32.mat", "435e94d69a87fde4fd4d7f3dd208dfc32cb6ae8af2240d066de1df7508d083b8"),
    _source("test_32x32.mat", "cdce80dfb2a2c4c6160906d0bd7c68ec5a99d7ca4831afa54f09182025b6a75b"),
]
EXTRA_SOURCES = [_source("extra_32x32.mat", "a133a4beb38a00fcdda90c9489e0c04f900b660ce8a316a5e854838379a71eb3")]


@fetch_and_convert_dataset(SOURCES, "svhn")
def fetch_svhn_train_test(source_paths: list[str], target_path: str) -> str:
    """Fetch SVHN if need be, and return the folder that it lies in."""
    folder = NewFolder(target_path)
    for part, path in zip(("train", "test"), source_paths, strict=True):
        _convert(path, folder, part)
    return target_path


@fetch_and_convert_dataset(EXTRA_SOURCES, "svhn_extra")
def fetch_svhn_extra(source_paths: list[str], target_path: str) -> str:
    """Fetch the extra set of SVHN if need be, and return the folder that it lies in."""
    _convert(source_paths[0], NewFolder(target_path), "extra")
    return target_path


def delete_cache() -> None:
    """Remove SVHN and its extra set from this machine."""
    fetch_svhn_train_test.delete_cache()
    fetch_svhn_extra.delete_cache()


def _convert(path: str, folder: NewFolder, part: str) -> None:
    """Write the images ``X`` and the labels ``y`` of a MAT file into a folder."""
    counts = {}
    for matrix in matrices(path):
        if matrix.name == "X":
            counts["X"] = _convert_images(path, matrix, folder, part)
        elif matrix.name == "y":
            labels = matrix.numbers.read(matrix.numbers.left).astype(np.int32)
            labels[labels == 10] = 0  # which is how the files call the digit 0
            folder.array(f"{part}_y", labels)
            counts["y"] = len(labels)
    if len(counts) < 2 or counts["X"] != counts["y"]:
        raise FileFormatError(f"{path} must have images X and as many labels y, has {counts}")


def _convert_images(path: str, matrix: Matrix, folder: NewFolder, part: str) -> int:
    # (row, column, channel, number) in Fortran order: images lie one behind the other, each by channel and column
    if len(matrix.shape) != 4 or matrix.shape[:3] != _SHAPE[::-1] or matrix.dtype != np.uint8:
        raise FileFormatError(f"{path}: X must be uint8 (32, 32, 3, n), is {matrix.dtype} {matrix.shape}")
    with folder.rows(f"{part}_X_u8", _SHAPE, np.uint8, matrix.shape[3]) as extend:
        while matrix.numbers.left:
            images = matrix.numbers.read(_AT_ONCE * 3 * 32 * 32).reshape(-1, *_SHAPE)
            extend(images.transpose(0, 1, 3, 2))
    return matrix.shape[3]


class SVHN(ImageDataset):
    """The digits of SVHN; images are (3, 32, 32), class 0 is the digit 0. See `ImageDataset`."""

    _fetch = fetch_svhn_train_test
    _class_names = tuple("0123456789")


class SVHNExtra:
    """The extra digits of SVHN, half a million easier ones.

    Parameters
    ----------
    val_lower, val_upper : float, default 0 and 1
        What the pixels 0 and 255 become.

    Attributes
    ----------
    X : array-like of float32, shape (n, 3, 32, 32)
        The images, made when they are read.
    X_u8 : ndarray of uint8, of the same shape
        The images as they lie in a memory-mapped file.
    y : ndarray of int32, shape (n,)
        The digit of each.
    class_names : list of str
        What the classes are called.

    Raises
    ------
    FetchError
        If it is not on this machine and cannot be fetched; the message says what to do.
    """

    def __init__(self, val_lower: float = 0.0, val_upper: float = 1.0) -> None:
        check_limits(val_lower, val_upper)
        folder = Folder(fetch_svhn_extra())
        self.val_lower, self.val_upper = val_lower, val_upper
        self.X_u8 = folder.array("extra_X_u8")
        self.y = folder.labels("extra_y", self.X_u8)
        self.X = ScaledArray(self.X_u8, val_lower, val_upper)
        self.class_names = [str(digit) for digit in range(10)]

    @property
    def counts(self) -> dict[str, int]:
        """How many samples there are."""
        return {"extra": len(self.y)}

    def data_source(self) -> ArrayDataSource:
        """Return the images (float32) and labels as a data source."""
        return ArrayDataSource([self.X, self.y])

    def __reduce__(self) -> tuple[type, tuple[float, float]]:
        return SVHNExtra, (self.val_lower, self.val_upper)

    def __repr__(self) -> str:
        return with_counts("SVHNExtra", {"val_lower": self.val_lower, "val_upper": self.val_upper}, self.counts)

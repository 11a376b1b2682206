"""STL-10: photographs of ten kinds of things, of 96 x 96 pixels: few with labels, in ten folds, and many without."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup.columns import ChosenRows, ScaledArray
from batchup.columns.lazy import check_limits
from batchup.data_source import ArrayDataSource
from batchup.datasets.archives import Member, members
from batchup.datasets.dataset import DownloadSourceFile, fetch_and_convert_dataset
from batchup.datasets.folder import Folder, NewFolder
from batchup.datasets.splits import ImageSplits
from batchup.errors import FileFormatError, InvalidValueError

__all__ = ["STL", "delete_cache", "fetch_stl"]

SOURCES = [
    DownloadSourceFile(
        "stl10_binary.tar.gz",
        base_url=["http://ai.stanford.edu/~acoates/stl10/"],
        sha256="f31fd99273a1acb8609c8db427cebb1de3f71de77758cdc0e22956e1289b9866",
        folder="stl",
    )
]
_SHAPE = (3, 96, 96)
_BYTES = 3 * 96 * 96
_AT_ONCE = 256  # images
_IMAGES = {"train_X.bin": "train_X_u8", "test_X.bin": "test_X_u8", "unlabeled_X.bin": "unl_X_u8"}
_LABELS = {"train_y.bin": "train_y", "test_y.bin": "test_y"}
_TEXTS = ("class_names.txt", "fold_indices.txt")
_TOP = "stl10_binary"
_MOST = {**dict.fromkeys(_IMAGES, 2**33), **dict.fromkeys(_LABELS, 2**24), **dict.fromkeys(_TEXTS, 2**24)}


@fetch_and_convert_dataset(SOURCES, "stl")
def fetch_stl(source_paths: list[str], target_path: str) -> str:
    """Fetch STL-10 if need be, and return the folder that it lies in."""
    folder, counts, folds = NewFolder(target_path), {}, []
    for path, file, size in members(source_paths[0], {f"{_TOP}/{name}": most for name, most in _MOST.items()}):
        name = path.removeprefix(f"{_TOP}/")
        if name in _IMAGES:
            counts[name] = _convert_images(path, file, size, folder, _IMAGES[name])
        elif name in _LABELS:
            labels = np.frombuffer(file.read(), np.uint8).astype(np.int32)
            folder.array(_LABELS[name], labels - 1)  # the files count classes from 1
            counts[name] = len(labels)
        elif name == "class_names.txt":
            folder.text("class_names", file.read().decode("ascii").split())
        else:
            folds = _folds(path, file)
    for part in ("train", "test"):
        if counts[f"{part}_X.bin"] != counts[f"{part}_y.bin"]:
            raise FileFormatError(f"{source_paths[0]} has not as many labels as images to {part}: {counts}")
    _write_folds(folds, counts["train_y.bin"], folder, source_paths[0])
    return target_path


def _convert_images(path: str, file: Member, size: int, folder: NewFolder, name: str) -> int:
    if size % _BYTES:
        raise FileFormatError(f"{path} must hold whole images of {_BYTES} bytes, has {size}")
    with folder.rows(name, _SHAPE, np.uint8, size // _BYTES) as extend:
        while data := file.read(_AT_ONCE * _BYTES):
            extend(np.frombuffer(data, np.uint8).reshape(-1, *_SHAPE).transpose(0, 1, 3, 2))  # by column
    return size // _BYTES


def _folds(path: str, file: Member) -> list[NDArray[np.int32]]:
    try:
        return [np.array(line.split(), np.int32) for line in file.read().splitlines()]
    except ValueError as error:
        raise FileFormatError(f"{path} must hold numbers of images: {error}") from None


def _write_folds(folds: list[NDArray[np.int32]], count: int, folder: NewFolder, path: str) -> None:
    values = np.concatenate([*folds, np.empty(0, np.int32)])
    if len(values) and not 0 <= values.min() <= values.max() < count:
        raise FileFormatError(f"{path} has folds of images up to {values.max()}, and {count} images")
    folder.array("tr_folds", values)
    folder.array("tr_fold_lengths", np.array([len(fold) for fold in folds], np.int32))


delete_cache = fetch_stl.delete_cache


class STL(ImageSplits):
    """The photographs of STL-10; see `ImageSplits` for its attributes. Images are (3, 96, 96).

    Parameters
    ----------
    n_val_folds : int or None, default 1
        How many of the ten folds, the last ones, are for validation. Folds overlap: an image that is in several of
        them comes once.
    val_lower, val_upper : float, default 0 and 1
        What the pixels 0 and 255 become.

    Attributes
    ----------
    unl_X, unl_X_u8 : array-like of float32 and of uint8, shape (n, 3, 96, 96)
        The images without labels.
    tr_folds : list of ndarray of int32
        Which of all images to train on are in each fold.

    Raises
    ------
    FetchError
        If it is not on this machine and cannot be fetched; the message says what to do.
    ValueError
        If there are fewer than `n_val_folds` folds.
    """

    train_X_u8: Any
    val_X_u8: Any

    def __init__(self, n_val_folds: int | None = 1, val_lower: float = 0.0, val_upper: float = 1.0) -> None:
        count = 0 if n_val_folds is None else whole_number(n_val_folds, "n_val_folds")
        check_limits(val_lower, val_upper)
        folder = Folder(fetch_stl())
        self.n_val_folds = n_val_folds
        ends = np.cumsum(folder.array("tr_fold_lengths"))[:-1]
        self.tr_folds: list[NDArray[np.int32]] = np.split(folder.array("tr_folds"), ends)
        images = folder.array("train_X_u8")
        labels = folder.labels("train_y", images)
        for_val = self._for_validation(count)
        if len(for_val):
            for_train = np.delete(np.arange(len(labels)), for_val)
            self.train_X_u8, self.train_y = ChosenRows(images, for_train), labels[for_train]
            self.val_X_u8, self.val_y = ChosenRows(images, for_val), labels[for_val]
        else:
            self.train_X_u8, self.train_y = images, labels
            self.val_X_u8, self.val_y = images[:0], labels[:0]
        self.test_X_u8 = folder.array("test_X_u8")
        self.test_y = folder.labels("test_y", self.test_X_u8)
        self.unl_X_u8 = folder.array("unl_X_u8")
        self.unl_X = ScaledArray(self.unl_X_u8, val_lower, val_upper)
        self.class_names = folder.text("class_names")
        self._scale(val_lower, val_upper)

    @cached_property
    def unl(self) -> ArrayDataSource:
        """The images without labels, as a data source."""
        return ArrayDataSource([self.unl_X])

    def _for_validation(self, count: int) -> NDArray[np.int32]:
        """Return the images of the last folds, each once."""
        if count > len(self.tr_folds):
            raise InvalidValueError(f"n_val_folds must be at most {len(self.tr_folds)}, got {count}")
        folds = np.concatenate([np.empty(0, np.int32), *self.tr_folds[len(self.tr_folds) - count :]])
        _, first = np.unique(folds, return_index=True)
        return folds[np.sort(first)]

"""CIFAR-100: small photographs of a hundred kinds of things, in twenty groups."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.datasets import cifar
from batchup.datasets.archives import members
from batchup.datasets.dataset import fetch_and_convert_dataset
from batchup.datasets.folder import Folder, NewFolder
from batchup.datasets.splits import ImageDataset, train_and_val
from batchup.errors import FileFormatError

__all__ = ["CIFAR100", "delete_cache", "fetch_cifar100"]

SOURCES = [
    cifar.source_of(
        "cifar-100-python.tar.gz", "85cd44d02ba6437773c5bbd22e183051d648de2e7d6b014e1ef29b855ba677a7", "cifar100"
    )
]
_TOP = "cifar-100-python"
_LABELS = {"y": "fine_labels", "y_coarse": "coarse_labels"}
_NAMES = {"class_names": "fine_label_names", "class_names_coarse": "coarse_label_names"}


@fetch_and_convert_dataset(SOURCES, "cifar100")
def fetch_cifar100(source_paths: list[str], target_path: str) -> str:
    """Fetch CIFAR-100 if need be, and return the folder that it lies in."""
    folder = NewFolder(target_path)
    for name, file, _ in members(
        source_paths[0], dict.fromkeys([f"{_TOP}/{part}" for part in ("train", "test", "meta")], cifar.MOST)
    ):
        batch, part = cifar.loaded(file, name), name.removeprefix(f"{_TOP}/")
        if part == "meta":
            _write_names(folder, batch, name)
            continue
        folder.array(f"{part}_X_u8", cifar.images_of(batch, name))
        for labels, key in _LABELS.items():
            folder.array(f"{part}_{labels}", cifar.labels_of(batch, key, name))
    return target_path


def _write_names(folder: NewFolder, meta: dict[str, Any], name: str) -> None:
    for names, key in _NAMES.items():
        if not isinstance(meta.get(key), list):
            raise FileFormatError(f"{name} must have a list {key}")
        folder.text(names, [str(one) for one in meta[key]])


delete_cache = fetch_cifar100.delete_cache


class CIFAR100(ImageDataset):
    """The photographs of CIFAR-100; images are (3, 32, 32). See `ImageDataset`.

    Attributes
    ----------
    train_y_coarse, val_y_coarse, test_y_coarse : ndarray of int32, shape (n,)
        The group of the class of each image.
    class_names_coarse : list of str
        What the groups are called.
    """

    _fetch = fetch_cifar100

    def __init__(self, n_val: int | None = 10000, val_lower: float = 0.0, val_upper: float = 1.0) -> None:
        super().__init__(n_val, val_lower, val_upper)
        folder = Folder(fetch_cifar100.target_path)
        self.train_y_coarse: NDArray[np.int32]
        self.train_y_coarse, self.val_y_coarse = train_and_val(
            n_val, folder.labels("train_y_coarse", self.train_y, self.val_y)
        )
        self.test_y_coarse = folder.labels("test_y_coarse", self.test_y)
        self.class_names, self.class_names_coarse = folder.text("class_names"), folder.text("class_names_coarse")

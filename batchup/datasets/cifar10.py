"""CIFAR-10: small photographs of ten kinds of things, 50,000 to train on and 10,000 to test."""

from __future__ import annotations

import numpy as np

from batchup.datasets import cifar
from batchup.datasets.archives import members
from batchup.datasets.dataset import fetch_and_convert_dataset
from batchup.datasets.folder import NewFolder
from batchup.datasets.splits import ImageDataset

__all__ = ["CIFAR10", "delete_cache", "fetch_cifar10"]

SOURCES = [
    cifar.source_of(
        "cifar-10-python.tar.gz", "6d958be074577803d12ecdefd02955f39262c83c16fe9348329d7fe0b5c001ce", "cifar10"
    )
]
_TOP = "cifar-10-batches-py"
_TRAIN = [f"{_TOP}/data_batch_{number}" for number in range(1, 6)]
_TEST = f"{_TOP}/test_batch"


@fetch_and_convert_dataset(SOURCES, "cifar10")
def fetch_cifar10(source_paths: list[str], target_path: str) -> str:
    """Fetch CIFAR-10 if need be, and return the folder that it lies in."""
    parts = {}  # the archive may have them in any order; all of it is 180 MB
    for name, file, _ in members(source_paths[0], dict.fromkeys([*_TRAIN, _TEST], cifar.MOST)):
        batch = cifar.loaded(file, name)
        parts[name] = cifar.images_of(batch, name), cifar.labels_of(batch, "labels", name)
    folder = NewFolder(target_path)
    for part, names in (("train", _TRAIN), ("test", [_TEST])):
        with folder.rows(f"{part}_X_u8", cifar.SHAPE, np.uint8) as extend:
            for name in names:
                extend(parts[name][0])
        folder.array(f"{part}_y", np.concatenate([parts[name][1] for name in names]))
    return target_path


delete_cache = fetch_cifar10.delete_cache


class CIFAR10(ImageDataset):
    """The photographs of CIFAR-10; images are (3, 32, 32). See `ImageDataset`."""

    _fetch = fetch_cifar10
    _class_names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")

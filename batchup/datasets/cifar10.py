"""CIFAR-10: small photographs of ten kinds of things, 50,000 to train on and 10,000 to test."""

from __future__ import annotations

import numpy as np

from batchup.datasets import cifar
from batchup.datasets.archives import members
from batchup.datasets.dataset import fetch_and_convert_dataset
from batchup.datasets.folder import NewFolder
from batchup.datasets.parts import PlainParts

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
        with folder.rows(f"{part}_X_u8") as rows:
            for name in names:
                rows.extend(parts[name][0])
        folder.array(f"{part}_y", np.concatenate([parts[name][1] for name in names]))
    return target_path


def delete_cache() -> None:
    """Remove CIFAR-10 from this machine."""
    fetch_cifar10.delete_cache()


class CIFAR10(PlainParts):
    """The photographs of CIFAR-10; see `Parts` for its attributes. Images are (3, 32, 32).

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

    def __init__(self, n_val: int | None = 10000, val_lower: float = 0.0, val_upper: float = 1.0) -> None:
        super().__init__(fetch_cifar10(), n_val, val_lower, val_upper)
        self.class_names = [
            *("airplane", "automobile", "bird", "cat", "deer"),
            *("dog", "frog", "horse", "ship", "truck"),
        ]

"""What CIFAR-10 and CIFAR-100 have in common: archives of pickles, each with images in the rows of an array."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.datasets import pickles
from batchup.datasets.archives import Member
from batchup.datasets.dataset import DownloadSourceFile
from batchup.errors import FileFormatError

SHAPE = (3, 32, 32)
MOST = 2**30  # bytes of a pickle


def source_of(name: str, sha256: str, folder: str) -> DownloadSourceFile:
    """Return the archive of a data set."""
    return DownloadSourceFile(name, base_url=["https://www.cs.toronto.edu/~kriz/"], sha256=sha256, folder=folder)


def loaded(file: Member, name: str) -> dict[str, Any]:
    """Return the dict in a pickle."""
    batch = pickles.load(file, name)
    if not isinstance(batch, dict):
        raise FileFormatError(f"{name} must hold a dict, holds {type(batch).__name__}")
    return batch


def images_of(batch: dict[str, Any], name: str) -> NDArray[np.uint8]:
    """Return the images of a batch."""
    data = batch.get("data")
    if not isinstance(data, np.ndarray) or data.dtype != np.uint8 or data.ndim != 2 or data.shape[1] != 3 * 32 * 32:
        what = f"{data.dtype} {data.shape}" if isinstance(data, np.ndarray) else type(data).__name__
        raise FileFormatError(f"{name}: its images must be uint8 (n, 3072), are {what}")
    return data.reshape(-1, *SHAPE)


def labels_of(batch: dict[str, Any], key: str, name: str) -> NDArray[np.int32]:
    """Return the labels of a batch, as many as there are images."""
    labels = np.asarray(batch.get(key, []))
    if labels.shape != batch["data"].shape[:1] or labels.dtype.kind not in "iu":
        raise FileFormatError(f"{name}: its {key} must be {len(batch['data'])} integers")
    return labels.astype(np.int32)

"""The IDX files of MNIST and of those who took its format: one array each, compressed with gzip.

A big-endian header (two zero bytes, 8 for uint8, the number of dimensions, and a uint32 for each), then the elements in
C order. Source: http://yann.lecun.com/exdb/mnist/.
"""

from __future__ import annotations

import math
import os
import struct
from collections.abc import Sequence

import numpy as np

from batchup._compression import DENSEST
from batchup.datasets.archives import Bounded
from batchup.datasets.dataset import DownloadSourceFile
from batchup.datasets.folder import NewFolder
from batchup.errors import FileFormatError

NAMES = (
    "train-images-idx3-ubyte.gz",
    "train-labels-idx1-ubyte.gz",
    "t10k-images-idx3-ubyte.gz",
    "t10k-labels-idx1-ubyte.gz",
)
SIDE = 28  # pixels
_UINT8 = 8
_AT_ONCE = 4096  # images


def sources_of(folder: str, base_urls: Sequence[str], digests: Sequence[str]) -> list[DownloadSourceFile]:
    """Return the four files of a data set in the manner of MNIST."""
    return [
        DownloadSourceFile(name, base_url=base_urls, sha256=digest, folder=folder)
        for name, digest in zip(NAMES, digests, strict=True)
    ]


def convert(source_paths: Sequence[str], target_path: str) -> str:
    """Make a folder of arrays of the four files."""
    folder = NewFolder(target_path)
    for part, images, labels in (("train", *source_paths[:2]), ("test", *source_paths[2:])):
        if _convert_images(images, folder, f"{part}_X_u8") != _convert_labels(labels, folder, f"{part}_y"):
            raise FileFormatError(f"{images} has not as many images as {labels} has labels")
    return target_path


def _convert_images(path: str, folder: NewFolder, name: str) -> int:
    with Bounded(path, _most(path)) as file:
        count, *shape = _header(file, 3)
        if shape != [SIDE, SIDE]:
            raise FileFormatError(f"{path} has images of {shape[0]} x {shape[1]} pixels, not of {SIDE} x {SIDE}")
        with folder.rows(name, (1, SIDE, SIDE), np.uint8, count) as extend:
            for start in range(0, count, _AT_ONCE):
                data = file.exactly(min(_AT_ONCE, count - start) * SIDE * SIDE)
                extend(np.frombuffer(data, np.uint8).reshape(-1, 1, SIDE, SIDE))
        file.end()
    return count


def _convert_labels(path: str, folder: NewFolder, name: str) -> int:
    with Bounded(path, _most(path)) as file:
        (count,) = _header(file, 1)
        folder.array(name, np.frombuffer(file.exactly(count), np.uint8).astype(np.int32))
        file.end()
    return count


def _header(file: Bounded, dimensions: int) -> list[int]:
    """Return the lengths that a file says its array has."""
    magic = file.exactly(4)
    if magic != bytes((0, 0, _UINT8, dimensions)):
        raise FileFormatError(
            f"{file.path} is no IDX file of uint8 in {dimensions} dimensions: it begins with {magic!r}"
        )
    shape = list(struct.unpack(f">{dimensions}I", file.exactly(4 * dimensions)))
    if math.prod(shape) > _most(file.path):
        raise FileFormatError(f"{file.path} is damaged: so small a file cannot hold an array of the shape {shape}")
    return shape


def _most(path: str) -> int:
    return DENSEST * (os.path.getsize(path) + 1)

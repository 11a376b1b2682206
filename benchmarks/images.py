"""Images in files: a data set in the format of MNIST, and what float32 batches of images must be."""

from __future__ import annotations

import glob
import gzip
import hashlib
import importlib
import os
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from declared import Work
from files import RowFiles
from sources import Array, row_numbers

CLASSES = 10
HELD_BACK = 6  # one of so many is for testing, and as many to validate


class ImageFiles(RowFiles):
    """Images and labels as MNIST has them, in the home of a batchup that has fetched and converted them.

    Attributes
    ----------
    home : str
        The folder to which BATCHUP_HOME is to be set.
    """

    def __init__(self, work: Work, folder: str) -> None:
        super().__init__(work, folder)
        self.home = os.path.join(folder, "home")
        if not os.path.exists(self.home):
            self._convert()
        self._used += glob.glob(os.path.join(self.home, "data", "mnist", "*.npy"))

    def arrays(self) -> dict[str, Array]:
        """Give the arrays as Keras calls them."""
        images, labels = np.array(self.rows()), (self.labels % CLASSES).astype(np.uint8)
        tests = held_back(self.work)
        return {"x_train": images, "y_train": labels, "x_test": images[:tests], "y_test": labels[:tests]}

    def _convert(self) -> None:
        """Let batchup fetch IDX files from a folder; it lies in the environment that is first."""
        module: Any = importlib.import_module("batchup.datasets.mnist")
        mirror = os.path.join(os.path.dirname(self.home), "mirror")
        os.makedirs(os.path.join(mirror, "mnist"))
        for source, array in zip(module.SOURCES, self.arrays().values(), strict=True):
            data = idx(array)
            source.sha256 = hashlib.sha256(data).hexdigest()
            with open(os.path.join(mirror, source.at_mirror), "wb") as file:
                file.write(data)
        os.environ.update(BATCHUP_HOME=self.home, BATCHUP_MIRROR=mirror)
        module.fetch_mnist()


def held_back(work: Work) -> int:
    """Tell how many images are for testing, and how many of the others to validate."""
    return work.rows // HELD_BACK


def idx(array: Array) -> bytes:
    """Write labels, or images of one channel, as an IDX file, compressed."""
    shape = [length for length in array.shape if length != 1]
    header = bytes((0, 0, 8, len(shape))) + struct.pack(f">{len(shape)}I", *shape)
    return gzip.compress(header + array.tobytes(), 1)


def pixels_of(batch: Any) -> Array:
    """Give the pixels of a batch of scaled images."""
    values = np.array(batch)
    if values.dtype != np.float32 or values.min() < 0 or values.max() > 1:
        raise ValueError(f"wrong batches: {values.dtype} from {values.min()} to {values.max()}")
    pixels: Array = np.rint(255 * values).astype(np.uint8)
    return pixels


def wrong_first_batch(work: Work, batch: Any) -> Iterator[str]:
    """Tell what is wrong with a first batch of images."""
    pixels = pixels_of(batch)
    if pixels.shape != (work.batch, *work.shape):
        yield f"{pixels.shape} is not a full batch"
        return
    numbers = row_numbers(pixels)
    if len(np.unique(numbers)) < len(numbers) or numbers.max() >= work.rows:
        yield "these are not images of the source"
    if np.all(np.diff(numbers) == 1):
        yield "in order"

"""Images as they are scaled and loaded by hand, and what bounds that."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from declared import Work
from files import RowFiles
from images import ImageFiles
from opening import in_fresh_process
from slices import Epoch
from sources import Array

from contenders import Trial, Ways

SCALE = np.float32(1 / 255)


def divided(work: Work, files: RowFiles) -> Epoch:
    """`X = np.load(path, mmap_mode="r")`, then `X[perm[i:i+B]].astype(np.float32) / 255`, a permutation per epoch."""
    return _shuffled(work, files.rows(), lambda rows: rows.astype(np.float32) / 255)


def multiplied(work: Work, files: RowFiles) -> Epoch:
    """The same with `* np.float32(1 / 255)`."""
    return _shuffled(work, files.rows(), lambda rows: rows.astype(np.float32) * SCALE)


def _shuffled(work: Work, rows: Array, scale: Callable[[Array], Array]) -> Epoch:
    rng = np.random.RandomState(1)

    def epoch() -> Iterator[Array]:
        permutation = rng.permutation(work.rows)
        for start in range(0, work.rows, work.batch):
            yield scale(rows[permutation[start : start + work.batch]])

    return epoch


def memcpy(work: Work, files: RowFiles) -> Epoch:
    """One-thread copy of all images as float32, in memory, `np.copyto(out, X[i:i+B])` into one buffer."""
    rows = files.rows() * SCALE
    out = np.zeros((work.batch, *work.shape), np.float32)

    def epoch() -> Iterator[Array]:
        for start in range(0, work.rows, work.batch):
            part = rows[start : start + work.batch]
            into = out[: len(part)]
            np.copyto(into, part)
            yield into

    return epoch


def taken(work: Work, files: RowFiles) -> Epoch:
    """`X.take(i, 0, pixels, "clip")`, `np.copyto(out, pixels)`, `np.multiply(out, np.float32(1 / 255), out)`."""
    rows = files.rows().view(np.ndarray)
    permutation = np.random.RandomState(1).permutation(work.rows).astype(np.intp)
    pixels = np.zeros((work.batch, *work.shape), np.uint8)
    out = np.zeros(pixels.shape, np.float32)

    def epoch() -> Iterator[Array]:
        for start in range(0, work.rows, work.batch):
            indices = permutation[start : start + work.batch]
            part = rows.take(indices, 0, pixels[: len(indices)], "clip")
            into = out[: len(indices)]
            np.copyto(into, part)
            yield np.multiply(into, SCALE, into)

    return epoch


def load_npz(work: Work, path: str) -> Epoch:
    """Load a file in the manner of Keras' mnist.npz."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    return _shuffled(work, arrays["x_train"], lambda rows: rows.astype(np.float32) / 255)


def map_npy(work: Work, path: str) -> Epoch:
    """Map a file of images."""
    return _shuffled(work, np.load(path, mmap_mode="r"), lambda rows: rows.astype(np.float32) / 255)


def loaded(work: Work, files: ImageFiles) -> Trial:
    """`np.load(path)` of an `.npz` file, each array of it read; then `X[perm[:B]].astype(np.float32) / 255`."""
    path = files.made("plain.npz", lambda path: _save(path, files, compressed=False))
    return in_fresh_process(work, files, path, load_npz)


def decompressed(work: Work, files: ImageFiles) -> Trial:
    """The same of a compressed one, such as Keras has."""
    path = files.made("compressed.npz", lambda path: _save(path, files, compressed=True))
    return in_fresh_process(work, files, path, load_npz)


def mapped(work: Work, files: ImageFiles) -> Trial:
    """`np.load(path, mmap_mode="r")` of the images to train on alone."""
    return in_fresh_process(work, files, files.flat, map_npy)


def _save(path: str, files: ImageFiles, compressed: bool) -> None:
    save: Callable[..., None] = np.savez_compressed if compressed else np.savez
    with open(path, "wb") as file:
        save(file, **files.arrays())


WAYS: Ways = {
    "scaled": {
        "by hand": divided,
        "by hand, multiplied": multiplied,
        "memcpy": memcpy,
        "take + scale": taken,
    },
    "open_images": {
        "np.load, .npz": loaded,
        "np.load, compressed .npz": decompressed,
        "np.load, mapped": mapped,
    },
}

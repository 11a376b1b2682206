"""HDF5 by h5py: contiguous datasets of rows and labels."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from declared import Work
from files import RowFiles, ToWrite
from hdf5_layouts import LAYOUTS, file_of
from slices import Epoch
from typed import LABELS, ROWS, path_of

from contenders import Closing, Way, Ways

h5py: Any = importlib.import_module("h5py")


def sorted_fancy(work: Work, files: RowFiles) -> Closing:
    """`s = np.sort(perm[i:i+B])`, then `file["rows"][s], file["labels"][s]`: the batch is not put in order again."""
    file = file_of(work, files, "contiguous")
    rows, labels = file["rows"], file["labels"]
    rng = np.random.RandomState(1)

    def epoch() -> Iterator[Any]:
        permutation = rng.permutation(work.rows)
        for start in range(0, work.rows, work.batch):
            indices = np.sort(permutation[start : start + work.batch])
            yield rows[indices], labels[indices]

    return Closing(epoch, file.close)


def sorted_fancy_of(work: Work, files: RowFiles, layout: str) -> Closing:
    """`s = np.sort(perm[i:i+B])`, then `file["rows"][s], y[s]`: the batch is not put in order again."""
    file = file_of(work, files, layout)
    rows, rng = file["rows"], np.random.RandomState(1)

    def epoch() -> Iterator[Any]:
        permutation = rng.permutation(work.rows)
        for start in range(0, work.rows, work.batch):
            indices = np.sort(permutation[start : start + work.batch])
            yield rows[indices], files.labels[indices]

    return Closing(epoch, file.close)


def sliced(work: Work, files: RowFiles) -> Closing:
    """`np.stack([file["x/__arr__"][32 * i : 32 * (i + 1)] for i in perm[i:i+B]])`; labels read once, then in memory."""
    file, rng = h5py.File(path_of(work, files), "r"), np.random.RandomState(1)
    rows, labels, length = file[f"{ROWS}/__arr__"], file[f"{LABELS}/__arr__"][()], work.shape[0]

    def epoch() -> Iterator[Any]:
        permutation = rng.permutation(work.rows)
        for start in range(0, work.rows, work.batch):
            indices = permutation[start : start + work.batch]
            yield np.stack([rows[length * i : length * (i + 1)] for i in indices.tolist()]), labels[indices]

    return Closing(epoch, file.close)


def _way(layout: str) -> Way:
    way = partial(sorted_fancy_of, layout=layout)
    way.__doc__ = sorted_fancy_of.__doc__
    return way


def written(_: Work, to: ToWrite) -> Epoch:
    """`file.create_dataset("rows", data=X)`, the same for the labels, fsync."""

    def write(path: str) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("rows", data=to.rows)
            file.create_dataset("labels", data=to.labels)

    return to.written("h5", write)


WAYS: Ways = {
    "file": {"h5py": sorted_fancy},
    "file_hdf5": {f"h5py, {layout}": _way(layout) for layout in LAYOUTS},
    "ids": {"h5py, a slice an id": sliced},
    "ids_gzip": {"h5py, a slice an id": sliced},
    "write": {"h5py": written},
}

"""The layouts of HDF5 datasets that are measured, and files that have them; for environments with h5py."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from declared import Work
from files import RowFiles

CHUNK = 128 * 1024  # bytes
COMPRESSED = ("gzip", "lzf")
LAYOUTS = ("contiguous", "chunks", *COMPRESSED)


def file_of(work: Work, files: RowFiles, layout: str) -> Any:
    """Return an open file with the rows and labels of a piece of work, the rows in a layout."""
    h5py: Any = importlib.import_module("h5py")
    return h5py.File(files.made(f"{layout}.h5", lambda path: _write(path, work, files.pieces(), layout)), "r")


def _write(path: str, work: Work, pieces: Iterator[Any], layout: str) -> None:
    h5py: Any = importlib.import_module("h5py")
    options: dict[str, Any] = {}
    if layout != "contiguous":
        options["chunks"] = (max(1, CHUNK // work.row_bytes), *work.shape)
    if layout in COMPRESSED:
        options["compression"] = layout
    with h5py.File(path, "w") as file:
        rows = file.create_dataset("rows", (work.rows, *work.shape), work.dtype, **options)
        labels = file.create_dataset("labels", (work.rows,), np.int64)
        start = 0
        for some_rows, some_labels in pieces:
            stop = start + len(some_rows)
            rows[start:stop], labels[start:stop] = some_rows, some_labels
            start = stop

"""Datasets of HDF5 files that lie where they are looked for: links to other files are not followed."""

from __future__ import annotations

from typing import Any

from batchup._extras import required
from batchup.errors import FileFormatError


def checked_dataset(file: Any, key: str, name: str) -> Any:
    """Return a dataset of a file, which lies in it, and holds numbers.

    Raises
    ------
    FileFormatError
        If it is not there, or lies in another file, or holds Python objects.
    """
    h5py = required("h5py", "hdf5", "reading HDF5 files")
    parts = key.split("/")
    for end in range(1, len(parts) + 1):
        link = file.get("/".join(parts[:end]), getlink=True)
        if link is None:
            raise FileFormatError(f"{name} has no dataset {key!r}: it is damaged, or no file of records")
        if not isinstance(link, h5py.HardLink):
            raise FileFormatError(f"{name}: {key!r} lies in another file, or is a link; neither is followed")
    dataset = file[key]
    if not isinstance(dataset, h5py.Dataset) or dataset.is_virtual or dataset.external:
        raise FileFormatError(f"{name}: {key!r} is no dataset of this file")
    return dataset

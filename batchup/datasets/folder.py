"""A folder of .npy files that make up a data set: written piece by piece, and opened without reading them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import FileFormatError
from batchup.pipeline.formats import read_npy
from batchup.pipeline.formats.npy_rows import NpyRows


class NewFolder:
    """A folder that is being filled with arrays.

    Parameters
    ----------
    path : str
        Its name; it must not be there.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        os.mkdir(path)

    @contextlib.contextmanager
    def rows(self, name: str, count: int | None = None) -> Iterator[Rows]:
        """Have an array open, until the block ends; a bar tells how many of its rows are there, of so many."""
        from tqdm.auto import tqdm

        title = f"{os.path.basename(self.path)}: {name}"
        with (
            open(self._named(f"{name}.npy"), "w+b") as file,
            tqdm(desc=title, total=count, leave=False, delay=0.5, unit_scale=True) as bar,
        ):
            rows = NpyRows(file, f" of {name}")
            yield Rows(rows, bar)
            rows.finish()

    def array(self, name: str, values: Any) -> None:
        """Write an array that is in memory."""
        with self.rows(name) as rows:
            rows.extend(np.asarray(values))

    def text(self, name: str, values: list[str]) -> None:
        """Write a list of names."""
        with open(self._named(f"{name}.json"), "w", encoding="utf-8") as file:
            json.dump(values, file, ensure_ascii=False, indent=1)

    def _named(self, name: str) -> str:
        return os.path.join(self.path, name)


class Rows:
    """The rows of an array that is being written.

    Parameters
    ----------
    rows : NpyRows
        Where they go.
    bar
        What is told how many there are.
    """

    def __init__(self, rows: NpyRows, bar: Any) -> None:
        self._rows = rows
        self._bar = bar

    def extend(self, values: NDArray[Any]) -> None:
        """Write some more; none of them tell what a row is."""
        self._rows.extend(values)
        self._bar.update(len(values))


class Folder:
    """A folder of arrays, which are mapped into memory.

    Parameters
    ----------
    path : str
        Its name.
    """

    def __init__(self, path: str) -> None:
        self.path = path

    def array(self, name: str) -> NDArray[Any]:
        """Return an array, read-only; nothing of it is read.

        Raises
        ------
        FileFormatError
            If its file is not there, or damaged.
        """
        path = os.path.join(self.path, f"{name}.npy")
        try:
            return read_npy(path).view(np.ndarray)
        except FileNotFoundError:
            raise FileFormatError(f"{path} is missing: remove {self.path}, and it will be made again") from None

    def text(self, name: str) -> list[str]:
        """Return a list of names.

        Raises
        ------
        FileFormatError
            If its file is not there, or damaged.
        """
        path = os.path.join(self.path, f"{name}.json")
        try:
            with open(path, encoding="utf-8") as file:
                return [str(value) for value in json.load(file)]
        except (FileNotFoundError, ValueError) as error:
            raise FileFormatError(
                f"{path} is missing or damaged: remove {self.path}, and it will be made again"
            ) from error

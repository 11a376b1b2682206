"""A folder of .npy files that make up a data set: written piece by piece, and opened without reading them."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._npy_rows import NpyRows
from batchup.datasets.manifest import remedy
from batchup.errors import FileFormatError


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
    def rows(
        self, name: str, shape: tuple[int, ...], dtype: Any, count: int | None = None
    ) -> Iterator[Callable[[NDArray[Any]], None]]:
        """Have an array open, until the block ends, and a function that writes rows of a shape and a type.

        A bar tells how many of its rows are there, of so many.
        """
        from tqdm.auto import tqdm

        title = f"{os.path.basename(self.path)}: {name}"
        with (
            open(self._named(f"{name}.npy"), "w+b") as file,
            tqdm(desc=title, total=count, leave=False, delay=0.5, unit_scale=True) as bar,
        ):
            rows = NpyRows(file, f" of {name}")
            rows.extend(np.empty((0, *shape), dtype))

            def extend(values: NDArray[Any]) -> None:
                rows.extend(values)
                bar.update(len(values))

            yield extend
            rows.finish()

    def array(self, name: str, values: Any) -> None:
        """Write an array that is in memory."""
        np.save(self._named(f"{name}.npy"), values, allow_pickle=False)

    def text(self, name: str, values: list[str]) -> None:
        """Write a list of names."""
        with open(self._named(f"{name}.json"), "w", encoding="utf-8") as file:
            json.dump(values, file, ensure_ascii=False, indent=1)

    def _named(self, name: str) -> str:
        return os.path.join(self.path, name)


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
        with self._told(path):
            mapped: NDArray[Any] = np.load(path, mmap_mode="r", allow_pickle=False)
        return mapped.view(np.ndarray)

    def labels(self, name: str, *images: Any) -> NDArray[Any]:
        """Return an array of labels, in memory, and one's own: as many as there are images.

        Raises
        ------
        FileFormatError
            If its file is not there, or damaged, or there are not as many.
        """
        labels = np.array(self.array(name))
        if len(labels) != sum(map(len, images)):
            raise FileFormatError(
                f"{self.path} has {sum(map(len, images))} images and {len(labels)} {name}: {remedy(self.path)}"
            )
        return labels

    def text(self, name: str) -> list[str]:
        """Return a list of names.

        Raises
        ------
        FileFormatError
            If its file is not there, or damaged.
        """
        path = os.path.join(self.path, f"{name}.json")
        with self._told(path), open(path, encoding="utf-8") as file:
            return [str(value) for value in json.load(file)]

    @contextlib.contextmanager
    def _told(self, path: str) -> Iterator[None]:
        """Say what to do about a file that is not as it was written."""
        try:
            yield
        except (FileNotFoundError, ValueError, EOFError) as error:
            what = "missing" if isinstance(error, FileNotFoundError) else f"damaged ({error})"
            raise FileFormatError(f"{path} is {what}: {remedy(self.path)}") from None

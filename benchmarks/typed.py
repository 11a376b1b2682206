"""Typed HDF5 files, made by this tree, and what h5py alone reads in them."""

from __future__ import annotations

import importlib
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from declared import Work
from files import RowFiles
from records import Shot
from sources import Array, row_numbers

ROWS, LABELS = "x", "y"
LOOKED_UP = 1000


def name_of(number: int) -> str:
    """Return the id of a row."""
    return f"images/{number:06}.png"


def path_of(work: Work, files: RowFiles) -> str:
    """Return the path of a typed file of rows and labels; it is made in the environment of this tree, which is first.

    Each id has a row and a label, the row as an array of its own, whose first axis is that of the file, too.
    """
    return files.made("typed.h5", lambda path: _write(path, work, files))


def _write(path: str, work: Work, files: RowFiles) -> None:
    h5m: Any = importlib.import_module("batchup.typed_files")
    rows = files.rows()

    class Rows(h5m.Feature):
        __ds_kwargs__ = {"compression": "gzip"} if work.kind == "ids_gzip" else {}

        def load(self, source: str) -> Array:
            return np.array(rows[numbers[source]])

    class Labels(h5m.Feature):
        def load(self, source: str) -> Any:
            return files.labels[numbers[source]]

    numbers = {name_of(number): number for number in range(work.rows)}
    schema = {ROWS: Rows(), LABELS: Labels()}
    h5m.TypedFile.create(path, list(numbers), schema=schema, parallelism="none", progress=False).close()


def read_typed(path: str) -> tuple[list[str], Array]:
    """Read the ids and the joined arrays of the rows."""
    with importlib.import_module("h5py").File(path) as file:
        ids = [name.decode() for name in file["__src__/id"][()]]
        return ids, file[f"{ROWS}/__arr__"][()]


def looked_up(work: Work, open_file: Callable[[], Any]) -> Callable[[], Shot]:
    """Make a trial that opens a file and gets what ids have."""
    rng = np.random.default_rng(1)

    def trial() -> Shot:
        numbers = rng.integers(0, work.rows, LOOKED_UP)
        names = [name_of(number) for number in numbers.tolist()]
        begin = time.perf_counter()
        file = open_file()
        file.x.get(names[0])
        seconds = time.perf_counter() - begin
        begin = time.perf_counter()
        found = [file.x.get(name) for name in names]
        each = (time.perf_counter() - begin) / LOOKED_UP
        file.close()
        if not np.array_equal(row_numbers(np.stack(found)), numbers):
            raise ValueError("other rows were read")
        return {"open and first get, ms": 1e3 * seconds, "get, us": 1e6 * each}

    return trial

"""Work that is done item by item: the numbers and functions that all contenders share, and a file of records."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from declared import Work
from files import RowFiles
from sources import Array

WORKERS = 2
STEPS = 18_000  # of `busy`: a millisecond or so
FACTOR, MODULUS = 31, 1_000_003
ROW, LABEL = "x", "y"


def numbers_of(work: Work) -> list[int]:
    """Make the items: for `wanted`, 0, 1, 2, ... until so many are kept as the work has rows; else one for each."""
    return list(range(work.rows + (work.rows - 1) // 2 if work.kind == "per_item" else work.rows))


def plus_one(number: int) -> int:
    """Do next to nothing."""
    return number + 1


def wanted(number: int) -> bool:
    """Keep two of three."""
    return number % 3 != 0


def busy(number: int) -> int:
    """Keep a processor busy with Python alone."""
    for _ in range(STEPS):
        number = (number * FACTOR + 7) % MODULUS
    return number


def kept_of(work: Work) -> Array:
    """Make what all batches of `numbers_of` hold, in order."""
    numbers = np.arange(1, len(numbers_of(work)) + 1)
    return numbers[numbers % 3 != 0].astype(work.dtype)


def wrong_kept(work: Work, batches: list[Array]) -> Iterator[str]:
    """Tell what is wrong with the first batches of these."""
    for batch in batches:
        if batch.shape != (work.batch,) or batch.dtype != work.dtype:
            yield f"{batch.dtype} {batch.shape} instead of {work.dtype} {(work.batch,)}"
    numbers = np.concatenate(batches)
    if len(np.unique(numbers)) < len(numbers):
        yield "a number came twice"
    if not np.isin(numbers, kept_of(work)).all():
        yield "a number that is not kept"


def kept_in_order(work: Work, batches: list[Array]) -> bool:
    """Tell whether the first batches hold what comes first."""
    numbers = np.concatenate(batches)
    return np.array_equal(numbers, kept_of(work)[: len(numbers)])


def path_of(files: RowFiles) -> str:
    """Return the path of a TFRecord file of rows and labels; it is made in the environment that is first."""
    return files.made("rows.tfrecord", lambda path: _write(path, files))


def _write(path: str, files: RowFiles) -> None:
    dataset: Any = importlib.import_module("batchup").Dataset
    dataset({ROW: row, LABEL: label} for row, label in files.one_by_one()).write.tfrecord(path)

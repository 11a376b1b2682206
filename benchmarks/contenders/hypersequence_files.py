"""The published hypersequence 0.10: native batches of its files."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from declared import Work
from files import HSQ, RowFiles, ToWrite
from slices import Epoch

from contenders import Closing, Ways

hypersequence: Any = importlib.import_module("hypersequence")


def native(work: Work, files: RowFiles) -> Closing:
    """`HyperSequenceFile(path, copy_buffer=True)[i]` in shuffled order."""
    return _epochs(work, files, copy=True)


def native_views(work: Work, files: RowFiles) -> Closing:
    """`HyperSequenceFile(path)[i]` in shuffled order: views, nothing is read."""
    return _epochs(work, files, copy=False)


def _epochs(work: Work, files: RowFiles, *, copy: bool) -> Closing:
    path = files.made(HSQ, lambda path: _write(path, work.batch, files.one_by_one()))
    rng = np.random.RandomState(1)

    def opened() -> Any:
        return hypersequence.HyperSequenceFile(path, copy_buffer=copy)

    def batches(hsq: Any) -> Iterator[Any]:
        return (hsq[number] for number in rng.permutation(len(hsq)).tolist())

    kept = None if work.cold else opened()

    def epoch() -> Iterator[Any]:
        if kept is not None:
            yield from batches(kept)
            return
        # cold, nothing may be mapped between the turns
        with opened() as hsq:
            yield from batches(hsq)

    return Closing(epoch, lambda: None if kept is None else kept.close())


def _write(path: str, batch: int, pairs: Iterable[Any]) -> None:
    with hypersequence.HyperSequenceWriter(path, batch) as writer:
        for row, label in pairs:
            writer.append(row, np.asarray(label))


def appended(work: Work, to: ToWrite) -> Epoch:
    """`writer.append(x, y)` for every row, fsync."""
    return to.written("hsq", lambda path: _write(path, work.batch, zip(to.rows, to.labels, strict=True)))


WAYS: Ways = {
    "file": {"hypersequence 0.10": native, "hypersequence 0.10, views": native_views},
    "file_cold": {"hypersequence 0.10": native},
    "write": {"hypersequence 0.10, append": appended},
}

"""Grain over an ArrayRecord file: one record for each row with its label."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from declared import Work
from files import RowFiles
from slices import Epoch

from contenders import Closing, Ways

grain: Any = importlib.import_module("grain")
records: Any = importlib.import_module("array_record.python.array_record_module")


def shuffled(work: Work, files: RowFiles) -> Closing:
    """`MapDataset.source(ArrayRecordDataSource(path)).shuffle(seed=1).map(frombuffer).batch(B)`, then its iterator."""
    path = files.made("rows.arecord", lambda path: _write(path, files))
    source = grain.sources.ArrayRecordDataSource([path])
    dataset = grain.MapDataset.source(source).shuffle(seed=1).map(_decoder(work)).batch(work.batch)
    return Closing(_begin(dataset), lambda: source.__exit__(None, None, None))


def _begin(dataset: Any) -> Epoch:
    return lambda: iter(dataset)


def _write(path: str, files: RowFiles) -> None:
    writer = records.ArrayRecordWriter(path, "group_size:1,uncompressed")
    for row, label in files.one_by_one():
        writer.write(row.tobytes() + label.tobytes())
    writer.close()


def _decoder(work: Work) -> Any:
    def decode(record: bytes) -> tuple[Any, Any]:
        row = np.frombuffer(record, work.dtype, count=work.row_bytes // np.dtype(work.dtype).itemsize)
        return row.reshape(work.shape), np.frombuffer(record, np.int64, offset=work.row_bytes)[0]

    return decode


WAYS: Ways = {"file": {"Grain over ArrayRecord": shuffled}}

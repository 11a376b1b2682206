"""FFCV's loader in random order over its own file."""

from __future__ import annotations

import importlib
from typing import Any

import numpy as np
from declared import Work
from files import RowFiles
from slices import Epoch

from contenders import Ways

fields: Any = importlib.import_module("ffcv.fields")
decoders: Any = importlib.import_module("ffcv.fields.decoders")
loading: Any = importlib.import_module("ffcv.loader")
writing: Any = importlib.import_module("ffcv.writer")

WORKERS = 2


class Indexed:
    """What its writer wants: samples by number."""

    def __init__(self, files: RowFiles) -> None:
        self.rows = files.rows()
        self.labels = files.labels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return np.array(self.rows[index]), int(self.labels[index])


def random_order(work: Work, files: RowFiles) -> Epoch:
    """`Loader(path, batch_size=B, num_workers=2, order=OrderOption.RANDOM, os_cache=True)`, arrays and integers."""
    path = files.made("rows.beton", lambda path: _write(path, work, files))
    pipelines = {"rows": [decoders.NDArrayDecoder()], "label": [decoders.IntDecoder()]}
    loader = loading.Loader(
        path,
        batch_size=work.batch,
        num_workers=WORKERS,
        order=loading.OrderOption.RANDOM,
        os_cache=True,
        seed=1,
        pipelines=pipelines,
    )
    return lambda: ((rows, labels[:, 0]) for rows, labels in loader)


def _write(path: str, work: Work, files: RowFiles) -> None:
    columns = {"rows": fields.NDArrayField(np.dtype(work.dtype), work.shape), "label": fields.IntField()}
    writing.DatasetWriter(path, columns, num_workers=1).from_indexed_dataset(Indexed(files))


WAYS: Ways = {"file": {"FFCV": random_order}}

"""Hugging Face's `datasets`, loaded from a Parquet file."""

from __future__ import annotations

import importlib
import itertools
import os
import tempfile
from collections.abc import Iterator
from typing import Any

from declared import Work
from files import RowFiles
from parquets import array_of, parquet_of

from contenders import Closing, Ways

os.environ["HF_HUB_OFFLINE"] = "1"
datasets: Any = importlib.import_module("datasets")

datasets.disable_progress_bars()


def shuffled(work: Work, files: RowFiles) -> Closing:
    """`Dataset.from_parquet(path).with_format("numpy")`, `.shuffle(seed=e).iter(batch_size=B)`; pixels as int64."""
    return _epochs(work, *_loaded(files))


def flattened(work: Work, files: RowFiles) -> Closing:
    """The same with `.shuffle(seed=7).flatten_indices()`, made once, and so one order for all epochs."""
    dataset, folder = _loaded(files)
    order = dataset.shuffle(seed=7).flatten_indices(cache_file_name=os.path.join(folder.name, "flat.arrow"))
    return Closing(lambda: iter(order.iter(batch_size=work.batch)), folder.cleanup)


def in_memory(work: Work, files: RowFiles) -> Closing:
    """The first with `keep_in_memory=True`."""
    return _epochs(work, *_loaded(files, keep_in_memory=True))


def by_arrow(work: Work, files: RowFiles) -> Closing:
    """The first with `.with_format("arrow")`, and each column made an array by hand: pixels as they are."""
    dataset, folder = _loaded(files)
    tables = _epochs(work, dataset.with_format("arrow"), folder)

    def epoch() -> Iterator[Any]:
        for table in tables():
            yield {name: array_of(table.column(name), work) for name in table.column_names}

    return Closing(epoch, folder.cleanup)


def _epochs(work: Work, dataset: Any, folder: Any) -> Closing:
    numbers = itertools.count()

    def epoch() -> Iterator[Any]:
        order = dataset.shuffle(seed=next(numbers), keep_in_memory=True)
        return iter(order.iter(batch_size=work.batch))

    return Closing(epoch, folder.cleanup)


def _loaded(files: RowFiles, **options: Any) -> tuple[Any, Any]:
    folder = tempfile.TemporaryDirectory(prefix="batchup-hugging-face-")
    dataset = datasets.Dataset.from_parquet(parquet_of(files), cache_dir=folder.name, **options)
    return dataset.with_format("numpy"), folder


WAYS: Ways = {
    kind: {
        "Hugging Face": shuffled,
        "Hugging Face, in memory": in_memory,
        "Hugging Face, flattened": flattened,
        "Hugging Face, Arrow": by_arrow,
    }
    for kind in ("parquet", "parquet_table")
}

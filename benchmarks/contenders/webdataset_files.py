"""WebDataset over one tar file, shuffled in a buffer."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from declared import Work
from files import RowFiles
from slices import Epoch

from contenders import Ways

webdataset: Any = importlib.import_module("webdataset")

BUFFER = 1000


def shuffled(work: Work, files: RowFiles) -> Epoch:
    """`WebDataset(path).shuffle(1000).map(frombuffer).batched(B)`: not shuffled wholly."""
    path = files.made("rows.tar", lambda path: _write(path, files))

    def decode(sample: dict[str, bytes]) -> tuple[Any, Any]:
        return np.frombuffer(sample["row"], work.dtype).reshape(work.shape), np.frombuffer(sample["label"], np.int64)[0]

    def epoch() -> Iterator[Any]:
        dataset = webdataset.WebDataset(path, shardshuffle=False).shuffle(BUFFER, initial=BUFFER).map(decode)
        return iter(dataset.batched(work.batch))

    return epoch


def _write(path: str, files: RowFiles) -> None:
    with webdataset.TarWriter(path) as writer:
        for number, (row, label) in enumerate(files.one_by_one()):
            writer.write({"__key__": f"{number:09d}", "row": row.tobytes(), "label": label.tobytes()})


WAYS: Ways = {"file": {"WebDataset": shuffled}}

"""PyTorch's loader over a flat file that is mapped into memory."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from declared import Work
from files import RowFiles

from contenders import Closing, Ways

torch: Any = importlib.import_module("torch")
loading: Any = importlib.import_module("torch.utils.data")

WORKERS = 2


class Mapped:
    """A dataset of the rows of a memory map, each copied, with their labels."""

    def __init__(self, files: RowFiles) -> None:
        self.rows = files.rows()
        self.labels = files.labels

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> tuple[Any, Any]:
        return torch.from_numpy(np.array(self.rows[index])), self.labels[index]


def alone(work: Work, files: RowFiles) -> Closing:
    """`DataLoader(dataset, batch_size=B, shuffle=True)` over `np.load(path, mmap_mode="r")`."""
    return _epochs(work, files, workers=0)


def by_workers(work: Work, files: RowFiles) -> Closing:
    """The same with `num_workers=2`, warm with `persistent_workers=True`."""
    return _epochs(work, files, workers=WORKERS)


def _epochs(work: Work, files: RowFiles, workers: int) -> Closing:
    kept = None if work.cold else _loader(work, files, workers)  # cold, nothing may be mapped between the turns

    def epoch() -> Iterator[Any]:
        if kept is not None:
            yield from iter(kept)
            return
        batches = iter(_loader(work, files, workers))
        try:
            yield from batches
        finally:
            _end(batches)

    return Closing(epoch, lambda: None if kept is None else _end(kept._iterator))


def _loader(work: Work, files: RowFiles, workers: int) -> Any:
    keep = workers > 0 and not work.cold
    return loading.DataLoader(
        Mapped(files), batch_size=work.batch, shuffle=True, num_workers=workers, persistent_workers=keep
    )


def _end(batches: Any) -> None:
    getattr(batches, "_shutdown_workers", lambda: None)()


WAYS: Ways = {
    "file": {"torch DataLoader": alone, "torch DataLoader, 2 workers": by_workers},
    "file_cold": {"torch DataLoader, 2 workers": by_workers},
}

"""PyTorch's loader: batches of a stream of items, and items that two workers make."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from declared import Work
from items import WORKERS, busy, plus_one, wanted
from slices import Epoch

from contenders import Closing, Ways

torch: Any = importlib.import_module("torch")
loading: Any = importlib.import_module("torch.utils.data")


class Stream(loading.IterableDataset):  # type: ignore[misc]
    """The numbers that are kept."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers

    def __iter__(self) -> Iterator[int]:
        for number in self.numbers:
            number = plus_one(number)
            if wanted(number):
                yield number


class Busy:
    """A dataset of results that take long."""

    def __init__(self, numbers: list[int]) -> None:
        self.numbers = numbers

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: int) -> int:
        return busy(self.numbers[index])


def collated(items: list[int]) -> Any:
    """Make a tensor of items."""
    return torch.tensor(items, dtype=torch.float32)


def stream(work: Work, numbers: list[int]) -> Epoch:
    """`DataLoader(IterableDataset, batch_size=256, collate_fn=torch.tensor)`: the functions called in the dataset."""
    return loading.DataLoader(Stream(numbers), batch_size=work.batch, collate_fn=collated).__iter__


def by_new_workers(work: Work, numbers: list[int]) -> Epoch:
    """`DataLoader(dataset, batch_size=None, num_workers=2)`: workers are started in each pass."""
    return loading.DataLoader(Busy(numbers), batch_size=None, num_workers=WORKERS).__iter__


def by_kept_workers(work: Work, numbers: list[int]) -> Closing:
    """The same with `persistent_workers=True`."""
    loader = loading.DataLoader(Busy(numbers), batch_size=None, num_workers=WORKERS, persistent_workers=True)
    return Closing(loader.__iter__, lambda: _end(loader._iterator))


def _end(items: Any) -> None:
    if items is not None:
        items._shutdown_workers()


WAYS: Ways = {
    "per_item": {"torch DataLoader": stream},
    "busy": {"torch DataLoader, kept workers": by_kept_workers, "torch DataLoader, new workers": by_new_workers},
}

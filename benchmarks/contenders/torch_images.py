"""PyTorch: images scaled sample by sample and batch by batch, and a file of tensors opened."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

import numpy as np
from declared import Work
from files import RowFiles
from images import ImageFiles
from opening import in_fresh_process
from slices import Epoch

from contenders import Trial, Ways

torch: Any = importlib.import_module("torch")
loading: Any = importlib.import_module("torch.utils.data")


class Images:
    """A dataset of images, each scaled."""

    def __init__(self, pixels: Any) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    def __getitem__(self, index: int) -> Any:
        return self.pixels[index].float() / 255


def data_loader(work: Work, files: RowFiles) -> Epoch:
    """`DataLoader(dataset, batch_size=B, shuffle=True)`, `X[index].float() / 255` in `__getitem__`."""
    loader = loading.DataLoader(Images(_mapped(files)), batch_size=work.batch, shuffle=True)
    return lambda: iter(loader)


def bare_index(work: Work, files: RowFiles) -> Epoch:
    """`perm = torch.randperm(n)`, then `X[perm[i:i+B]].float() / 255`, with torch's own number of threads."""
    return _shuffled(work, _mapped(files))


def _mapped(files: RowFiles) -> Any:
    # private to this process instead of read-only, which torch warns of; nothing is written
    return torch.from_numpy(np.load(files.flat, mmap_mode="c"))


def _shuffled(work: Work, pixels: Any) -> Epoch:
    def epoch() -> Iterator[Any]:
        permutation = torch.randperm(work.rows)
        for start in range(0, work.rows, work.batch):
            yield pixels[permutation[start : start + work.batch]].float() / 255

    return epoch


def load(work: Work, path: str) -> Epoch:
    """Load a file of tensors."""
    return _shuffled(work, torch.load(path)["x_train"])


def load_mapped(work: Work, path: str) -> Epoch:
    """Map a file of tensors."""
    return _shuffled(work, torch.load(path, mmap=True)["x_train"])


def loaded(work: Work, files: ImageFiles) -> Trial:
    """`torch.load(path)` of a dict of tensors; then `X[torch.randperm(n)[:B]].float() / 255`."""
    return in_fresh_process(work, files, _saved(files), load)


def mapped(work: Work, files: ImageFiles) -> Trial:
    """The same with `torch.load(path, mmap=True)`."""
    return in_fresh_process(work, files, _saved(files), load_mapped)


def _saved(files: ImageFiles) -> str:
    return files.made("tensors.pt", lambda path: _save(path, files))


def _save(path: str, files: ImageFiles) -> None:
    torch.save({name: torch.from_numpy(array).clone() for name, array in files.arrays().items()}, path)


WAYS: Ways = {
    "scaled": {"torch DataLoader": data_loader, "torch bare index": bare_index},
    "open_images": {"torch.load": loaded, "torch.load, mapped": mapped},
}

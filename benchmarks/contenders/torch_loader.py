"""PyTorch: its loader as most write it, its best way in one process, its weighted sampler."""

from __future__ import annotations

import importlib
from collections.abc import Iterator
from typing import Any

from declared import Work
from slices import Epoch
from sources import Array

from contenders import Ways

torch: Any = importlib.import_module("torch")
loading: Any = importlib.import_module("torch.utils.data")

BATCHES_AT_ONCE = 1000


def data_loader(work: Work, rows: Array) -> Epoch:
    """`DataLoader(TensorDataset(X), batch_size=B, shuffle=True)`, all else left as it is."""
    dataset = loading.TensorDataset(torch.from_numpy(rows))
    loader = loading.DataLoader(dataset, batch_size=work.batch, shuffle=True)
    return lambda: iter(loader)


def bare_index(work: Work, rows: Array) -> Epoch:
    """`perm = torch.randperm(n)`, then `X[perm[i:i+B]]`, with torch's own number of threads."""
    tensor = torch.from_numpy(rows)

    def epoch() -> Iterator[Any]:
        permutation = torch.randperm(work.rows)
        for start in range(0, work.rows, work.batch):
            yield tensor[permutation[start : start + work.batch]]

    return epoch


def weighted_each(work: Work, weights: Array) -> Epoch:
    """`WeightedRandomSampler(w, B)` for each batch."""
    sampler = loading.WeightedRandomSampler(torch.from_numpy(weights), work.batch)

    def epoch() -> Iterator[Any]:
        while True:
            yield list(sampler)

    return epoch


def weighted_ahead(work: Work, weights: Array) -> Epoch:
    """`BatchSampler(WeightedRandomSampler(w, 1000 * B), B, False)`: drawn 1,000 batches at once."""
    drawn = loading.WeightedRandomSampler(torch.from_numpy(weights), BATCHES_AT_ONCE * work.batch)
    sampler = loading.BatchSampler(drawn, work.batch, False)

    def epoch() -> Iterator[Any]:
        while True:
            yield from sampler

    return epoch


WAYS: Ways = {
    "shuffled": {"torch DataLoader": data_loader, "torch bare index": bare_index},
    "weighted": {"torch weighted": weighted_each, "torch weighted, 1,000 ahead": weighted_ahead},
}

"""PyTorch's loader with two persistent workers."""

from __future__ import annotations

import gc
import importlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from cold import in_fresh_process
from declared import Work
from jpegs import Jpegs
from metadata import Metadata
from processes import added, held_by, held_by_family
from records import Shot
from sources import Array, RowsFile

from contenders import Closing, Trial, Ways

torch: Any = importlib.import_module("torch")
loading: Any = importlib.import_module("torch.utils.data")

WORKERS = 2
LISTED = 10


class Decoded:
    """A dataset of decoded images."""

    def __init__(self, jpegs: Jpegs) -> None:
        self.jpegs = jpegs

    def __len__(self) -> int:
        return len(self.jpegs)

    def __getitem__(self, index: int) -> Any:
        return torch.from_numpy(self.jpegs.decoded(index))


class Whole:
    """A dataset that is asked for whole batches."""

    def __init__(self, rows: Array) -> None:
        self.rows = rows

    def __getitem__(self, indices: Any) -> Any:
        return torch.from_numpy(self.rows[indices])


class Copied:
    """A dataset of the rows of an array, each copied."""

    def __init__(self, rows: Array) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, index: int) -> Any:
        return torch.from_numpy(np.array(self.rows[index]))


class Described:
    """A dataset with the place and the label of every sample."""

    def __init__(self, samples: Array, indices: Any, labels: Any) -> None:
        self.samples = samples
        self.indices = indices
        self.labels = labels

    def __getitem__(self, number: int) -> tuple[Any, Any]:
        index = self.indices[number]
        return torch.from_numpy(np.array(self.samples[index])), self.labels[index]


class Batches:
    """A sampler of shuffled index arrays."""

    def __init__(self, rows: int, batch: int) -> None:
        self.rows = rows
        self.batch = batch

    def __len__(self) -> int:
        return -(-self.rows // self.batch)

    def __iter__(self) -> Iterator[Array]:
        permutation = torch.randperm(self.rows).numpy()
        for start in range(0, self.rows, self.batch):
            yield permutation[start : start + self.batch]


def decoded(work: Work, jpegs: Jpegs) -> Closing:
    """`DataLoader(dataset, batch_size=B, shuffle=True, num_workers=2, persistent_workers=True)`."""
    return _kept(_loader(Decoded(jpegs), work))


def rows_one_by_one(work: Work, rows: Array) -> Closing:
    """`DataLoader(TensorDataset(X), batch_size=B, shuffle=True, num_workers=2, persistent_workers=True)`."""
    return _kept(_loader(loading.TensorDataset(torch.from_numpy(rows)), work))


def whole_batches(work: Work, rows: Array) -> Closing:
    """The same with `batch_size=None`: the sampler gives index arrays, the dataset a tensor over `X[indices]`."""
    sampler = Batches(work.rows, work.batch)
    return _kept(
        loading.DataLoader(Whole(rows), batch_size=None, sampler=sampler, num_workers=WORKERS, persistent_workers=True)
    )


def _loader(dataset: Any, work: Work) -> Any:
    return loading.DataLoader(
        dataset, batch_size=work.batch, shuffle=True, num_workers=WORKERS, persistent_workers=True
    )


def _kept(loader: Any) -> Closing:
    return Closing(lambda: iter(loader), lambda: _end(loader._iterator))


def _end(batches: Any) -> None:
    if batches is not None:
        batches._shutdown_workers()


def start(work: Work, rows: Array) -> tuple[Iterator[Any], Callable[[], object]]:
    """Make a loader, and start an epoch."""
    batches = iter(_loader(Copied(rows), work))
    return batches, lambda: _end(batches)


def cold(work: Work, file: RowsFile) -> Trial:
    """`DataLoader(dataset, batch_size=B, shuffle=True, num_workers=2)`, a first batch, in a fresh process."""
    return in_fresh_process(work, file, start)


def arrays(work: Work, _: Array) -> Trial:
    """A dataset over a memory map with NumPy arrays of places and labels, drawn by `WeightedRandomSampler`."""
    return _trial(work, lambda rows: Metadata(rows), lambda array: array, 1)


def lists(work: Work, _: Array) -> Trial:
    """The same with Python lists, a tenth as long, and the figures times ten."""
    return _trial(work, lambda rows: Metadata(max(rows // LISTED, work.batch)), lambda array: array.tolist(), LISTED)


def _trial(work: Work, make: Callable[[int], Metadata], kept: Callable[[Array], Any], scale: int) -> Trial:
    def trial() -> Shot:
        return added(*(_held(make(rows), kept, work) for rows in (work.rows, work.batch)), scale)

    return trial


def _held(given: Metadata, kept: Callable[[Array], Any], work: Work) -> Shot:
    with given:
        dataset = Described(given.samples, kept(given.indices), kept(given.labels))
        sampler = loading.WeightedRandomSampler(torch.from_numpy(given.weights), (work.taken + 100) * work.batch)
        loader = loading.DataLoader(dataset, batch_size=work.batch, sampler=sampler, num_workers=WORKERS)
        gc.collect()
        before = held_by_family()
        batches = iter(loader)
        for batch in itertools.islice(batches, work.taken):
            del batch
        pids = [worker.pid for worker in batches._workers]
        held = held_by(pids, before)
        _end(batches)
        return held


WAYS: Ways = {
    "decode": {"torch DataLoader": decoded},
    "transport": {"torch DataLoader": whole_batches},
    "again": {"torch DataLoader": rows_one_by_one, "torch DataLoader, whole batches": whole_batches},
    "cold": {"torch DataLoader": cold},
    "metadata": {"torch DataLoader, arrays": arrays, "torch DataLoader, lists": lists},
}

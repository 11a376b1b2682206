"""A lazy dataset as what PyTorch takes: by number or in turn, in the processes of a DataLoader, too."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset

from batchup import Dataset

from ..hsq import child

X = np.arange(20.0).reshape(10, 2)
Y = list(range(10))
ROWS = Dataset(x=X, y=Y)
BATCHES = Dataset(X, Y).batch(4)


def even(number: int) -> bool:
    return number % 2 == 0


def refused_at_three(number: int) -> int:
    if number == 3:
        raise KeyError("the third is refused")
    return number


def test_torch_kinds() -> None:
    """Over random access, items are had by number; else one after the other. PyTorch knows both as its own."""
    numbered, streamed = ROWS.torch(), ROWS.filter(lambda row: True).torch()
    assert isinstance(numbered, torch.utils.data.Dataset)
    assert not isinstance(numbered, IterableDataset)
    assert isinstance(streamed, IterableDataset)
    assert (len(numbered), numbered[3]["y"], numbered[-1]["y"]) == (10, 3, 9)
    with pytest.raises(IndexError, match="item 10"):
        numbered[10]
    assert [row["y"] for row in streamed] == [row["y"] for row in streamed] == Y


def test_torch_pickles() -> None:
    """Both kinds can be pickled, as processes that are spawned need it, and stay of their kind."""
    numbered, streamed = (pickle.loads(pickle.dumps(data.torch())) for data in (ROWS, Dataset(range(6)).filter(even)))
    assert type(numbered) is type(ROWS.torch())
    assert (len(numbered), numbered[4]["y"]) == (10, 4)
    assert isinstance(streamed, IterableDataset)
    assert list(streamed) == [0, 2, 4]


@pytest.mark.parametrize("shuffle", [False, True])
def test_torch_loader(shuffle: bool) -> None:
    """A DataLoader makes tensors of batches of dicts, in order or in an order of its own."""
    generator = torch.Generator().manual_seed(1)
    batches = list(DataLoader(ROWS.torch(), batch_size=4, shuffle=shuffle, generator=generator))
    assert [len(batch["y"]) for batch in batches] == [4, 4, 2]
    found = torch.cat([batch["y"] for batch in batches]).tolist()
    assert sorted(found) == Y
    assert (found != Y) is shuffle
    assert torch.equal(torch.cat([batch["x"] for batch in batches]), torch.from_numpy(X[found]))


def test_torch_batches() -> None:
    """With batch_size=None, the batches are those of the dataset."""
    loader = DataLoader(BATCHES.torch(), batch_size=None)
    found = list(loader)
    assert [(len(x), y.dtype) for x, y in found] == [(4, torch.float32), (4, torch.float32), (2, torch.float32)]
    assert torch.equal(torch.cat([x for x, _ in found]), torch.from_numpy(X))


def test_torch_read_only(tmp_path: Path) -> None:
    """Rows of a file that is mapped are copied: a tensor can be written to, and PyTorch does not warn."""
    Dataset(X).write.npy(tmp_path / "x.npy")
    mapped = Dataset.read.npy(tmp_path / "x.npy")
    for dataset in (mapped, mapped.filter(lambda row: True)):
        (batch,) = DataLoader(dataset.torch(), batch_size=10)
        assert torch.equal(batch, torch.from_numpy(X))
        torch.from_numpy(next(iter(dataset.torch()))).zero_()
    assert np.array_equal(np.load(tmp_path / "x.npy"), X)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_torch_error(batch_size: int) -> None:
    """An error in the middle arrives as it is, behind the batches before it."""
    loader = iter(DataLoader(Dataset(range(6)).map(refused_at_three).torch(), batch_size=batch_size))
    assert torch.cat([next(loader) for _ in range(3 // batch_size)]).tolist() == [0, 1, 2]
    with pytest.raises(KeyError, match="the third is refused"):
        next(loader)


@pytest.mark.parametrize("check", ["by_number", "in_turn", "with_chance", "in_any_order", "with_an_error"])
def test_torch_workers(check: str) -> None:
    """Each item comes once; in a program of its own, since processes are forked off, beside no other framework."""
    child(f"from tests.frameworks.test_pipeline_torch import {check}; {check}()")


def loaded(dataset: Dataset, **options: Any) -> list[Any]:
    """Return the batches that a DataLoader with two processes makes."""
    return list(DataLoader(dataset.torch(), num_workers=2, **options))


def by_number() -> None:
    """Check items by number, in order and not, also with threads of the dataset's own."""
    assert [batch["y"].tolist() for batch in loaded(ROWS, batch_size=4)] == [Y[:4], Y[4:8], Y[8:]]
    for dataset in (ROWS, ROWS.map(lambda row: row, num_threads=2)):
        found = torch.cat([batch["y"] for batch in loaded(dataset, batch_size=4, shuffle=True)])
        assert sorted(found.tolist()) == Y


def in_turn() -> None:
    """Check that the items of a stream are dealt out in turn, in two epochs by the same processes, too."""
    stream = Dataset(range(20)).filter(even)
    expected = [[0, 4, 8, 12], [2, 6, 10, 14], [16], [18]]
    assert [batch.tolist() for batch in loaded(stream, batch_size=4)] == expected
    assert [batch.tolist() for batch in loaded(stream.prefetch(2), batch_size=4)] == expected
    seeded = stream.shuffle(buffer_size=5, seed=3)
    assert sorted(torch.cat(loaded(seeded, batch_size=4)).tolist()) == stream.list()
    loader = DataLoader(stream.cache().torch(), num_workers=2, persistent_workers=True)
    assert [sorted(batch.item() for batch in loader) for _ in range(2)] == [stream.list()] * 2


def with_chance() -> None:
    """Check that processes draw alike where no seed is given, so that no item is lost, and otherwise in each epoch."""
    numbers = Dataset(range(1000))
    for dataset in (numbers.shuffle(), numbers.filter(lambda number: True).shuffle(buffer_size=50)):
        epochs = [torch.cat(loaded(dataset, batch_size=4)).tolist() for _ in range(2)]
        assert sorted(epochs[0]) == sorted(epochs[1]) == list(range(1000))
        assert epochs[0] != epochs[1]
    sampled = torch.cat(loaded(numbers.sample(10), batch_size=1)).tolist()
    assert len(set(sampled)) == 10
    mixed = Dataset.mux([numbers.take(500), numbers.skip(500)])
    assert sorted(torch.cat(loaded(mixed, batch_size=4)).tolist()) == list(range(1000))


def in_any_order() -> None:
    """Check that nothing is lost or doubled where items come as they are done: it is refused, or dealt out well."""

    def in_its_time(number: int) -> bool:
        return sum(range(number % 5 * 10_000)) >= 0

    unordered = Dataset(range(200)).filter(in_its_time, num_threads=4, ordered=False)
    try:
        found = torch.cat(loaded(unordered, batch_size=4)).tolist()
    except ValueError as error:
        assert "ordered" in str(error)  # noqa: PT017  either will do
    else:
        assert sorted(found) == list(range(200))


def with_an_error() -> None:
    """Check that an error of a worker process arrives."""
    with pytest.raises(KeyError, match="the third is refused"):
        loaded(Dataset(range(6)).map(refused_at_three))
    with pytest.raises(KeyError, match="the third is refused"):
        loaded(Dataset(range(6)).filter(lambda number: True).map(refused_at_three))

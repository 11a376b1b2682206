"""Grain's DataLoader with two worker processes."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator
from typing import Any

from declared import Work
from jpegs import Jpegs, Pixels, decode
from slices import Epoch

from contenders import Closing, Ways

grain: Any = importlib.import_module("grain")

WORKERS = 2


class Encoded:
    """A source of encoded images."""

    def __init__(self, jpegs: Jpegs) -> None:
        self.jpegs = jpegs

    def __len__(self) -> int:
        return len(self.jpegs)

    def __getitem__(self, index: int) -> Pixels:
        return self.jpegs.encoded(index)


class Decode(grain.transforms.Map):  # type: ignore[misc]
    """The step that decodes."""

    def map(self, element: Pixels) -> Pixels:
        """Decode one image."""
        return decode(element)


def afresh(work: Work, jpegs: Jpegs) -> Epoch:
    """`iter(grain.DataLoader(..., worker_count=2))` for every epoch: it starts its workers each time."""
    return lambda: iter(_loader(work, jpegs, epochs=1))


def going_on(work: Work, jpegs: Jpegs) -> Closing:
    """One iterator of the same over all epochs: what it makes ahead between turns is not counted."""
    batches = iter(_loader(work, jpegs, epochs=None))
    return Closing(lambda: itertools.islice(batches, work.batches), lambda: _end(batches))


def _end(batches: Iterator[Any]) -> None:
    getattr(batches, "close", lambda: None)()


def _loader(work: Work, jpegs: Jpegs, *, epochs: int | None) -> Any:
    sampler = grain.samplers.IndexSampler(len(jpegs), shuffle=True, num_epochs=epochs, seed=1)
    operations = [Decode(), grain.transforms.Batch(work.batch)]
    return grain.DataLoader(data_source=Encoded(jpegs), sampler=sampler, operations=operations, worker_count=WORKERS)


WAYS: Ways = {"decode": {"Grain DataLoader": afresh, "Grain DataLoader, one iterator": going_on}}

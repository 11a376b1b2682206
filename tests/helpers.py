"""Small tools of the tests: comparing batches, reading the state of generators."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from itertools import islice
from typing import Any

import numpy as np


def as_lists(batch: Any) -> Any:
    """Return a batch, however it is nested, with lists for arrays and tuples, so that `==` compares it."""
    if isinstance(batch, dict):
        return {key: as_lists(part) for key, part in batch.items()}
    if isinstance(batch, (tuple, list)):
        return [as_lists(part) for part in batch]
    return np.asarray(batch).tolist()


def first(batches: Iterable[Any], count: int | None = None) -> list[Any]:
    """Return the first batches (by default all) as nested lists, each read before the next is asked for."""
    return [as_lists(batch) for batch in islice(iter(batches), count)]


def leaves(batch: Any) -> Iterator[np.ndarray[Any, Any]]:
    """Yield the arrays of a batch."""
    if isinstance(batch, dict):
        batch = tuple(batch.values())
    if isinstance(batch, (tuple, list)):
        for part in batch:
            yield from leaves(part)
    else:
        yield batch


def fingerprint(generator: np.random.RandomState | np.random.Generator) -> str:
    """Return a digest of the state of a generator."""
    if isinstance(generator, np.random.Generator):
        return hashlib.md5(repr(generator.bit_generator.state).encode()).hexdigest()
    _, key, position, *_ = generator.get_state(legacy=True)
    return hashlib.md5(key.tobytes() + str(position).encode()).hexdigest()


def joined(batches: Iterable[Any]) -> list[int]:
    """Return the numbers of 1-D batches, one behind the other."""
    return [int(number) for batch in batches for number in batch]

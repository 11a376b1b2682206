"""The timed loop: every contender runs in this one, so what the loop costs is the same for all."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

from records import Slice

Epoch = Callable[[], Iterator[Any]]


def drain(iterator: Iterator[Any], at_most: int) -> int:
    """Take batches, letting go of each at once and touching nothing in it; return how many there were."""
    taken = 0
    for batch in itertools.islice(iterator, at_most):
        del batch
        taken += 1
    return taken


def timed_slice(epoch: Epoch, seconds: float, stride: int, whole: bool, once: bool, due: int | None) -> Slice:
    """Time a fresh epoch, and further ones when it ends, for at least `seconds`.

    The clock is read every `stride` batches. With `whole` the slice goes on to the end of an epoch, with `once`
    no further than to the end of the first.
    An epoch that ends after another number of batches than `due` is a `ValueError`.
    """
    begin = time.perf_counter()
    iterator = epoch()
    taken = in_epoch = drain(iterator, 1)
    first = elapsed = time.perf_counter() - begin
    ended = False
    while elapsed < seconds or (whole and not ended):
        if ended and once:
            break
        if ended:
            iterator, in_epoch = epoch(), 0
        count = drain(iterator, stride)
        elapsed = time.perf_counter() - begin
        taken, in_epoch, ended = taken + count, in_epoch + count, count < stride
        if ended and in_epoch != due:
            raise ValueError(f"the epoch ended after {in_epoch} batches, {due} were due")
    return Slice(batches=taken, elapsed=elapsed, first=first, cached=None)

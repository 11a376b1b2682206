"""What the order of an epoch takes the driver of a cluster: memory, entering it, drawing it for one rank of many."""

from __future__ import annotations

import time
import tracemalloc
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from batchup import ArrayDataSource, ShardDataSource

BATCH = 256
SEED = 7
SAMPLES = 10**9
FILES = 1000
LENGTH = 2**20 + 1  # samples of each of these, from where on their orders are computed and not drawn
DRAWN = 10**6  # samples of a file whose order is drawn
FEW = 20  # files, where all are to have been begun
GROWN = 300  # batches of each of them, by which the blocks of its order have grown to the full


def plain() -> ArrayDataSource:
    """Return a source of many samples that takes no memory."""
    return ArrayDataSource([np.broadcast_to(np.uint8(0), (SAMPLES,))])


def shards(files: int, length: int) -> ShardDataSource:
    """Return a source of files that are not there: only their order is asked for."""
    return ShardDataSource([f"{number:06d}.npy" for number in range(files)], lengths=[length] * files)


def many_shards() -> ShardDataSource:
    """Return a source of as many samples in a thousand files, whose orders are computed."""
    return shards(FILES, LENGTH)


def figures(note: Callable[[str, float], None]) -> None:
    """Measure all, once; `note` is given names and figures."""
    note("order_bytes", held(lambda: drawn(plain(), 1000)))
    note("turns_bytes_per_batch", held(lambda: drawn(many_shards(), 1)) * BATCH / (FILES * LENGTH))
    note("drawn_bytes_per_sample", held(lambda: drawn(shards(FEW, DRAWN), 8 * FEW)) / (FEW * DRAWN))
    note("computed_bytes_per_file", held(lambda: drawn(shards(FEW, SAMPLES // FEW), GROWN * FEW)) / FEW)
    note("enter_plain_s", seconds(lambda: _entered(plain())))
    note("enter_shards_s", seconds(lambda: drawn(many_shards(), 1, (1, 2))))
    for world in (1, 8, 125):
        note(f"index_plain_{world}_s", per_batch(plain(), world))
        note(f"index_shards_{world}_s", per_batch(shards(FEW, SAMPLES // FEW), world))


def drawn(source: Any, batches: int, shard: tuple[int, int] | None = None) -> Iterator[Any]:
    """Return an iterator over index batches, of which some have been taken."""
    indices: Iterator[Any] = source.batch_indices_iterator(BATCH, shuffle=SEED, shard=shard)
    for _ in range(batches):
        next(indices)
    return indices


def held(make: Callable[[], Any]) -> int:
    """Return the bytes that something holds."""
    make()  # what is loaded or kept once
    tracemalloc.start()
    try:
        made = make()
        size = tracemalloc.get_traced_memory()[0]
        del made
        return size
    finally:
        tracemalloc.stop()


def seconds(do: Callable[[], Any]) -> float:
    """Return how long something takes."""
    begin = time.perf_counter()
    do()
    return time.perf_counter() - begin


def per_batch(source: Any, world: int, batches: int = 300) -> float:
    """Return the seconds that one batch of indices of a rank takes, when all files have been begun."""
    indices = drawn(source, 200, (0, world) if world > 1 else None)
    return seconds(lambda: [next(indices) for _ in range(batches)]) / batches


def _entered(source: ArrayDataSource) -> Any:
    batches = source.batch_iterator(BATCH, shuffle=SEED)
    batches.load_state_dict({**batches.state_dict(), "position": SAMPLES // BATCH // 2})
    return next(batches)

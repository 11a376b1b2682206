"""Ranks of torch.distributed, each with its share of the batches: an all-reduce counts every sample once."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed
import torch.multiprocessing

from batchup import loader
from batchup.data_source import AbstractDataSource, ArrayDataSource, ChoiceDataSource, CompositeDataSource
from batchup.sampling import BucketSampler, StratifiedSampler

N = 101
SECONDS = 120  # far more than is needed: an end for processes that hang


def noise(x: Any, rng: np.random.Generator) -> Any:
    """Put a random number beside a sample."""
    return x, rng.integers(2**60)


def trees() -> list[AbstractDataSource]:
    """Return the sources that every rank makes for itself."""
    x = np.arange(N)
    return [
        ArrayDataSource([x]),
        ArrayDataSource([torch.arange(N)]),
        ArrayDataSource([x], sampler=StratifiedSampler(x % 7)),
        ArrayDataSource([x], sampler=BucketSampler(x * 37 % 41 + 1, max_tokens=160)),
        CompositeDataSource([ArrayDataSource([x]), ArrayDataSource([x])]),
        ChoiceDataSource([ArrayDataSource([x[:60]]), ArrayDataSource([x[60:]])], stratified=True),
        ArrayDataSource([x]).map(noise, per_sample=True),
    ]


def count(batches: Any, most: int | None = None) -> tuple[torch.Tensor, int]:
    """Return how often each sample came, and how many batches there were, over this rank's share."""
    counts = torch.zeros(N, dtype=torch.int64)
    done = 0
    for done, batch in enumerate(batches, start=1):
        counts += torch.bincount(torch.as_tensor(np.asarray(batch[0])), minlength=N)
        if done == most:
            break
    return counts, done


def added(counts: torch.Tensor) -> list[int]:
    """Return the sum over all ranks."""
    total = counts.clone()
    torch.distributed.all_reduce(total)
    return [int(n) for n in total]


def in_step(number: int) -> None:
    """Check that all ranks have the same number."""
    both = torch.tensor([number, -number])
    torch.distributed.all_reduce(both, op=torch.distributed.ReduceOp.MAX)
    assert both.tolist() == [number, -number]


def check(rank: int, world: int, place: str) -> None:
    """Go through epochs of every source as one of the ranks."""
    torch.set_num_threads(1)
    torch.distributed.init_process_group(
        "gloo",
        init_method=f"file://{place}/meeting",
        rank=rank,
        world_size=world,
        timeout=timedelta(seconds=SECONDS),
    )
    try:
        for number, ds in enumerate(trees()):
            batches = loader(ds, 4, shuffle=11, shard=(rank, world))
            for _ in range(2):
                counts, done = count(batches)
                in_step(done)
                assert added(counts) == [1] * N, number
            padded = loader(ds, 4, shuffle=11, shard=(rank, world), tail="pad")
            counts = torch.zeros(N, dtype=torch.int64)
            for batch in padded:
                counts += torch.bincount(torch.as_tensor(np.asarray(batch[0])[batch[-1]]), minlength=N)
            assert added(counts) == [1] * N, number

            # stop in mid-epoch; rank 0's state, sent to all, is where all of them go on
            begun = loader(ds, 4, shuffle=11, shard=(rank, world))
            head, _ = count(begun, 3)
            sent = [json.dumps(begun.state_dict()) if rank == 0 else None]
            torch.distributed.broadcast_object_list(sent)
            resumed = loader(ds, 4, shuffle=11, shard=(rank, world))
            resumed.load_state_dict(json.loads(str(sent[0])))
            rest, done = count(resumed)
            in_step(done)
            assert added(head + rest) == [1] * N, number
        torch.distributed.barrier()
    finally:
        torch.distributed.destroy_process_group()


@pytest.mark.parametrize("world", [2, 3])
def test_every_sample_is_counted_once(
    world: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    """Over epochs, tails and a resumption, the ranks' counts come to one for every sample."""
    monkeypatch.setenv("GLOO_SOCKET_IFNAME", "lo")
    monkeypatch.setenv("PYTHONPATH", str(request.config.rootpath))
    ranks = torch.multiprocessing.spawn(check, args=(world, str(tmp_path)), nprocs=world, join=False)
    try:
        for _ in range(world):  # each call returns when another process ends, and raises its error
            if ranks.join(timeout=SECONDS):
                break
        assert [process.exitcode for process in ranks.processes] == [0] * world
    finally:
        for process in ranks.processes:
            if process.is_alive():
                process.kill()
            process.join()

"""Real processes, each with its share of the batches: together they see every sample once an epoch."""

from __future__ import annotations

import json
import multiprocessing
from collections.abc import Callable
from contextlib import suppress
from queue import Empty
from typing import Any

import numpy as np
import pytest

from batchup import loader
from batchup.data_source import AbstractDataSource, ArrayDataSource, ChoiceDataSource, CompositeDataSource
from batchup.sampling import BucketSampler, StratifiedSampler

N = 101
SECONDS = 60  # far more than is needed: an end for a process that hangs


def noise(x: Any, rng: np.random.Generator) -> Any:
    """Put a random number beside a sample."""
    return x, rng.integers(2**60)


def numbers(begin: int = 0, **keywords: Any) -> ArrayDataSource:
    """Return a source of one column that counts from `begin`."""
    return ArrayDataSource([np.arange(begin, begin + N)], **keywords)


TREES: dict[str, Callable[[], AbstractDataSource]] = {
    "array": numbers,
    "stratified": lambda: numbers(sampler=StratifiedSampler(np.arange(N) % 7)),
    "buckets": lambda: numbers(sampler=BucketSampler(np.arange(N) * 37 % 41 + 1, max_tokens=160)),
    "composite": lambda: CompositeDataSource([numbers(), numbers(1000)]),
    "choice": lambda: ChoiceDataSource([numbers(), numbers(1000)], stratified=True),
    "map": lambda: numbers().map(noise, per_sample=True),
}


def seen(name: str, epoch: int, rank: int, world: int, state: Any = None, most: int | None = None) -> Any:
    """Return the samples of a rank's batches, how many batches there were, and the state behind them."""
    batches = loader(TREES[name](), 4, shuffle=11, epoch=epoch, shard=(rank, world))
    if state is not None:
        batches.load_state_dict(json.loads(state))
    rows: list[Any] = []
    done = 0
    for batch in batches:
        rows += [list(map(int, row)) for row in zip(*batch, strict=True)]
        done += 1
        if done == most:
            break
    return rows, done, json.dumps(batches.state_dict())


def work(rank: int, world: int, tasks: list[tuple[Any, ...]], results: Any) -> None:
    """Do the tasks of one rank, in a process of its own."""
    results.put((rank, [seen(name, epoch, rank, world, *more) for name, epoch, *more in tasks]))


@pytest.fixture(autouse=True)
def _processes_find_this_file(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let spawned processes, which take over the path, import what runs here."""
    monkeypatch.syspath_prepend(request.config.rootpath)


def on_ranks(world: int, tasks: Any) -> list[list[Any]]:
    """Return what each of several processes says to its tasks."""
    context = multiprocessing.get_context("spawn")
    results = context.Queue()
    workers = [
        context.Process(target=work, args=(rank, world, tasks(rank), results), daemon=True) for rank in range(world)
    ]
    found: dict[int, list[Any]] = {}
    try:
        for worker in workers:
            worker.start()
        for _ in range(SECONDS):
            with suppress(Empty):
                rank, found[rank] = results.get(timeout=1)
            if len(found) == world or any(worker.exitcode for worker in workers):
                break
        assert sorted(found) == [*range(world)]
        for worker in workers:
            worker.join(SECONDS)
        assert [worker.exitcode for worker in workers] == [0] * world
    finally:
        for worker in workers:
            worker.kill()
            worker.join()
            worker.close()
        results.close()
        results.join_thread()
    return [found[rank] for rank in range(world)]


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_in_processes(world: int) -> None:
    """Every sample is seen once an epoch, by one rank; all ranks have as many batches; they agree with one rank."""
    every = [(name, epoch) for name in TREES for epoch in range(2)]
    ranks = on_ranks(world, lambda rank: every)
    for task, (name, epoch) in enumerate(every):
        shares = [ranks[rank][task] for rank in range(world)]
        assert len({done for _, done, _ in shares}) == 1
        assert len({state for _, _, state in shares}) == 1
        together = sorted(row for rows, _, _ in shares for row in rows)
        alone, _, _ = seen(name, epoch, 0, 1)
        assert together == sorted(alone)
        of_first = sorted(row[0] for row in together)
        assert of_first == sorted([*range(N), *(range(1000, 1000 + N) if name == "choice" else ())])


def test_ranks_go_on_in_other_numbers() -> None:
    """Two processes stop in mid-epoch; three others go on from a state of theirs: no sample is lost or doubled."""
    names = ["array", "stratified", "composite", "map"]
    before = on_ranks(2, lambda rank: [(name, 1, None, 6) for name in names])
    states = [before[0][task][2] for task in range(len(names))]
    assert states == [before[1][task][2] for task in range(len(names))]
    after = on_ranks(3, lambda rank: [(name, 1, states[task]) for task, name in enumerate(names)])
    for task, name in enumerate(names):
        together = [row for rank in (*before, *after) for row in rank[task][0]]
        assert sorted(together) == sorted(seen(name, 1, 0, 1)[0])

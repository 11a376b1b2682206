"""Seeded orders are what they were when they were frozen, on every platform and at every batch size."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup.data_source import (
    AbstractDataSource,
    ArrayDataSource,
    ChoiceBatch,
    ChoiceDataSource,
    CompositeDataSource,
    MixDataSource,
    RandomAccessDataSource,
)
from batchup.sampling import (
    AbstractSampler,
    BalancedBatchSampler,
    BlockShuffleSampler,
    BucketSampler,
    GroupSampler,
    StandardSampler,
    StratifiedSampler,
    SubsetSampler,
    WeightedSampler,
    WeightedSubsetSampler,
    k_fold,
    split,
)
from batchup.sampling.order import Key
from batchup.sampling.permutation import MixedPermutation

FROZEN: dict[str, Any] = json.loads((Path(__file__).parent / "data" / "plan_orders.json").read_text(encoding="utf-8"))
CLASSES = np.arange(30) % 7 % 3
LENGTHS = np.arange(30) * 7 % 13 + 1
KEYS = [(0, 0), (0, 1), (1, 0), (2**40 + 3, 5)]  # (seed, epoch)
SMALL = [1, 2, 3, 10, 1000]
LARGE = [2**20, 2**20 + 1, 10**6 + 3, 10**9, 5 * 10**9]


class Numbers(RandomAccessDataSource):
    """A source of any length whose samples are their own indices."""

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        return (np.asarray(indices),)


def sampled(sampler: AbstractSampler, length: int = 30) -> Numbers:
    """Return a source that draws by a sampler."""
    return Numbers(length, sampler=sampler)


def numbers(n: int, begin: int = 0, **keywords: Any) -> ArrayDataSource:
    """Return a source of one column that counts from `begin`."""
    return ArrayDataSource([np.arange(begin, begin + n)], **keywords)


def shown(batch: Any) -> Any:
    """Return a batch, or its indices, as JSON."""
    if isinstance(batch, ChoiceBatch):
        return {"member": batch.ds_index, "indices": shown(batch.sample_indices)}
    return [shown(part) for part in batch] if isinstance(batch, (tuple, list)) else np.asarray(batch).tolist()


def row(ds: AbstractDataSource, batch_size: int, seed: int, epoch: int, most: int) -> list[Any]:
    """Return the first samples of an epoch of one column, whatever batches they come in."""
    batches = ds.batch_iterator(batch_size, shuffle=seed, epoch=epoch)
    taken = islice(batches, -(-most // batch_size))
    return [int(x) for (batch,) in taken for x in batch][:most]


def beginning_of_each_key(ds: AbstractDataSource, batch_size: int, most: int) -> dict[str, list[int]]:
    return {f"seed {seed}, epoch {epoch}": row(ds, batch_size, seed, epoch, most) for seed, epoch in KEYS}


# orders that do not depend on the batch size: the source, and how many samples of it are frozen
ROWS: dict[str, tuple[Callable[[], AbstractDataSource], int]] = {
    **{f"uniform, n = {n}": (lambda n=n: Numbers(n), min(n, 40)) for n in SMALL},
    "uniform, 3 repeats of 5": (lambda: Numbers(5, repeats=3), 15),
    "uniform, endless repeats of 4": (lambda: Numbers(4, repeats=-1), 30),
    "subset": (lambda: sampled(SubsetSampler([7, 2, 29, 4, 4, 11])), 6),
    "subset, twice": (lambda: sampled(SubsetSampler([7, 2, 29, 4, 4, 11], repeats=2)), 12),
    "weighted": (lambda: sampled(WeightedSampler(np.arange(30.0))), 50),
    "weighted subset": (lambda: sampled(WeightedSubsetSampler([1.0, 5.0, 0.0, 2.5], [3, 8, 9, 20])), 50),
    "stratified": (lambda: sampled(StratifiedSampler(CLASSES)), 30),
    "stratified subset, twice": (lambda: sampled(StratifiedSampler(CLASSES, np.arange(1, 30, 3), repeats=2)), 20),
    "blocks": (lambda: sampled(BlockShuffleSampler(30, block_size=4, window=3)), 30),
    "blocks, twice": (lambda: sampled(BlockShuffleSampler(11, block_size=3, window=2, repeats=2)), 22),
    "mix, stop at the first": (
        lambda: MixDataSource([numbers(20), numbers(30, 100), numbers(9, 200)], [5, 3, 2]),
        40,
    ),
    "mix, stop after all": (lambda: MixDataSource([numbers(4), numbers(15, 100)], [1, 1], stop="all"), 30),
    "mix of mixes": (
        lambda: MixDataSource(
            [MixDataSource([numbers(9), numbers(9, 100)], [2, 1]), numbers(9, 200, repeats=2)], [0.7, 0.3]
        ),
        12,
    ),
}

# orders whose batches are the sampler's own, or that follow from the batches: the source and the batch size
BATCHES: dict[str, tuple[Callable[[], Any], int]] = {
    "balanced": (lambda: sampled(BalancedBatchSampler(CLASSES, classes_per_batch=2, samples_per_class=3)), 6),
    "balanced subset": (lambda: sampled(BalancedBatchSampler(CLASSES, 3, 2, indices=np.arange(0, 30, 2))), 6),
    "groups": (lambda: sampled(GroupSampler(np.arange(30) // 4)), 10),
    "groups of a subset": (lambda: sampled(GroupSampler(CLASSES, indices=np.arange(0, 30, 3))), 6),
    "buckets": (lambda: sampled(BucketSampler(LENGTHS, max_tokens=40, num_buckets=3)), 6),
    "buckets with edges": (lambda: sampled(BucketSampler(LENGTHS, bucket_edges=[4, 9], indices=np.arange(20))), 7),
    "choice": (lambda: ChoiceDataSource([numbers(10), numbers(7, 100), numbers(12, 200)]), 3),
    "choice, stratified": (
        lambda: ChoiceDataSource([numbers(10), numbers(7, 100), numbers(3, 200)], stratified=True),
        2,
    ),
    "choice of choices": (
        lambda: ChoiceDataSource([ChoiceDataSource([numbers(6), numbers(6, 100)]), numbers(9, 200)]),
        2,
    ),
    "composite": (lambda: CompositeDataSource([numbers(9), numbers(12, 100), numbers(4, 200, repeats=-1)]), 4),
    "composite of the same twice": (lambda: CompositeDataSource([numbers(8)] * 2), 4),
    "composite of composites": (
        lambda: CompositeDataSource(
            [CompositeDataSource([numbers(8), numbers(8)]), ChoiceDataSource([numbers(8), numbers(8)])], flatten=False
        ),
        3,
    ),
}


def bits(x: Any, rng: np.random.Generator) -> Any:
    """Return the first bits of a generator beside every sample: a map of batches."""
    return x, np.full(len(x), rng.bit_generator.random_raw() >> 11)  # type: ignore[attr-defined]


def bits_of_sample(x: Any, rng: np.random.Generator) -> Any:
    """Return the first bits of a generator beside a sample: a map of samples."""
    return x, np.int64(rng.bit_generator.random_raw() >> 11)  # type: ignore[attr-defined]


def second_bits(x: Any, first: Any, rng: np.random.Generator) -> Any:
    """Return more bits beside those of another map."""
    return x, first, np.full(len(x), rng.bit_generator.random_raw() >> 11)  # type: ignore[attr-defined]


CHANCE: dict[str, tuple[Callable[[], AbstractDataSource], int | None]] = {
    "rng of batches": (lambda: numbers(7).map(bits), 3),
    "rng of batches, own seed": (lambda: numbers(7).map(bits, seed=8), 3),
    "rng of batches, own seed, in order": (lambda: numbers(7).map(bits, seed=8), None),
    "rng of two maps": (lambda: numbers(7).map(bits).map(second_bits), 3),
    "rng of samples": (lambda: numbers(7).map(bits_of_sample, per_sample=True), 3),
    "rng in members": (lambda: CompositeDataSource([numbers(5).map(bits), numbers(5).map(bits)]), 3),
}


def frozen_chance(name: str, epoch: int) -> Any:
    make, seed = CHANCE[name]
    return [shown(batch) for batch in make().batch_iterator(3, shuffle=seed, epoch=epoch)]


def frozen_batches(name: str, seed: int, epoch: int) -> Any:
    make, batch_size = BATCHES[name]
    batches = make().batch_indices_iterator(batch_size, shuffle=seed, epoch=epoch)
    return [shown(batch) for batch in islice(batches, 12)]


def at_three_places(n: int, seed: int, epoch: int) -> dict[str, list[int]]:
    """Return five samples at the beginning, in the middle and at the end of an epoch, entered by its state."""
    found = {}
    for name, batch in [("first", 0), ("middle", n // 10), ("last", n // 5 - 1)]:
        batches = Numbers(n).batch_iterator(5, shuffle=seed, epoch=epoch)
        batches.load_state_dict({**batches.state_dict(), "position": batch})
        found[name] = next(batches)[0].tolist()
    return found


def mixed_at_three_places(n: int, seed: int, epoch: int) -> dict[str, list[int]]:
    permutation = MixedPermutation(n, Key(seed, epoch).seeds(0))
    starts = {"first": 0, "middle": n // 10 * 5, "last": (n // 5 - 1) * 5}
    return {name: permutation.at(start + np.arange(5)).tolist() for name, start in starts.items()}


def recorded() -> dict[str, Any]:
    """Return all that is frozen, as it is now."""
    of_keys = {f"seed {seed}, epoch {epoch}": (seed, epoch) for seed, epoch in KEYS}
    return {
        "rows": {name: beginning_of_each_key(make(), 7, most) for name, (make, most) in ROWS.items()},
        "batches": {name: {key: frozen_batches(name, *of) for key, of in of_keys.items()} for name in BATCHES},
        "chance": {name: [frozen_chance(name, epoch) for epoch in range(2)] for name in CHANCE},
        "places": {str(n): {key: at_three_places(n, *of) for key, of in of_keys.items()} for n in LARGE},
        "mixed": {
            str(n): {key: mixed_at_three_places(n, *of) for key, of in of_keys.items()} for n in [10, 1000, *LARGE]
        },
        "splits": {name: [part.tolist() for part in make()] for name, make in SPLITS.items()},
    }


SPLITS: dict[str, Callable[[], list[Any]]] = {
    "split": lambda: split(12, [0.5, 0.25, 0.25], seed=3),
    "split, stratified": lambda: split(12, [0.5, 0.5], stratify=CLASSES[:12], seed=3),
    "split, groups": lambda: split(12, [0.5, 0.5], groups=np.arange(12) // 3, seed=3),
    "folds": lambda: [test for _, test in k_fold(11, 3, seed=3)],
}


def test_everything_frozen_is_compared() -> None:
    """The file holds just the cases of the tables."""
    tables = {"rows": ROWS, "batches": BATCHES, "chance": CHANCE, "splits": SPLITS}
    assert {part: sorted(FROZEN[part]) for part in tables} == {part: sorted(table) for part, table in tables.items()}
    assert sorted(FROZEN) == sorted([*tables, "places", "mixed"])


@pytest.mark.parametrize("batch_size", [1, 7, 64, 1500])
@pytest.mark.parametrize("name", ROWS)
def test_rows_of_samples(name: str, batch_size: int) -> None:
    """An order that is cut into batches is the frozen one, whatever the batch size."""
    make, most = ROWS[name]
    assert beginning_of_each_key(make(), batch_size, most) == FROZEN["rows"][name]


@pytest.mark.parametrize("name", BATCHES)
def test_batches(name: str) -> None:
    """The index batches of samplers that make whole batches, and of trees, are the frozen ones."""
    assert {f"seed {s}, epoch {e}": frozen_batches(name, s, e) for s, e in KEYS} == FROZEN["batches"][name]


@pytest.mark.parametrize("name", CHANCE)
def test_chance(name: str) -> None:
    """The bits that mapped functions draw from are the frozen ones."""
    assert [frozen_chance(name, epoch) for epoch in range(2)] == FROZEN["chance"][name]


def test_chance_of_a_sample_at_another_batch_size() -> None:
    """What a map of samples draws belongs to the place in the epoch: batches of 2 give the frozen bits too."""
    batches = numbers(7).map(bits_of_sample, per_sample=True).batch_iterator(2, shuffle=3)
    columns = [np.concatenate(column).tolist() for column in zip(*batches, strict=True)]
    frozen = zip(*FROZEN["chance"]["rng of samples"][0], strict=True)
    assert columns == [np.concatenate(column).tolist() for column in frozen]


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("n", LARGE)
def test_large_orders(n: int, key: tuple[int, int]) -> None:
    """Orders of millions and billions of samples are entered at their frozen places."""
    assert at_three_places(n, *key) == FROZEN["places"][str(n)]["seed {}, epoch {}".format(*key)]


@pytest.mark.parametrize("n", [10, 1000, *LARGE])
def test_mixed_permutations(n: int) -> None:
    """The keyed bijection is the frozen one, on both sides of the length from which it is used."""
    assert {f"seed {s}, epoch {e}": mixed_at_three_places(n, s, e) for s, e in KEYS} == FROZEN["mixed"][str(n)]


def test_mixed_permutations_are_what_large_orders_are_made_of() -> None:
    """From 2^20 + 1 samples on, the order of an epoch is the keyed bijection of its first pass."""
    for n in LARGE:
        assert (FROZEN["places"][str(n)] == FROZEN["mixed"][str(n)]) == (n > 2**20), n


@pytest.mark.parametrize("name", SPLITS)
def test_splits(name: str) -> None:
    """Seeded splits and folds are the frozen ones."""
    assert [part.tolist() for part in SPLITS[name]()] == FROZEN["splits"][name]


def test_keys_do_not_collide() -> None:
    """Seeds, epochs, passes and members have orders of their own: seed 1 epoch 1 is not seed 2 epoch 0."""
    ds = CompositeDataSource([numbers(50)] * 3)
    orders = [
        [int(x) for x in column]
        for seed in range(4)
        for epoch in range(4)
        for column in next(ds.batch_iterator(50, shuffle=seed, epoch=epoch))
    ]
    orders += [
        row(numbers(50, repeats=3), 50, seed, 0, 150)[start : start + 50] for seed in range(4) for start in (0, 50, 100)
    ]
    assert len({tuple(order) for order in orders}) == len(orders)


def test_samplers_and_sources_agree() -> None:
    """A sampler asked by itself, under an int seed, gives the order of a source under that seed."""
    alone = StandardSampler(10).shuffled_indices_batch_iterator(4, 1)
    assert np.concatenate(list(alone)).tolist() == FROZEN["rows"]["uniform, n = 10"]["seed 1, epoch 0"]

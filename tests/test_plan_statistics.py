"""Seeded orders pass the tests that random permutations pass.

Every test gives a p-value per seed. Those of a true random order are spread evenly over 0 .. 1, which Kolmogorov
and Smirnov's test checks; none of them is vanishingly small. A correct generator fails a check with a probability of
less than one in a million, and as the seeds are fixed it either always does or never.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from itertools import permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from batchup.sampling import StandardSampler
from batchup.sampling.order import Key
from batchup.sampling.permutation import DRAWN, MixedPermutation, seeded_permutation

RARE = 1e-7
NEVER = 1e-11
Order = NDArray[np.intp]


def seeded(n: int, seed: int, epoch: int = 0) -> Order:
    """Return the order of an epoch as plans have it."""
    return np.asarray(seeded_permutation(n, Key(seed, epoch), 0)[0:n])


def mixed(n: int, seed: int, epoch: int = 0) -> Order:
    """Return the keyed bijection of an epoch, also where plans draw a permutation."""
    return MixedPermutation(n, Key(seed, epoch).seeds(0)).at(np.arange(n))


KINDS: dict[str, Callable[..., Order]] = {"seeded": seeded, "mixed": mixed}
every_kind = pytest.mark.parametrize("kind", KINDS)


def normal_p(z: float) -> float:
    return float(stats.norm.cdf(z))


def serial_correlation(order: Order) -> float:
    """Compare each sample with the next."""
    n = len(order)
    centred = order - (n - 1) / 2
    r = float(np.dot(centred[1:], centred[:-1]) + centred[0] * centred[-1]) / float(np.dot(centred, centred))
    return normal_p((r + 1 / (n - 1)) * np.sqrt(n))


def trend(order: Order) -> float:
    """Compare samples with their places."""
    n = len(order)
    centred = order - (n - 1) / 2
    places = np.arange(n) - (n - 1) / 2
    return normal_p(float(np.dot(centred, places)) / float(np.dot(places, places)) * np.sqrt(n - 1))


def binned(values: Order, n: int, bins: int) -> Order:
    """Return which of equal parts of 0 .. n - 1 each value falls into."""
    return (values * (bins / n)).astype(np.intp)


@lru_cache
def bin_shares(n: int, bins: int) -> NDArray[np.float64]:
    """Return the share of each bin in 0 .. n - 1."""
    return np.bincount(binned(np.arange(n), n, bins), minlength=bins) / n


def lag_differences(order: Order, lag: int = 1) -> float:
    """Count the differences between each sample and the next, modulo n, which are 1 .. n - 1."""
    n = len(order)
    differences = order[lag:] - order[:-lag]
    differences += n * (differences < 0)
    bins = min(64, n // 16)
    counts = np.bincount(binned(differences - 1, n - 1, bins), minlength=bins)
    expected = bin_shares(n - 1, bins) * len(differences)
    return float(stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), bins - 1))


def batch_means(order: Order) -> float:
    """Compare the variance of the means of batches with that of drawing without replacement."""
    n = len(order)
    size = 256 if n > 10_000 else 50
    count = n // size
    means = order[: count * size].reshape(count, size).mean(axis=1)
    scaled = ((means - means.mean()) ** 2).sum() / ((n * n - 1) / 12 * n / (n - 1) / size)
    return float(stats.chi2.sf(scaled, count - 1))


def independence(rows: Order, columns: Order, parts: int) -> float:
    """Count the samples in each of some parts of the data and of the epoch, whose numbers are all given."""
    n = len(rows)
    table = np.bincount(rows * parts + columns, minlength=parts**2).reshape(parts, parts)
    expected = table.sum(0) * table.sum(1)[:, None] / n
    scaled = ((table - expected) ** 2 / expected).sum() * (n - 1) / n
    return float(stats.chi2.sf(scaled, (parts - 1) ** 2))


def strata(order: Order) -> float:
    """Count how many samples of each stretch of the data fall into each stretch of the epoch."""
    n = len(order)
    return independence(binned(order, n, 12), binned(np.arange(n), n, 12), 12)


def low_bits(order: Order) -> float:
    """Count how many samples of each residue modulo 8 fall on places of each residue."""
    return independence(order & 7, np.arange(len(order)) & 7, 8)


TESTS: dict[str, Callable[[Order], float]] = {
    "serial correlation": serial_correlation,
    "trend": trend,
    "differences at lag 1": lag_differences,
    "differences at lag 2": lambda order: lag_differences(order, 2),
    "means of batches": batch_means,
    "strata": strata,
    "low bits": low_bits,
}


def chi2_p(counts: Any) -> float:
    """Return the p-value of counts that should be equal."""
    counts = np.asarray(counts)
    expected = counts.sum() / counts.size
    return float(stats.chi2.sf(((counts - expected) ** 2 / expected).sum(), counts.size - 1))


def p_values(orders: Any) -> dict[str, list[float]]:
    """Return the p-value of each test for each order."""
    found: dict[str, list[float]] = {name: [] for name in TESTS}
    for order in orders:
        for name, test in TESTS.items():
            found[name].append(test(order))
    return found


def even(p: list[float]) -> bool:
    """Return whether p-values are those of a correct generator."""
    return bool(min(p) > NEVER and max(p) < 1 - NEVER / 10 and stats.kstest(p, "uniform").pvalue > RARE)


@every_kind
@pytest.mark.parametrize(("n", "seeds"), [(1000, 200), (60_000, 200), (10**6 + 3, 10), (2**20, 10)])
def test_orders_are_random(kind: str, n: int, seeds: int) -> None:
    """Neighbours, differences, means and strata of whole epochs, over many seeds."""
    found = p_values(KINDS[kind](n, seed) for seed in range(seeds))
    assert [name for name, p in found.items() if not even(p)] == []


@pytest.mark.parametrize(("n", "seeds"), [(1000, 200), (60_000, 30)])
def test_epochs_are_random(n: int, seeds: int) -> None:
    """The same over the epochs of one seed."""
    found = p_values(seeded(n, 7, epoch) for epoch in range(seeds))
    assert [name for name, p in found.items() if not even(p)] == []


@pytest.mark.parametrize("n", [2**20 + 1, 3 * 10**6, 10**9, 5 * 10**9])
def test_stretches_of_large_orders_are_random(n: int) -> None:
    """Where plans use the keyed bijection: a stretch of the epoch, by the ranks of its samples and by their spread."""
    starts = [n // 40 * seed for seed in range(30)]
    orders = [MixedPermutation(n, Key(seed).seeds(0)).at(starts[seed] + np.arange(20_000)) for seed in range(30)]
    found = p_values(order.argsort().argsort() for order in orders)
    found["spread"] = [chi2_p(np.bincount(binned(order, n, 40), minlength=40)) for order in orders]
    assert [name for name, p in found.items() if not even(p)] == []


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("in order", lambda n, seed: np.arange(n)),
        ("affine", lambda n, seed: (np.arange(n) * 387_420_489 + seed * 977) % n),
        (
            "blocks",
            lambda n, seed: np.random.RandomState(seed).permutation(n // 10).repeat(10) * 10 + np.arange(n) % 10,
        ),
    ],
)
def test_the_tests_find_orders_that_are_not_random(name: str, make: Callable[[int, int], Order]) -> None:
    """The very same battery turns down orders that are known to be poor."""
    found = p_values(make(60_000, seed) for seed in range(20))
    assert [name for name, p in found.items() if not even(p)] != []


@every_kind
@pytest.mark.parametrize("n", [1000, 60_000])
def test_orders_of_neighbouring_keys_are_unrelated(kind: str, n: int) -> None:
    """The orders of seeds, and of epochs, that follow one another do not resemble each other."""
    make = KINDS[kind]
    keys = [(seed, epoch) for seed in range(10) for epoch in range(8)]
    orders = [make(n, seed, epoch) - (n - 1) / 2 for seed, epoch in keys]
    scale = (n * n - 1) / 12 * n / np.sqrt(n - 1)
    p = [normal_p(float(np.dot(a, b)) / scale) for a, b in zip(orders[1:], orders[:-1], strict=True)]
    assert even(p)
    same = [int((a == b).sum()) for a, b in zip(orders[1:], orders[:-1], strict=True)]
    assert stats.poisson.sf(sum(same) - 1, len(same)) > RARE
    assert stats.poisson.cdf(sum(same), len(same)) > RARE


@every_kind
@pytest.mark.parametrize(("n", "seeds"), [(1, 10), (2, 1000), (3, 2000), (4, 3000), (5, 5000)])
def test_all_permutations_are_reached(kind: str, n: int, seeds: int) -> None:
    """Of few samples every order comes up, equally often."""
    counts = dict.fromkeys(permutations(range(n)), 0)
    for seed in range(seeds):
        counts[tuple(KINDS[kind](n, seed).tolist())] += 1
    assert min(counts.values()) > 0
    assert n == 1 or chi2_p(list(counts.values())) > RARE


@every_kind
def test_pairs_of_ten(kind: str) -> None:
    """Of ten samples, every sample comes to every place, and every two to any two places, equally often."""
    orders = np.array([KINDS[kind](10, seed) for seed in range(5000)])
    table = np.array([np.bincount(column, minlength=10) for column in orders.T])
    scaled = ((table - 500) ** 2 / 500).sum() * 9 / 10  # rows and columns are both given
    assert stats.chi2.sf(scaled, 81) > RARE
    for a, b in [(0, 1), (4, 5), (8, 9), (0, 9), (3, 7)]:
        counts = np.bincount(orders[:, a] * 10 + orders[:, b], minlength=100).reshape(10, 10)
        assert np.diag(counts).sum() == 0
        assert chi2_p(counts[~np.eye(10, dtype=bool)]) > RARE, (a, b)


@pytest.mark.parametrize("n", [2, 3])
def test_few_samples_over_epochs_and_repeats(n: int) -> None:
    """Of two or three samples, each repetition of an endless epoch is an order of its own."""
    batches = StandardSampler(n, repeats=-1).shuffled_indices_batch_iterator(n, 5)
    orders = [tuple(next(batches).tolist()) for _ in range(2000)]
    counts = [orders.count(order) for order in permutations(range(n))]
    assert chi2_p(counts) > RARE
    pairs = list(zip(orders[1::2], orders[::2], strict=True))
    every = [(a, b) for a in permutations(range(n)) for b in permutations(range(n))]
    assert chi2_p([pairs.count(pair) for pair in every]) > RARE


@given(n=st.integers(1, 5000), seed=st.integers(0, 2**70), epoch=st.integers(0, 9))
def test_mixing_is_a_bijection(n: int, seed: int, epoch: int) -> None:
    """For every length and key, each index comes up at one place."""
    assert np.bincount(mixed(n, seed, epoch), minlength=n).tolist() == [1] * n


@pytest.mark.parametrize("bits", range(1, 17))
def test_mixing_is_a_bijection_around_powers_of_two(bits: int) -> None:
    """Where the number of bits changes, too."""
    for n in (2**bits - 1, 2**bits, 2**bits + 1):
        assert (np.bincount(mixed(n, 3), minlength=n) == 1).all()


@pytest.mark.parametrize("n", [2**31, 2**32 - 1, 2**32, 2**32 + 1, 5 * 10**9, 2**40 + 7, 2**62 + 1])
def test_mixing_of_lengths_beyond_32_bits(n: int) -> None:
    """Indices stay in range and apart from each other; they fill the range evenly; neighbours are unrelated."""
    permutation = MixedPermutation(n, Key(1).seeds(0))
    places = np.unique(np.concatenate([np.arange(20_000), n // 2 + np.arange(20_000), n - 1 - np.arange(20_000)]))
    found = permutation.at(places)
    assert found.min() >= 0
    assert found.max() < n
    assert len(np.unique(found)) == len(places)
    assert chi2_p(np.bincount((found / n * 50).astype(int), minlength=50)) > RARE
    uniform = found / n - 0.5
    assert NEVER < normal_p(float(np.dot(uniform[1:], uniform[:-1])) * 12 / np.sqrt(len(uniform))) < 1 - NEVER


@given(
    n=st.one_of(st.integers(1, 3000), st.integers(2**20, 2**40)),
    seed=st.integers(0, 99),
    slices=st.lists(st.tuples(st.floats(0, 1), st.integers(0, 700)), min_size=1, max_size=12),
    following=st.booleans(),
)
def test_slices_in_any_order(n: int, seed: int, slices: list[tuple[float, int]], following: bool) -> None:
    """Slices of a keyed bijection, taken in any order or one behind the other, are what it is at their places."""
    permutation = MixedPermutation(n, Key(seed).seeds(0))
    untouched = MixedPermutation(n, Key(seed).seeds(0))
    assert len(permutation) == n
    start = 0
    for share, size in slices:
        start = start if following else int(share * (n - 1))
        stop = min(start + size, n)
        assert permutation[start : start + size].tolist() == untouched.at(np.arange(start, stop)).tolist()
        start = stop if stop < n else 0


def test_plans_draw_up_to_a_length_and_mix_beyond() -> None:
    """The two kinds of order meet at 2^20 samples, and both are permutations there."""
    for n in (DRAWN, DRAWN + 1):
        order = seeded_permutation(n, Key(2), 0)
        assert isinstance(order, MixedPermutation) == (n > DRAWN)
        assert (np.bincount(order[0:n], minlength=n) == 1).all()


@every_kind
def test_cycles_have_the_lengths_of_random_permutations(kind: str) -> None:
    """The number of samples that stay in place, and of those that change places with another, are as they should be."""
    orders = [KINDS[kind](1000, seed) for seed in range(300)]
    fixed = sum(int((order == np.arange(1000)).sum()) for order in orders)
    swapped = sum(int((order[order] == np.arange(1000)).sum()) for order in orders) - fixed
    for count, expected in [(fixed, 300), (swapped // 2, 150)]:
        assert stats.poisson.cdf(count, expected) > RARE
        assert stats.poisson.sf(count - 1, expected) > RARE

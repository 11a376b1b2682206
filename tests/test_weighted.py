"""Weighted draws are those of `choice(n, size, p=weights / weights.sum())`, bit for bit."""

from __future__ import annotations

from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchup.data_source import ArrayDataSource
from batchup.sampling import WeightedSampler, WeightedSubsetSampler
from batchup.sampling.weight_table import WeightTable

from .helpers import fingerprint

GENERATORS = [np.random.RandomState, np.random.default_rng]
DTYPES = ["f4", "f8", "i2", "i8", "u1", "u8", "?"]


def assert_draws_of_choice(weights: np.ndarray[Any, Any], size: int, seed: int, batches: int = 4) -> None:
    """Compare several batches, and the state of the generator after each, with those of `choice`."""
    for make in GENERATORS:
        rng, numpys = make(seed), make(seed)
        draws = WeightedSampler(weights).shuffled_indices_batch_iterator(size, rng)
        for batch in islice(draws, batches):
            expected = numpys.choice(len(weights), size=size, p=weights / weights.sum())
            assert batch.tolist() == expected.tolist()
            assert fingerprint(rng) == fingerprint(numpys)


def skewed(n: int, seed: int, power: float, zeros: float) -> np.ndarray[Any, Any]:
    """Return weights of very different sizes, a share of them zero."""
    rng = np.random.RandomState(seed)
    weights = rng.random_sample(n) ** power
    weights[rng.random_sample(n) < zeros] = 0
    weights[rng.randint(n)] = 1
    return weights


@given(
    st.integers(1, 5000),
    st.integers(1, 300),
    st.integers(0, 1000),
    st.sampled_from([0.0, 1.0, 5.0, 40.0]),
    st.sampled_from([0.0, 0.5, 0.99]),
    st.sampled_from(DTYPES),
)
def test_any_weights(n: int, size: int, seed: int, power: float, zeros: float, dtype: str) -> None:
    """Any number of weights, skewed, with zeros, of any dtype."""
    weights = skewed(n, seed, power, zeros)
    scale = 1.0 if dtype.startswith("f") else 1 if dtype == "?" else 120
    assert_draws_of_choice((weights * scale).astype(dtype), size, seed)


@given(st.lists(st.floats(0, 1e300, allow_subnormal=True), min_size=1, max_size=40), st.integers(1, 50))
def test_weights_at_the_edges_of_floats(weights: list[float], size: int) -> None:
    """Subnormal and huge weights side by side."""
    array = np.array(weights)
    if np.isfinite(array.sum()) and array.sum() > 0:
        with np.errstate(all="ignore"):
            if abs((array / array.sum()).sum() - 1) < 1e-9:
                assert_draws_of_choice(array, size, 1)


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 7, 8, 9, 63, 64, 65, 1023, 1024, 1025, 5000])
@pytest.mark.parametrize("place", ["first", "middle", "last"])
def test_all_the_weight_on_one(n: int, place: str) -> None:
    """All weight on one sample, at either end or inside, and nearly all."""
    at = {"first": 0, "middle": n // 2, "last": n - 1}[place]
    for rest in (0.0, 1e-12, 1e-3):
        weights = np.full(n, rest)
        weights[at] = 1
        assert_draws_of_choice(weights, 257, n)


@pytest.mark.parametrize("dtype", ["f2", ">f4", ">f8", "u8"])
def test_unusual_dtypes(dtype: str) -> None:
    """Half precision and foreign byte order: what `weights / weights.sum()` makes of them."""
    assert_draws_of_choice((np.random.RandomState(0).random_sample(300) * 100 + 1).astype(dtype), 20_000, 3)


@given(st.integers(1, 3000), st.integers(0, 99), st.sampled_from([1.0, 20.0]), st.sampled_from([0.0, 0.9]))
def test_table_at_the_edges(n: int, seed: int, power: float, zeros: float) -> None:
    """Numbers that hit an edge of the distribution, or lie beside one, select what bisection would."""
    weights = skewed(n, seed, power, zeros)
    weights[: n // 2] *= 1e-9  # many samples within one part of the table
    edges = np.cumsum(weights / weights.sum())
    edges /= edges[-1]
    uniform = np.concatenate([edges, np.nextafter(edges, 0), np.nextafter(edges, 1), [0.0, np.nextafter(1.0, 0)]])
    uniform = uniform[(uniform >= 0) & (uniform < 1)]
    picked = WeightTable(weights / weights.sum()).pick(uniform)
    assert picked.tolist() == edges.searchsorted(uniform, "right").tolist()


def test_sums_that_miss_one_by_rounding() -> None:
    """Ten times 0.1 is less than 1 in floating point: the largest number still selects the last sample."""
    for n in (3, 10, 49, 1000):
        table = WeightTable(np.full(n, 1 / n))
        assert table.pick(np.array([np.nextafter(1.0, 0)])).tolist() == [n - 1]


@given(st.integers(1, 300), st.integers(1, 64), st.integers(0, 99))
def test_subsets(n: int, size: int, seed: int) -> None:
    """Draws from a subset are the indices at the places that `choice` draws."""
    weights, indices = skewed(n, seed, 2.0, 0.3), np.random.RandomState(seed).permutation(1000)[:n]
    rng, numpys = np.random.RandomState(seed), np.random.RandomState(seed)
    draws = WeightedSubsetSampler(sub_weights=weights, indices=indices)
    for batch in islice(draws.shuffled_indices_batch_iterator(size, rng), 3):
        assert batch.tolist() == indices[numpys.choice(n, size=size, p=weights / weights.sum())].tolist()


@given(st.integers(1, 100), st.integers(1, 64), st.integers(0, 99))
def test_through_a_source(n: int, size: int, seed: int) -> None:
    """A source hands out the samples that the sampler draws, and draws no batch ahead from a generator."""
    weights = skewed(n, seed, 2.0, 0.3)
    rng, numpys = np.random.RandomState(seed), np.random.RandomState(seed)
    ds = ArrayDataSource([np.arange(n)], sampler=WeightedSampler(weights))
    for (batch,) in islice(ds.batch_iterator(size, rng), 12):
        assert batch.tolist() == numpys.choice(n, size=size, p=weights / weights.sum()).tolist()
        assert fingerprint(rng) == fingerprint(numpys)


def test_frequencies_follow_the_weights() -> None:
    """Seeded draws come as often as their weights say (within five standard deviations), and never at weight 0."""
    weights = np.array([0, 1, 2, 0, 4, 8, 0.5, 0])
    draws = next(WeightedSampler(weights).shuffled_indices_batch_iterator(100_000, 9))
    p = weights / weights.sum()
    counts = np.bincount(draws, minlength=8)
    assert (abs(counts - 100_000 * p) <= 5 * np.sqrt(100_000 * p * (1 - p))).all()
    assert (counts[weights == 0] == 0).all()


@given(st.lists(st.integers(0, 6), min_size=1, max_size=60), st.integers(0, 3))
def test_class_balancing_weights(y: list[int], more: int) -> None:
    """A sample weighs 1 / (samples of its class x classes that occur), whether or not n_classes is given."""
    weights = WeightedSampler.class_balancing_sample_weights(y)
    expected = [1 / (y.count(c) * len(set(y))) for c in y]
    np.testing.assert_allclose(weights, expected, rtol=1e-15)
    np.testing.assert_allclose(weights.sum(), 1)
    with_count = WeightedSampler.class_balancing_sample_weights(np.array(y, np.uint8), n_classes=max(y) + 1 + more)
    assert with_count.tolist() == weights.tolist()
    sampler = WeightedSampler.class_balancing_sampler(y=y, n_classes=None)
    np.testing.assert_allclose(sampler.weights, weights)


@given(st.lists(st.integers(0, 4), min_size=2, max_size=40), st.data())
def test_class_balancing_of_a_subset(y: list[int], data: st.DataObject) -> None:
    """The weights of a subset balance the classes that occur in it."""
    indices = data.draw(st.lists(st.integers(0, len(y) - 1), min_size=1, unique=True))
    sampler = WeightedSubsetSampler.class_balancing_sampler(y=np.array(y), indices=np.array(indices), n_classes=5)
    expected = WeightedSampler.class_balancing_sample_weights([y[i] for i in indices])
    np.testing.assert_allclose(sampler.sub_weights, expected)
    assert sampler.indices.tolist() == indices

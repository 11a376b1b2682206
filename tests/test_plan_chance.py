"""Chance in mapped functions: a generator for every batch or sample, the same whoever calls."""

from __future__ import annotations

import json
import pickle
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchup import loader, replay
from batchup.data_source import (
    AbstractDataSource,
    ArrayDataSource,
    ChoiceDataSource,
    CompositeDataSource,
    MixDataSource,
)
from batchup.sampling import GroupSampler, WeightedSampler

from .helpers import as_lists, first

Lists = list[Any]


def noise(x: Any, rng: np.random.Generator) -> Any:
    """Put random numbers beside each sample of a batch."""
    return x, rng.integers(2**60, size=len(x))


def noise_of_sample(x: Any, rng: np.random.Generator) -> Any:
    """Put a random number beside a sample."""
    return x, rng.integers(2**60)


def more_noise(x: Any, before: Any, rng: np.random.Generator) -> Any:
    """Put more random numbers beside those of another map."""
    return x, before, rng.integers(2**60, size=len(x))


def numbers(n: int = 11, **keywords: Any) -> ArrayDataSource:
    """Return a source of one column."""
    return ArrayDataSource([np.arange(n)], **keywords)


def columns(batches: Any) -> list[list[int]]:
    """Return the columns of all batches, each joined."""
    return [np.concatenate(column).tolist() for column in zip(*batches, strict=True)]


TREES: dict[str, AbstractDataSource] = {
    "batches": numbers().map(noise),
    "samples": numbers().map(noise_of_sample, per_sample=True),
    "two maps": numbers().map(noise).map(more_noise),
    "own seed": numbers().map(noise, seed=3),
    "composite": CompositeDataSource([numbers().map(noise), numbers(9).map(noise_of_sample, per_sample=True)]),
    "map of a composite": CompositeDataSource([numbers(), numbers(9)]).map(
        lambda x, y, rng: (x, y, rng.integers(2**60, size=len(x)))
    ),
    "choice": ChoiceDataSource([numbers().map(noise), numbers(7).map(noise)], stratified=True),
    "twice": numbers(repeats=2).map(noise),
    "weighted": numbers(sampler=WeightedSampler(np.arange(11.0))).map(noise),
    "groups": numbers(sampler=GroupSampler(np.arange(11) // 3)).map(noise),
    "mix": MixDataSource([numbers().map(noise_of_sample, per_sample=True), numbers(9).map(noise)], [2, 1]),
}


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("epoch", [0, 2])
def test_the_same_after_resuming_and_when_replayed(name: str, epoch: int) -> None:
    """At every batch: going on elsewhere, and replaying the batch alone, gives the numbers of the undisturbed pass."""
    ds = TREES[name]
    through = first(ds.batch_iterator(4, shuffle=5, epoch=epoch), 6)
    batches: Any = ds.batch_iterator(4, shuffle=5, epoch=epoch)
    for k in range(len(through)):
        state = json.loads(json.dumps(batches.state_dict()))
        elsewhere: Any = ds.batch_iterator(4, shuffle=5, epoch=epoch)
        elsewhere.load_state_dict(state)
        assert first(elsewhere, len(through) - k) == through[k:]
        assert as_lists(replay(ds, state)) == through[k]
        assert first(batches, 1) == through[k : k + 1]


@pytest.mark.parametrize("name", ["batches", "samples", "two maps", "own seed", "composite", "map of a composite"])
@given(world=st.integers(1, 6), batch_size=st.integers(1, 5))
def test_the_same_on_any_number_of_ranks(name: str, world: int, batch_size: int) -> None:
    """All whole steps of the world give the batches of one rank, numbers and all."""
    ds = TREES[name]
    alone = first(ds.batch_iterator(batch_size, shuffle=5))
    ranks = [first(ds.batch_iterator(batch_size, shuffle=5, shard=(rank, world))) for rank in range(world)]
    samples = ds.num_samples()
    assert isinstance(samples, int)
    whole = samples // (batch_size * world)
    assert [ranks[rank][step] for step in range(whole) for rank in range(world)] == alone[: whole * world]


@given(world=st.integers(1, 6), batch_size=st.integers(1, 5), other=st.integers(1, 12))
def test_a_sample_has_chance_of_its_own(world: int, batch_size: int, other: int) -> None:
    """With per_sample, numbers belong to places of the epoch: any batch size, world and tail give the same."""
    ds = numbers(11).map(noise_of_sample, per_sample=True)
    alone = columns(ds.batch_iterator(11, shuffle=5))
    assert columns(ds.batch_iterator(other, shuffle=5)) == alone
    ranks = [list(ds.batch_iterator(batch_size, shuffle=5, shard=(rank, world))) for rank in range(world)]
    together = [ranks[rank][step] for step in range(len(ranks[0])) for rank in range(world)]
    assert columns(batch for batch in together if len(batch[0])) == alone


def test_a_rank_left_without_samples_has_the_columns_of_the_map() -> None:
    """An empty batch, which a map of samples is not called for, has the columns of the batches before it."""
    ds = numbers(5).map(noise_of_sample, per_sample=True)
    batches = list(ds.batch_iterator(2, shuffle=5, shard=(1, 2)))
    assert [[len(column) for column in batch] for batch in batches] == [[2, 2], [0, 0]]
    every = list(numbers(5).map(noise).batch_iterator(2, shuffle=5, shard=(1, 2)))
    assert [[len(column) for column in batch] for batch in every] == [[2, 2], [0, 0]]


def test_every_batch_epoch_and_seed_differ() -> None:
    """No two batches of several seeds and epochs draw the same number."""
    for ds in (numbers().map(noise), numbers().map(noise_of_sample, per_sample=True)):
        drawn = [
            value
            for seed in range(5)
            for epoch in range(5)
            for value in columns(ds.batch_iterator(2, shuffle=seed, epoch=epoch))[1]
        ]
        assert len(set(drawn)) == len(drawn) == 5 * 5 * 11


def test_members_stages_and_repetitions_differ() -> None:
    """The same mapped source used twice, two maps on top of each other, and two repetitions, draw otherwise."""
    mapped = numbers().map(noise)
    both = CompositeDataSource([mapped, mapped])
    _, a, _, b = columns(both.batch_iterator(4, shuffle=5))
    _, alone = columns(mapped.batch_iterator(4, shuffle=5))
    _, one, two = columns(mapped.map(more_noise).batch_iterator(4, shuffle=5))
    nested = CompositeDataSource([CompositeDataSource([mapped])])
    _, deep = columns(nested.batch_iterator(4, shuffle=5))
    again = columns(numbers(repeats=2).map(noise).batch_iterator(11, shuffle=5))[1]
    drawn = [*a, *b, *alone, *two, *deep, *again[11:]]
    assert len(set(drawn)) == len(drawn)
    assert one == alone
    chosen = ChoiceDataSource([mapped, mapped]).batch_iterator(11, shuffle=5)
    first_of, second_of = (batch[1].tolist() for batch in chosen)
    assert not set(first_of) & set(second_of)


def test_chance_is_not_that_of_the_order() -> None:
    """A map that shuffles with its generator does not repeat or undo the shuffle of the plan."""
    ds = numbers(1000).map(lambda x, rng: (x, rng.permutation(1000)))
    x, permutation = next(ds.batch_iterator(1000, shuffle=5))
    assert (x == permutation).mean() < 0.02
    assert (x[permutation] == np.arange(1000)).mean() < 0.02


def test_a_seed_of_its_own_beats_shuffle() -> None:
    """With seed=, the numbers of a place are the same under any shuffle; epochs differ all the same."""
    ds = numbers().map(noise, seed=9)
    shuffles: list[Any] = [None, 1, 2, np.random.RandomState(1), np.random.default_rng(1), True]
    state = np.random.get_state()
    try:
        found = [columns(ds.batch_iterator(4, shuffle=shuffle))[1] for shuffle in shuffles]
    finally:
        np.random.set_state(state)
    assert all(drawn == found[0] for drawn in found)
    assert columns(ds.batch_iterator(4, shuffle=1, epoch=1))[1] != found[0]
    assert columns(numbers().map(noise, seed=8).batch_iterator(4))[1] != found[0]
    assert columns(numbers().map(noise).batch_iterator(4, shuffle=9))[1] == found[0]  # one and the same key


def test_in_order_with_a_seed() -> None:
    """In the order of the data a seed of its own is enough."""
    x, drawn = columns(numbers().map(noise, seed=9).batch_iterator(4))
    assert x == [*range(11)]
    assert len(set(drawn)) == 11


NO_SEED: list[Any] = [None, False, np.random.RandomState(1), np.random.default_rng(1)]


@pytest.mark.parametrize("shuffle", NO_SEED, ids=["None", "False", "RandomState", "Generator"])
@pytest.mark.parametrize("per_sample", [False, True])
def test_without_a_seed(shuffle: Any, per_sample: bool) -> None:
    """Without a seed a parameter rng that has a default is left alone; one without is a TypeError at once."""

    def maybe(x: Any, rng: Any = "default") -> Any:
        return x, (np.int64(rng == "default") if per_sample else np.full(len(x), rng == "default"))

    _, left_alone = columns(numbers().map(maybe, per_sample=per_sample).batch_iterator(4, shuffle=shuffle))
    assert all(left_alone)
    _, given_one = columns(numbers().map(maybe, per_sample=per_sample).batch_iterator(4, shuffle=1))
    assert not any(given_one)

    def must(x: Any, rng: Any) -> Any:
        return (x,)

    mapped = numbers().map(must, per_sample=per_sample)
    trees: list[Any] = [
        mapped,
        mapped.map(lambda x: (x,)),
        CompositeDataSource([numbers(), mapped]),
        ChoiceDataSource([numbers(), mapped]),
        MixDataSource([numbers(), mapped], [1, 1]),
    ]
    for ds in trees:
        with pytest.raises(TypeError, match=r"must needs an rng: pass a seed to map\(\), or an int as shuffle"):
            ds.batch_iterator(4, shuffle=shuffle)
        with pytest.raises(TypeError, match="needs an rng"):
            loader(ds, 4, shuffle=shuffle)


def test_keyword_only_and_other_callables() -> None:
    """A keyword-only rng, a method and an object that is called are given a generator; builtins are left alone."""

    class Noisy:
        def __call__(self, x: Any, *, rng: np.random.Generator) -> Any:
            return x, rng.integers(2**60, size=len(x))

        def method(self, x: Any, rng: np.random.Generator) -> Any:
            return noise(x, rng)

    def keyword_only(x: Any, *, rng: np.random.Generator) -> Any:
        return noise(x, rng)

    functions: list[Any] = [noise, Noisy(), Noisy().method, keyword_only]
    found = [columns(numbers().map(fn).batch_iterator(4, shuffle=1)) for fn in functions]
    assert all(drawn == found[0] for drawn in found)
    assert columns(numbers().map(np.negative).map(lambda x: (x,)).batch_iterator(4)) == [[*range(0, -11, -1)]]


def test_dict_batches() -> None:
    """Functions over dicts are given rng beside the columns, and the same numbers as functions over tuples."""
    named = ArrayDataSource({"x": np.arange(11)})
    by_batch = named.map(lambda x, rng: {"x": x, "noise": rng.integers(2**60, size=len(x))})
    by_sample = named.map(lambda x, rng: {"x": x, "noise": rng.integers(2**60)}, per_sample=True)
    for ds, fn in [(by_batch, noise), (by_sample, noise_of_sample)]:
        batches = list(ds.batch_iterator(4, shuffle=5))
        assert [list(batch) for batch in batches] == [["x", "noise"]] * 3
        expected = columns(numbers().map(fn, per_sample=ds is by_sample).batch_iterator(4, shuffle=5))
        assert columns(batch.values() for batch in batches) == expected


@pytest.mark.parametrize("per_sample", [False, True])
def test_samples_by_indices_have_no_chance(per_sample: bool) -> None:
    """What is read by index has no place in an epoch: a function that needs rng is refused; others are not."""
    fn: Any = noise_of_sample if per_sample else noise
    for ds in (numbers().map(fn, seed=1, per_sample=per_sample), numbers().map(fn, per_sample=per_sample)):
        with pytest.raises(TypeError, match=r"needs an rng, .* use batch_iterator or replay"):
            ds.samples_by_indices([1, 2])
        with pytest.raises(TypeError, match="needs an rng"):
            ds.samples_by_indices_nomapping([1, 2])
    calm = numbers().map(lambda x, rng=None: (x if rng is None else x - 1,), seed=1, per_sample=per_sample)
    assert as_lists(calm.samples_by_indices([1, 2])) == [[1, 2]]


class Recorder:
    """Counts how often the global generator is asked for."""

    def __init__(self) -> None:
        self.before = np.random.get_state(legacy=True)

    def untouched(self) -> bool:
        after = np.random.get_state(legacy=True)
        return bool((self.before[1] == after[1]).all() and self.before[2:] == after[2:])


@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("shuffle", [5, "state", "generator"])
def test_the_global_generator_is_left_alone(name: str, shuffle: Any) -> None:
    """Nothing but shuffle=True touches NumPy's global generator."""
    ds = TREES[name]
    given_one = {"state": np.random.RandomState(5), "generator": np.random.default_rng(5)}.get(shuffle, shuffle)
    recorder = Recorder()
    try:
        batches: Any = ds.batch_iterator(4, shuffle=given_one)
    except TypeError:
        assert shuffle != 5  # a map without a seed
        return
    first(batches, 4)
    batches.load_state_dict(batches.state_dict())
    first(batches, 4)
    list(loader(numbers(), 3, shuffle=5))
    assert recorder.untouched()


def test_true_draws_from_the_global_generator() -> None:
    """With shuffle=True the order is the global generator's, as if it had been handed in."""
    state = np.random.get_state()
    try:
        np.random.seed(3)
        found = columns(numbers().batch_iterator(4, shuffle=True))
        assert found == columns(numbers().batch_iterator(4, shuffle=np.random.RandomState(3)))
        recorder = Recorder()
        list(numbers().batch_iterator(4, shuffle=True))
        assert not recorder.untouched()
    finally:
        np.random.set_state(state)


def test_chance_survives_pickling() -> None:
    """A mapped source that went through pickle draws the same numbers."""
    for fn, per_sample in [(noise, False), (noise_of_sample, True)]:
        ds = numbers().map(fn, per_sample=per_sample)
        copied = pickle.loads(pickle.dumps(ds))
        assert columns(copied.batch_iterator(4, shuffle=5)) == columns(ds.batch_iterator(4, shuffle=5))


@pytest.mark.parametrize("tail", ["short", "drop", "wrap", "pad"])
@pytest.mark.parametrize("per_sample", [False, True])
def test_chance_and_tails(tail: str, per_sample: bool) -> None:
    """Whole batches draw the same numbers under any tail; what wraps round or pads is drawn for its place."""
    fn: Any = noise_of_sample if per_sample else noise
    ds = numbers().map(fn, per_sample=per_sample)
    plain: Lists = first(ds.batch_iterator(4, shuffle=5))
    tailed: Lists = first(ds.batch_iterator(4, shuffle=5, tail=tail))
    assert [batch[:2] for batch in tailed[:2]] == plain[:2]
    if tail == "short":
        assert tailed == plain
    elif tail == "drop":
        assert len(tailed) == 2
    else:
        assert [column[:3] for column in tailed[2][:2]] == plain[2]
    if tail == "wrap" and per_sample:
        assert [column[3] for column in tailed[2]] == [column[0] for column in plain[0]]


def test_chance_in_a_short_mapped_stream() -> None:
    """Batches of a callable have places too: with a seed they draw numbers of their own, the same each time."""

    def handed(batch_size: int, **keywords: Any) -> Any:
        return ((np.arange(start, start + batch_size),) for start in range(0, 9, batch_size))

    from batchup.data_source import CallableDataSource

    ds = CallableDataSource(handed).map(noise, seed=2)
    one, two = first(ds.batch_iterator(3)), first(ds.batch_iterator(3))
    assert one == two
    assert len({value for batch in one for value in batch[1]}) == 9


def test_skipped_samples_leave_the_chance_of_others() -> None:
    """With on_error='skip' the samples that remain draw what they would have drawn, one by one."""

    def failing(x: Any, rng: np.random.Generator) -> Any:
        if x == 4:
            raise OSError("cannot read 4")
        return x, rng.integers(2**60)

    sound = dict(zip(*columns(numbers().map(noise_of_sample, per_sample=True).batch_iterator(4, 5)), strict=True))
    ds = numbers().map(failing, per_sample=True)
    skipped = dict(zip(*columns(ds.batch_iterator(4, 5, on_error="skip")), strict=True))
    assert skipped == {x: value for x, value in sound.items() if x != 4}

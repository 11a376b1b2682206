"""Samples that cannot be read: an error policy changes nothing but them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from itertools import islice
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchup.data_source import (
    AbstractDataSource,
    ArrayDataSource,
    ChoiceDataSource,
    CompositeDataSource,
    MixDataSource,
    RandomAccessDataSource,
)
from batchup.errors import TooManyErrorsError
from batchup.sampling import StratifiedSampler, WeightedSampler

from .helpers import as_lists, fingerprint, first

Row = tuple[int, ...]
MOST = 8
FOREVER = 400


class Fragile:
    """A column of numbers some of which cannot be read; takes integer arrays, or nothing but one int."""

    def __init__(self, values: Any, bad: Any, error: type[BaseException] = OSError, ints: bool = False) -> None:
        self.values = np.asarray(values)
        self.bad = frozenset(bad)
        self.error = error
        self.ints = ints

    def __len__(self) -> int:
        return len(self.values)

    def __getitem__(self, index: Any) -> Any:
        if self.ints and np.ndim(index):
            raise TypeError("an int")
        found = self.values[index]
        for value in np.atleast_1d(found).tolist():
            if value in self.bad:
                raise self.error(f"cannot read {value}")
        return found


def fragile(n: int, bad: Any, begin: int = 0, ints: bool = False, **keywords: Any) -> ArrayDataSource:
    """Return a source of numbers from `begin`, some of them bad, beside a sound column."""
    values = np.arange(begin, begin + n)
    return ArrayDataSource([values, Fragile(values, bad, ints=ints)], **keywords)


def picky(bad: Any) -> Callable[..., Any]:
    """Return a map of samples that fails for some of them."""

    def check(x: Any, *others: Any) -> Any:
        if int(x) in bad:
            raise KeyError(int(x))
        return (x, *others)

    return check


# sources over samples 0 .. 11 (a second member: 100 .. 119) that fail for a set of them
TREES: dict[str, Callable[[Any], AbstractDataSource]] = {
    "array": lambda bad: fragile(12, bad),
    "array, read one by one": lambda bad: fragile(12, bad, ints=True),
    "array with indices": lambda bad: fragile(12, bad, include_indices=True),
    "subset": lambda bad: fragile(12, bad, indices=[3, 1, 4, 11, 5, 9, 2, 6]),
    "twice": lambda bad: fragile(12, bad, repeats=2),
    "stratified": lambda bad: fragile(12, bad, sampler=StratifiedSampler(np.arange(12) % 3)),
    "weighted": lambda bad: fragile(12, bad, sampler=WeightedSampler(np.arange(12) + 1.0)),
    "for ever": lambda bad: fragile(12, bad, repeats=-1),
    "composite": lambda bad: CompositeDataSource([fragile(12, bad), fragile(20, bad, 100)]),
    "composite with a sound one for ever": lambda bad: CompositeDataSource(
        [ArrayDataSource([np.arange(50, 54)], repeats=-1), fragile(20, bad, 100)]
    ),
    "nested": lambda bad: CompositeDataSource(
        [fragile(12, bad), CompositeDataSource([fragile(20, bad, 100), fragile(14, (), 200)], flatten=False)]
    ),
    "mapped": lambda bad: fragile(12, bad).map(lambda x, y: (x, y)),
    "mapped by sample": lambda bad: fragile(12, ()).map(picky(bad), per_sample=True),
    "mapped by sample in a composite": lambda bad: CompositeDataSource(
        [fragile(12, bad), fragile(20, ()).map(picky(bad), per_sample=True)]
    ),
    "mix": lambda bad: MixDataSource([fragile(12, bad), fragile(20, bad, 100)], [2, 3]),
    "mix of maps": lambda bad: MixDataSource(
        [fragile(12, ()).map(picky(bad), per_sample=True), fragile(20, bad, 100)], [1, 1], stop="all"
    ),
}
ENDLESS = {"weighted", "for ever"}
SEAMS = {
    "twice",
    "for ever",
    "weighted",
    "mix of maps",
    "composite with a sound one for ever",
}  # what is behind the batch may not be drawn yet
ORDERS = ["seed", "state", "generator", "in order"]


def shuffle_of(order: str) -> Any:
    """Return what to pass as shuffle, freshly seeded."""
    return {
        "seed": 5,
        "state": np.random.RandomState(5),
        "generator": np.random.default_rng(5),
        "in order": None,
    }[order]


def rows_of(batch: Any) -> list[Row]:
    """Return the samples of a batch, however it is nested."""
    columns: list[list[int]] = []

    def gather(part: Any) -> None:
        if isinstance(part, list) and part and isinstance(part[0], list):
            for inner in part:
                gather(inner)
        else:
            columns.append(part)

    gather(as_lists(batch))
    return [tuple(map(int, row)) for row in zip(*columns, strict=True)]


def is_bad(row: Row, bad: Any) -> bool:
    return any(value in bad for value in row)


def places_of_batches(samples: float, batch_size: int, rank: int, world: int, tail: str) -> list[list[int]]:
    """Return the places in the one-rank order of the batches of a rank, padding left out."""
    whole = int(min(samples, FOREVER) // (batch_size * world))
    starts = [(k * world + rank) * batch_size for k in range(whole)]
    batches = [list(range(start, start + batch_size)) for start in starts]
    left = list(range(whole * batch_size * world, int(min(samples, FOREVER))))
    if not left or tail == "drop" or samples > FOREVER:
        return batches
    if tail == "wrap":
        full = [(left[0] + i) % int(samples) for i in range(batch_size * world)]
        return [*batches, full[rank * batch_size : (rank + 1) * batch_size]]
    return [*batches, [int(place) for place in np.array_split(left, world)[rank]]]


def replaced(rows: list[Row], places: list[int], order: list[Row], bad: Any) -> tuple[list[Row], list[Row]]:
    """Return a batch whose bad samples have given way to those behind it, and all the bad ones that were met."""
    rows = list(rows)
    behind = places[-1] + 1 if places else 0
    met: list[Row] = []
    while failing := [i for i, row in enumerate(rows) if is_bad(row, bad)]:
        met += [rows[i] for i in failing]
        for i in failing:
            rows[i] = order[behind % len(order)]
            behind += 1
    return rows, met


def orderly(name: str, order: str) -> bool:
    """Return whether the law holds: a member of a mix that has drawn nothing yet has no samples to put in."""
    return (name, order) not in [("weighted", "in order"), ("mix", "state"), ("mix", "generator")]


@st.composite
def bad_samples(draw: Any) -> frozenset[int]:
    """Return a few samples of both members, never all of any."""
    small = draw(st.sets(st.integers(0, 11), max_size=4))
    return frozenset(small | draw(st.sets(st.integers(100, 119), max_size=4)))


@pytest.mark.parametrize("name", TREES)
@settings(max_examples=40)
@given(
    bad=bad_samples(),
    order=st.sampled_from(ORDERS),
    batch_size=st.integers(1, 6),
    shard=st.sampled_from([(0, 1), (0, 2), (1, 2), (2, 3), (4, 5)]),
    tail=st.sampled_from(["short", "drop", "wrap", "pad"]),
)
def test_a_policy_changes_nothing_but_what_failed(
    name: str, bad: frozenset[int], order: str, batch_size: int, shard: tuple[int, int], tail: str
) -> None:
    """Skip leaves out just the bad samples; replace puts those behind the batch in their place; errors lists them."""
    if not orderly(name, order):
        return
    rank, world = shard
    keywords: dict[str, Any] = {"tail": tail, "shard": shard}
    sound = TREES[name](())
    samples = sound.num_samples()
    assert samples is not None
    batches = islice(sound.batch_iterator(batch_size, shuffle=shuffle_of(order)), -(-FOREVER // batch_size))
    one_rank = [row for batch in batches for row in rows_of(batch)]
    places = places_of_batches(samples, batch_size, rank, world, tail)[:MOST]
    clean = [[one_rank[place] for place in batch] for batch in places]

    def read(policy: str) -> tuple[Any, list[Any]]:
        found = TREES[name](bad).batch_iterator(
            batch_size, shuffle=shuffle_of(order), on_error=policy, max_errors=1000, **keywords
        )
        return found, list(islice(found, MOST))

    def real(batch: Any) -> list[Row]:
        if tail != "pad":
            return rows_of(batch)
        mask = batch[-1].tolist()
        assert mask == sorted(mask, reverse=True)
        return rows_of(batch[:-1])[: sum(mask)]

    skipping, skipped = read("skip")
    assert [real(batch) for batch in skipped] == [[row for row in rows if not is_bad(row, bad)] for rows in clean]
    met = [(i, row) for i, rows in enumerate(clean) for row in rows if is_bad(row, bad)]
    assert [error.position for error in skipping.errors if tail != "pad"] == [i for i, _ in met if tail != "pad"]
    assert {error.epoch for error in skipping.errors} <= {0}

    if name == "weighted" and order != "seed":
        return  # there may be nothing good that was drawn already
    replacing, filled = read("replace")
    got = [real(batch) for batch in filled]
    assert [len(rows) for rows in got] == [len(rows) for rows in clean]
    kept = [[row if not is_bad(row, bad) else None for row in rows] for rows in clean]
    assert all(
        mine is None or mine == row
        for rows, other in zip(kept, got, strict=True)
        for mine, row in zip(rows, other, strict=True)
    )
    assert not any(is_bad(row, bad) for rows in got for row in rows)
    if samples > FOREVER and order != "seed":
        return
    if order in ("state", "generator") and name in SEAMS:
        return
    expected = [replaced(rows, at, one_rank, bad) for rows, at in zip(clean, places, strict=True)]
    if tail != "pad" or all(not is_bad(one_rank[int(samples) - 1], bad) for _ in range(1) if samples < FOREVER):
        assert got == [rows for rows, _ in expected]
        assert len(replacing.errors) == sum(len(met) for _, met in expected)


@pytest.mark.parametrize("policy", ["skip", "replace"])
@pytest.mark.parametrize("name", TREES)
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("batch_size", [1, 5])
def test_a_policy_draws_nothing(name: str, policy: str, order: str, batch_size: int) -> None:
    """With bad samples or without, a generator is where it would have been after every batch."""
    if not orderly(name, order):
        return
    one, other = shuffle_of(order), shuffle_of(order)
    if policy == "replace" and name == "weighted" and order != "seed":
        return  # from a generator, there may be nothing good that was drawn already to put in its place
    bad = {*range(2, 10), *range(102, 118)} if "mix" in name else {2, 3, 4, 9, *range(102, 108)}
    faulty: Any = TREES[name](bad).batch_iterator(batch_size, shuffle=one, on_error=policy, max_errors=1000)
    sound = TREES[name](()).batch_iterator(batch_size, shuffle=other)
    for _, _ in zip(range(6), sound, strict=False):
        next(faulty)
        if order in ("state", "generator"):
            assert fingerprint(one) == fingerprint(other)


@pytest.mark.parametrize("stratified", [False, True])
@pytest.mark.parametrize("order", ["seed", "in order", "state"])
@given(bad=bad_samples(), batch_size=st.integers(1, 5))
def test_choices(stratified: bool, order: str, bad: frozenset[int], batch_size: int) -> None:
    """In a choice the samples behind a batch are those of the same member, and the turns stay as they are."""

    def make(bad: Any) -> ChoiceDataSource:
        return ChoiceDataSource([fragile(12, bad), fragile(20, bad, 100)], stratified=stratified)

    clean = [rows_of(batch) for batch in make(()).batch_iterator(batch_size, shuffle=shuffle_of(order))]
    own: dict[bool, list[Row]] = {
        high: [row for rows in clean for row in rows if (row[0] >= 100) == high] for high in (False, True)
    }
    skipping = make(bad).batch_iterator(batch_size, shuffle=shuffle_of(order), on_error="skip")
    assert list(map(rows_of, skipping)) == [[row for row in rows if not is_bad(row, bad)] for rows in clean]
    replacing = make(bad).batch_iterator(batch_size, shuffle=shuffle_of(order), on_error="replace")
    for rows, batch in zip(clean, replacing, strict=True):
        got = rows_of(batch)
        assert len(got) == len(rows)
        assert not any(is_bad(row, bad) for row in got)
        assert {row[0] >= 100 for row in got} == {rows[0][0] >= 100}
        if order != "state":
            member = own[rows[0][0] >= 100]
            if len(member) == (20 if rows[0][0] >= 100 else 12):  # the whole of its order is known
                place = member.index(rows[0])
                assert got == replaced(rows, [*range(place, place + len(rows))], member, bad)[0]
    for error in skipping.errors:
        assert error.sample_index.ds_index in (0, 1)
        assert error.sample_index.sample_indices + 100 * error.sample_index.ds_index in bad


def test_what_errors_lists() -> None:
    """Each entry tells the epoch, the batch, the sample index, the stage and the exception."""
    batches = fragile(12, {5, 6}, begin=0).batch_iterator(4, on_error="skip", epoch=3)
    assert batches.errors == []
    assert first(batches) == [[[0, 1, 2, 3]] * 2, [[4, 7]] * 2, [[8, 9, 10, 11]] * 2]
    found = batches.errors
    assert [(e.epoch, e.position, e.sample_index, e.stage) for e in found] == [(3, 1, 5, "gather"), (3, 1, 6, "gather")]
    assert [str(e.exception) for e in found] == ["cannot read 5", "cannot read 6"]
    assert all(type(e.exception) is OSError for e in found)
    epoch, position, index, stage, exception = found[0]
    assert (epoch, position, index, stage) == (3, 1, 5, "gather")
    assert isinstance(exception, OSError)
    found.clear()
    assert len(batches.errors) == 2


def test_the_stage_of_a_map_and_the_index_in_a_tree() -> None:
    """A map of samples gives its name as the stage; in a composite the index has an entry per member."""
    ds = CompositeDataSource([fragile(6, ()), fragile(6, (), 100).map(picky({103}), per_sample=True)])
    batches = ds.batch_iterator(4, on_error="skip")
    list(batches)
    (error,) = batches.errors
    assert error.sample_index == [3, 3]
    assert "check" in error.stage
    assert isinstance(error.exception, KeyError)


@pytest.mark.parametrize("policy", ["raise", "skip", "replace"])
@pytest.mark.parametrize("trace", [False, True])
def test_a_failing_batch_map_always_raises(policy: str, trace: bool) -> None:
    """A map of batches does not tell which sample is bad: its error comes through as it is."""

    def check(x: Any, y: Any) -> Any:
        if 7 in x:
            raise KeyError("seven")
        return x, y

    for ds in (fragile(12, ()).map(check), CompositeDataSource([fragile(12, ()).map(check)])):
        batches = ds.batch_iterator(4, on_error=policy, trace=trace)
        assert len(first(batches, 1)) == 1
        with pytest.raises(KeyError, match="seven"):
            next(batches)
        assert list(batches) == []


@pytest.mark.parametrize("error", [OSError, ValueError, RuntimeError, ZeroDivisionError, LookupError])
@pytest.mark.parametrize("keywords", [{}, {"trace": True}, {"max_errors": 5}])
def test_raise_lets_the_original_through(error: type[Exception], keywords: dict[str, Any]) -> None:
    """With on_error='raise', the exception of the column or the map comes out, of its own type and text."""
    sources = [
        ArrayDataSource([Fragile(np.arange(9), {5}, error)]),
        CompositeDataSource([ArrayDataSource([np.arange(9)]), ArrayDataSource([Fragile(np.arange(9), {5}, error)])]),
        ArrayDataSource([Fragile(np.arange(9), {5}, error, ints=True)]),
    ]
    for ds in sources:
        batches = ds.batch_iterator(3, **keywords)
        next(batches)
        with pytest.raises(error, match="cannot read 5") as caught:
            next(batches)
        assert type(caught.value) is error
        assert list(batches) == []


@pytest.mark.parametrize("policy", ["raise", "skip"])
def test_a_column_of_single_ints_that_fails_at_once(policy: str) -> None:
    """A column that takes one int at a time tells its own error, also if its very first batch holds a bad sample."""
    batches = ArrayDataSource([Fragile(np.arange(9), {1}, ints=True)]).batch_iterator(3, on_error=policy)
    if policy == "raise":
        with pytest.raises(OSError, match="cannot read 1"):
            next(batches)
    else:
        assert first(batches, 1) == [[[0, 2]]]
        assert [str(error.exception) for error in batches.errors] == ["cannot read 1"]


def test_trace_notes_the_batch_and_the_sample() -> None:
    """With trace=True an error tells the epoch, the batch and the sample; without it nothing is added."""
    for ds in (fragile(12, {6}), fragile(12, ()).map(picky({6}), per_sample=True)):
        batches = ds.batch_iterator(4, trace=True, epoch=2)
        next(batches)
        with pytest.raises((OSError, KeyError)) as caught:
            next(batches)
        assert caught.value.__notes__ == ["in epoch 2, batch 1, samples 6"]
        batches = ds.batch_iterator(4)
        next(batches)
        with pytest.raises((OSError, KeyError)) as caught:
            next(batches)
        assert getattr(caught.value, "__notes__", []) == []


def test_trace_notes_the_samples_of_a_batch_map() -> None:
    """A failing map of batches is noted with the samples of its batch, the first of them if there are many."""

    def fail(x: Any, y: Any) -> Any:
        raise ValueError("no")

    with pytest.raises(ValueError, match="no") as caught:
        next(fragile(12, ()).map(fail).batch_iterator(10, trace=True))
    assert caught.value.__notes__ == ["in epoch 0, batch 0, samples 0, 1, 2, 3, 4, 5, 6, 7, ..."]


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt, SystemExit, GeneratorExit])
@pytest.mark.parametrize("policy", ["raise", "skip", "replace"])
@pytest.mark.parametrize("ints", [False, True])
def test_what_is_no_bad_sample(error: type[BaseException], policy: str, ints: bool) -> None:
    """A lack of memory, and whatever wants the program to end, is never taken for a bad sample."""
    sources: list[Any] = [
        ArrayDataSource([Fragile(np.arange(9), {5}, error, ints=ints)]),
        MixDataSource([ArrayDataSource([Fragile(np.arange(9), {5}, error, ints=ints)])], [1]),
    ]

    def fail(x: Any) -> Any:
        if x == 5:
            raise error("no")
        return (x,)

    sources.append(ArrayDataSource([np.arange(9)]).map(fail, per_sample=True))
    for ds in sources:
        batches = ds.batch_iterator(9, on_error=policy, max_errors=100)
        with pytest.raises(error):
            next(batches)
        assert batches.errors == []


@pytest.mark.parametrize("error", [MemoryError, KeyboardInterrupt])
@pytest.mark.parametrize("policy", ["skip", "replace"])
def test_what_is_no_bad_sample_beside_one(error: type[BaseException], policy: str) -> None:
    """Nor when it strikes while the rows of a batch that failed are read one by one."""

    class Both:
        def __len__(self) -> int:
            return 9

        def __getitem__(self, index: Any) -> Any:
            for i in np.atleast_1d(index).tolist():
                if i == 2:
                    raise OSError("cannot read 2")
                if i == 5:
                    raise error("no")
            return np.asarray(index)

    batches = ArrayDataSource([Both()]).batch_iterator(9, on_error=policy)
    with pytest.raises(error, match="no"):
        next(batches)


@pytest.mark.parametrize("policy", ["skip", "replace"])
@pytest.mark.parametrize(("allowed", "fails"), [(0, 1), (1, 2), (2, 3), (3, None), (100, None)])
def test_max_errors_as_a_number(policy: str, allowed: int, fails: int | None) -> None:
    """One more than so many bad samples is an error that tells the last, and how many are allowed."""
    batches = fragile(12, {1, 4, 8}).batch_iterator(3, on_error=policy, max_errors=allowed)
    if fails is None:
        assert len(list(batches)) == 4
        assert len(batches.errors) == 3
        return
    bad = [1, 4, 8][fails - 1]
    with pytest.raises(
        TooManyErrorsError, match=f"{fails} samples failed, .* max_errors={allowed} .* sample {bad} "
    ) as e:
        list(batches)
    assert str(e.value.__cause__) == f"cannot read {bad}"
    assert list(batches) == []


@pytest.mark.parametrize("policy", ["skip", "replace"])
@pytest.mark.parametrize(("share", "passes"), [(0.0, False), (0.1, False), (0.25, True), (0.249, False), (1.0, True)])
def test_max_errors_as_a_share(policy: str, share: float, passes: bool) -> None:
    """A share is one of the samples of the epoch, whatever the batch."""
    batches = fragile(12, {0, 1, 2}).batch_iterator(4, on_error=policy, max_errors=share)
    if passes:
        assert len(list(batches)) == 3
    else:
        with pytest.raises(TooManyErrorsError, match=f"max_errors={share}"):
            list(batches)


def test_replace_over_nothing_but_bad_samples_ends() -> None:
    """Where every sample fails, replace gives up when it has been through all of them."""
    for ds in (fragile(12, range(12)), fragile(12, range(12), repeats=3)):
        with pytest.raises(TooManyErrorsError):
            next(ds.batch_iterator(4, shuffle=1, on_error="replace"))
    with pytest.raises(TooManyErrorsError):
        next(fragile(12, range(12), repeats=-1).batch_iterator(4, shuffle=1, on_error="replace"))
    with pytest.raises(TooManyErrorsError):
        next(CompositeDataSource([fragile(12, range(12))] * 2).batch_iterator(4, shuffle=1, on_error="replace"))
    skipped = fragile(12, range(12)).batch_iterator(4, shuffle=1, on_error="skip")
    assert [rows_of(batch) for batch in skipped] == [[], [], []]


@pytest.mark.parametrize("name", ["for ever", "weighted"])
def test_replace_in_an_endless_epoch(name: str) -> None:
    """A few bad samples in the first batch of an endless epoch are no reason to give up."""
    batches = TREES[name]({2, 3, 4, 9}).batch_iterator(12, shuffle=1, on_error="replace")
    rows = [row for _ in range(20) for row in rows_of(next(batches))]
    assert len(rows) == 240
    assert not {2, 3, 4, 9} & {value for row in rows for value in row}


def test_padding_is_no_sample_of_its_own() -> None:
    """Where the last sample is bad, tail='pad' lists it once, and the batch that remains is marked rightly."""
    batches = fragile(10, {9}).batch_iterator(4, tail="pad", on_error="skip")
    *_, (x, _, mask) = batches
    assert x[mask].tolist() == [8]
    assert [error.sample_index for error in batches.errors] == [9]
    batches = fragile(10, {9}).batch_iterator(4, tail="pad", on_error="replace")
    *_, (x, _, mask) = batches
    assert x[mask].tolist() == [8, 0]
    assert len(x) == 4
    assert [error.sample_index for error in batches.errors] == [9]


class Shaky(RandomAccessDataSource):
    """A user's source, by index, that cannot read some samples."""

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        if 5 in np.atleast_1d(indices):
            raise OSError("cannot read 5")
        return (np.asarray(indices) * 10,)


def test_a_users_source_by_index() -> None:
    """A source that only provides samples_by_indices_nomapping is read row by row, too, when a batch fails."""
    skipped = Shaky(9).batch_iterator(4, on_error="skip")
    assert first(skipped) == [[[0, 10, 20, 30]], [[40, 60, 70]], [[80]]]
    replacing = Shaky(9).batch_iterator(4, on_error="replace")
    assert first(replacing) == [[[0, 10, 20, 30]], [[40, 80, 60, 70]], [[80]]]
    with pytest.raises(OSError, match="cannot read 5"):
        list(Shaky(9).batch_iterator(4))


@pytest.mark.parametrize("policy", ["skip", "replace"])
@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("name", ["array", "twice", "composite", "mapped by sample", "mix"])
def test_resuming_after_errors(name: str, order: str, policy: str) -> None:
    """A pass that met bad samples goes on where its state was taken, as if it had not been interrupted."""
    bad = {1, 5, 6, 104, 110}

    def begin() -> Any:
        return TREES[name](bad).batch_iterator(3, shuffle=shuffle_of(order), on_error=policy, max_errors=1000)

    through = first(begin())
    for k in range(len(through) + 1):
        begun = begin()
        head = first(begun, k)
        state = json.loads(json.dumps(begun.state_dict()))
        elsewhere = begin()
        elsewhere.load_state_dict(state)
        assert head + first(elsewhere) == through
        assert head + first(begun) == through
        assert all(error.position >= k for error in elsewhere.errors)


def test_policies_of_one_plan_share_states() -> None:
    """The policy is no part of the plan: a run that failed under 'raise' goes on under 'skip'."""
    failing = fragile(12, {7}).batch_iterator(3, shuffle=1)
    order = [row[0] for batch in fragile(12, ()).batch_iterator(3, shuffle=1) for row in rows_of(batch)]
    done = len(first(failing, order.index(7) // 3))
    with pytest.raises(OSError, match="cannot read 7"):
        next(failing)
    state = failing.state_dict()
    assert state["position"] == done
    batches = fragile(12, {7}).batch_iterator(3, shuffle=1, on_error="skip")
    batches.load_state_dict(state)
    rest = [row for batch in batches for row in rows_of(batch)]
    assert len(rest) == 12 - 3 * done - 1


def test_dict_batches() -> None:
    """Skip and replace keep the names of the columns."""
    ds = ArrayDataSource({"x": Fragile(np.arange(7), {2}), "y": np.arange(7)}, include_indices=True)
    skipped = ds.batch_iterator(4, on_error="skip")
    assert as_lists(next(skipped)) == {"index": [0, 1, 3], "x": [0, 1, 3], "y": [0, 1, 3]}
    padded = ds.batch_iterator(4, on_error="replace", tail="pad")
    assert as_lists(next(padded)) == {"index": [0, 1, 4, 3], "x": [0, 1, 4, 3], "y": [0, 1, 4, 3], "mask": [True] * 4}
    assert as_lists(next(padded))["mask"] == [True, True, True, False]


def test_an_endless_share_is_of_what_was_read() -> None:
    """In an endless epoch a share counts the samples so far: a constant trickle of bad ones passes."""
    batches = TREES["for ever"]({3}).batch_iterator(12, shuffle=1, on_error="skip", max_errors=0.5)
    assert sum(len(rows_of(batch)) for batch in islice(batches, 10)) == 110
    assert len(batches.errors) == 10
    assert math.isinf(batches.num_samples or 0)

"""Laws of lazy datasets, over random chains of verbs: what lists do, lengths, items by number, passes, states."""

from __future__ import annotations

import json
from collections import Counter
from itertools import islice, permutations
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchup import Dataset
from batchup.errors import IndexRangeError, StateError

from .helpers import as_lists
from .pipelines import (
    Chain,
    Counted,
    Rows,
    bases,
    drawn,
    items_of,
    listed,
    lucky,
    plain_chains,
    seeded_chains,
    some,
    unseeded_chains,
    weighed,
)
from .pools import end_of_patience  # noqa: F401

any_base = st.sampled_from([*bases(0)])
lengths = st.integers(0, 12)
ends = st.none() | st.integers(0, 14)
steps = st.none() | st.integers(1, 5)
any_ends = st.none() | st.integers(-14, 14)
any_steps = st.none() | st.integers(-5, 5).filter(bool)


def length_of(dataset: Dataset) -> int | None:
    """Return the length of a dataset; None if it is not known."""
    try:
        return len(dataset)
    except TypeError:
        return None


# verbs do what they do to lists


@settings(max_examples=200)
@given(plain_chains)
def test_chains_do_what_lists_do(chain: Chain) -> None:
    """Any verbs, one after the other, over any source, give the items that the same steps over lists give."""
    assert listed(chain.make()) == as_lists(chain.model())


@given(any_base, lengths)
def test_map_fusion(base: str, length: int) -> None:
    """Two maps are one map of both functions."""
    dataset = bases(length)[base]()
    two = dataset.map(weighed).map(lambda item: (item, 1))
    assert listed(two) == listed(dataset.map(lambda item: (weighed(item), 1)))


@given(any_base, lengths)
def test_filter_and_map_change_places(base: str, length: int) -> None:
    """A filter before a map keeps what a filter after it keeps."""
    dataset = bases(length)[base]()
    after = dataset.map(lambda item: (item, 0)).filter(lambda pair: some(pair[0]))
    assert listed(dataset.filter(some).map(lambda item: (item, 0))) == listed(after)


@given(any_base, lengths, st.integers(1, 5), st.booleans())
def test_unbatch_undoes_batch(base: str, length: int, size: int, padded: bool) -> None:
    """The items of batches are the items."""
    dataset = bases(length)[base]()
    batched = dataset.padded_batch(size) if padded else dataset.batch(size)
    assert listed(batched.unbatch()) == as_lists(items_of(base, length))
    assert [len(next(iter(flat(batch)))) for batch in batched] == [
        min(size, length - begin) for begin in range(0, length, size)
    ]


def flat(batch: Any) -> list[Any]:
    return list(batch.values()) if isinstance(batch, dict) else list(batch) if isinstance(batch, tuple) else [batch]


@given(any_base, lengths, st.integers(0, 14))
def test_take_and_skip_part_the_items(base: str, length: int, count: int) -> None:
    """What take() takes, and what skip() leaves, are all items."""
    dataset = bases(length)[base]()
    assert listed(dataset.take(count)) + listed(dataset.skip(count)) == listed(dataset)
    assert listed(dataset.take(count) + dataset.skip(count)) == listed(dataset)


@settings(max_examples=150)
@given(any_base, lengths, any_ends, any_ends, any_steps)
def test_slices_are_those_of_lists(base: str, length: int, start: Any, stop: Any, step: Any) -> None:
    """Slices are those of lists; those that count from an end that is not known are refused."""
    dataset = bases(length)[base]()
    expected = as_lists(items_of(base, length)[start:stop:step])
    try:
        found = dataset[start:stop:step]
    except IndexRangeError:
        assert min(value or 0 for value in (start, stop, step)) < 0
        assert base in ("stream", "sized", "beside a stream")
    else:
        assert listed(found) == expected
        assert length_of(found) in (None, len(expected))


@given(any_base, lengths, ends, ends, steps, ends, ends, steps)
def test_slices_of_slices(base: str, length: int, a: Any, b: Any, c: Any, d: Any, e: Any, f: Any) -> None:
    """Slices of slices are those of lists."""
    found = bases(length)[base]()[a:b:c][d:e:f]
    assert listed(found) == as_lists(items_of(base, length)[a:b:c][d:e:f])


@given(st.lists(st.tuples(any_base, st.integers(0, 4)), min_size=1, max_size=5), ends, ends, steps)
def test_concat_is_that_of_lists(parts: Any, start: Any, stop: Any, step: Any) -> None:
    """The items of one dataset come after those of the other, sliced or not."""
    expected = [item for base, length in parts for item in items_of(base, length)]
    whole = Dataset.concat([bases(length)[base]() for base, length in parts])
    assert listed(whole) == as_lists(expected)
    assert listed(whole[start:stop:step]) == as_lists(expected[start:stop:step])
    total = bases(parts[0][1])[parts[0][0]]()
    for base, length in parts[1:]:
        total = total + bases(length)[base]()
    assert listed(total) == as_lists(expected)


# lengths, items by number, passes


@settings(max_examples=300)
@given(seeded_chains)
def test_a_known_length_is_true(chain: Chain) -> None:
    """The length, where it is known, is the number of items, before a pass and after it."""
    dataset = chain.make()
    before = length_of(dataset)
    count = len(dataset.list())
    assert before in (None, count)
    assert length_of(dataset) in (None, count)


@settings(max_examples=200)
@given(seeded_chains)
def test_items_by_number_are_those_of_a_pass(chain: Chain) -> None:
    """Each item by its number is the one that comes there in a pass; there is none after the last."""
    dataset = chain.make()
    expected = listed(dataset)
    assert [as_lists(dataset[number]) for number in range(len(expected))] == expected
    with pytest.raises(IndexError):
        dataset[len(expected)]
    if length_of(dataset) is not None:
        assert [as_lists(dataset[number - len(expected)]) for number in range(len(expected))] == expected
        with pytest.raises(IndexError):
            dataset[-len(expected) - 1]


@settings(max_examples=150)
@given(seeded_chains)
def test_every_pass_is_like_the_one_before(chain: Chain) -> None:
    """Passes over what is seeded are equal, one after the other, side by side, over another such dataset."""
    dataset = chain.make()
    expected = listed(dataset)
    assert listed(dataset) == expected
    assert listed(chain.make()) == expected
    one, other = iter(dataset), iter(dataset)
    for item in expected:
        assert as_lists(next(one)) == item
        assert as_lists(next(other)) == item


@given(seeded_chains, st.integers(0, 12))
def test_leaving_early_changes_nothing(chain: Chain, count: int) -> None:
    """A pass that was left does not change the next one."""
    dataset = chain.make()
    begun = list(islice(dataset, count))
    assert listed(dataset)[:count] == as_lists(begun)
    assert listed(dataset) == listed(chain.make())


@given(seeded_chains, st.integers(1, 3))
def test_a_data_source_has_the_items(chain: Chain, size: int) -> None:
    """The batches of a data source are those of `batch`, in order; those at indices are those items."""
    dataset = chain.make()
    try:
        source = dataset.data_source(int)
    except TypeError:
        return
    batches = [as_lists(flat(batch)) for batch in source.batch_iterator(size)]
    assert batches == [as_lists(flat(batch)) for batch in dataset.batch(size, int)]
    if len(dataset) > 1:
        some_places = np.random.RandomState(size).randint(len(dataset), size=5)
        expected = Dataset([dataset[int(place)] for place in some_places]).batch(5, int).first()
        assert as_lists(flat(source.samples_by_indices(some_places))) == as_lists(flat(expected))


# states


def check_states(dataset: Dataset, again: Dataset) -> None:
    """Check that after each place of a pass, what follows can be had again, from the state as JSON."""
    whole = iter(dataset)
    states, items = [whole.state_dict()], []
    for item in whole:
        items.append(as_lists(item))
        states.append(whole.state_dict())
    for place, state in enumerate(states):
        later = iter(again)
        later.load_state_dict(json.loads(json.dumps(state)))
        assert later.position == place
        assert listed(later) == items[place:], place


@settings(max_examples=120)
@given(seeded_chains)
def test_states_of_seeded_chains(chain: Chain) -> None:
    """After a state, a pass goes on as the one in which it was taken."""
    check_states(chain.make(), chain.make())


@settings(max_examples=120)
@given(unseeded_chains)
def test_states_of_unseeded_chains(chain: Chain) -> None:
    """A state carries what was drawn for the pass, or is yet to be drawn."""
    check_states(chain.make(), chain.make())


@given(unseeded_chains, st.integers(0, 6))
def test_states_of_states(chain: Chain, count: int) -> None:
    """A pass that went on from a state has states, too."""
    one = iter(chain.make())
    head = [as_lists(item) for item in islice(one, count)]
    two = iter(chain.make())
    two.load_state_dict(one.state_dict())
    assert two.state_dict() == one.state_dict()
    three = iter(chain.make())
    three.load_state_dict(two.state_dict())
    assert listed(three) == listed(two) == listed(one)
    assert len(head) <= count


@pytest.mark.parametrize(
    "other",
    [
        lambda ds: ds.batch(3),
        lambda ds: ds.map(some),
        lambda ds: ds.map(drawn, seed=2),
        lambda ds: ds.shuffle(seed=2),
        lambda ds: ds.shuffle(4, seed=1),
        lambda ds: ds.take(4),
        lambda ds: ds + ds,
        lambda ds: Dataset(range(7)).shuffle(seed=1),
    ],
)
def test_states_of_others_are_refused(other: Any) -> None:
    """A state of another dataset is refused, and changes nothing."""
    dataset = Dataset(range(6))
    state = iter(other(dataset)).state_dict()
    for one in (dataset.shuffle(seed=1), dataset.map(drawn, seed=1)):
        items = iter(one)
        next(items)
        with pytest.raises(StateError, match="another dataset"):
            items.load_state_dict(state)
        assert [*items] == one.list()[1:]


@pytest.mark.parametrize(
    "damage",
    [
        {"position": -1},
        {"position": "some"},
        {"position": 1.5},
        {"position": None},
        {"position": True},
        {"version": 99},
        {"epoch": "x"},
        {"epoch": -1},
        {"structure": None},
    ],
)
def test_damaged_states_are_refused(damage: dict[str, Any]) -> None:
    """A state that was changed is refused."""
    items = iter(Dataset(range(6)).shuffle())
    next(items)
    state = {**items.state_dict(), **damage}
    with pytest.raises(StateError):
        items.load_state_dict(state)


@pytest.mark.parametrize("state", [None, [], {}, "state", 3, {"version": 1}])
def test_what_is_no_state_is_refused(state: Any) -> None:
    """Anything but a state is refused."""
    with pytest.raises(StateError):
        iter(Dataset(range(6))).load_state_dict(state)


def test_states_are_small() -> None:
    """A state has some hundred bytes, whatever the data."""
    dataset = Dataset(np.zeros((100_000, 3))).shuffle().map(drawn).batch(10)
    items = iter(dataset)
    next(items)
    assert len(json.dumps(items.state_dict())) < 1000


def test_loading_makes_no_items_in_vain() -> None:
    """Over random access, a function is not called for what a state has passed."""
    calls: list[int] = []

    def note(item: int) -> int:
        calls.append(item)
        return item

    dataset = Dataset(range(100)).map(note).enumerate().window(2).batch(3, None).repeat(2)
    one = iter(dataset)
    for _ in range(10):
        next(one)
    state = one.state_dict()
    calls.clear()
    two = iter(dataset)
    two.load_state_dict(state)
    assert calls == []
    next(two)
    assert calls == [30, 31, 32, 33]


def test_loading_reads_rows_where_they_are_needed() -> None:
    """Over random access, nothing that a state has passed is read, through shuffles, joins and slices."""
    rows = Rows()
    dataset = (Dataset(rows).take(30) + Dataset(rows)[50:]).shuffle(seed=3).zip(Dataset(range(80)))[1::2]
    one = iter(dataset)
    for _ in range(20):
        next(one)
    state = one.state_dict()
    expected = next(one)
    rows.read.clear()
    two = iter(dataset)
    two.load_state_dict(state)
    assert next(two) == expected
    assert len(rows.read) <= 2


def test_a_state_can_be_loaded_after_the_end() -> None:
    """An iterator that has ended, or was closed, goes on from a state; one at the end has nothing more."""
    dataset = Dataset(range(5)).shuffle(seed=1)
    items = iter(dataset)
    next(items)
    state = items.state_dict()
    rest = [*items]
    end = items.state_dict()
    items.load_state_dict(state)
    assert [*items] == rest
    items.close()
    items.load_state_dict(end)
    assert [*items] == []


def test_states_carry_the_epoch() -> None:
    """A state goes on in the epoch in which it was taken."""
    dataset = Dataset(range(20)).shuffle(seed=1)
    items = iter(dataset.epoch(3))
    next(items)
    again = iter(dataset)
    again.load_state_dict(items.state_dict())
    assert [*again] == [*items] == dataset.epoch(3).list()[1:]


def test_unordered_results_have_no_states() -> None:
    """Where results come as they are done, there is no state."""
    items = iter(Dataset(range(5)).map(some, num_threads=1, ordered=False).batch(2))
    with pytest.raises(ValueError, match="ordered"):
        items.state_dict()
    with pytest.raises(ValueError, match="ordered"):
        items.load_state_dict({})


# chance


@given(any_base, lengths, st.integers(0, 99), st.none() | st.integers(1, 20))
def test_shuffle_keeps_each_item_once(base: str, length: int, seed: int, buffer: Any) -> None:
    """Shuffled items are the items, of any source, with any buffer, with a seed and without."""
    expected = sorted(map(repr, as_lists(items_of(base, length))))
    for given_seed in (seed, None):
        assert sorted(map(repr, listed(bases(length)[base]().shuffle(buffer, given_seed)))) == expected


@given(any_base, lengths, st.integers(0, 99), st.integers(0, 14))
def test_sample_gives_each_item_at_most_once(base: str, length: int, seed: int, count: int) -> None:
    """So many items as asked for come, each at most once, in their order."""
    numbers = [number for number, _ in bases(length)[base]().enumerate().sample(count, seed)]
    assert len(numbers) == min(count, length)
    assert numbers == sorted(set(numbers))


@given(
    st.lists(st.integers(0, 6), min_size=1, max_size=4),
    st.integers(0, 99),
    st.none() | st.integers(1, 5),
    st.sampled_from(["first", "all"]),
)
def test_mux_keeps_orders(sizes: list[int], seed: int, n_active: Any, stop: str) -> None:
    """Muxed items are, per dataset, its items in their order: all of them, or of one at least."""
    members = [Dataset(range(size)).map(lambda x, number=number: (number, x)) for number, size in enumerate(sizes)]
    muxed = Dataset.mux(members, n_active=n_active, stop=stop, seed=seed)
    items = muxed.list()
    found = [[x for number, x in items if number == member] for member in range(len(sizes))]
    assert all(xs == list(range(len(xs))) for xs in found)
    counts = [len(xs) for xs in found]
    assert counts == sizes if stop == "all" else any(map(int.__eq__, counts, sizes))
    assert length_of(muxed) in (None, len(items))


def test_shuffle_is_uniform() -> None:
    """All orders of four items come about equally often, over epochs of one seed (chi-squared, 23 degrees)."""
    dataset = Dataset(range(4)).shuffle(seed=11)
    seen = Counter(tuple(dataset.epoch(number).list()) for number in range(2400))
    assert sum((seen[order] - 100) ** 2 / 100 for order in permutations(range(4))) < 60


def test_the_buffer_is_uniform() -> None:
    """A buffer that holds all items makes all orders of them about equally often."""
    dataset = Dataset(lambda: iter(range(4))).shuffle(4, seed=11)
    seen = Counter(tuple(dataset.epoch(number).list()) for number in range(2400))
    assert sum((seen[order] - 100) ** 2 / 100 for order in permutations(range(4))) < 60


@pytest.mark.parametrize("base", ["range", "stream"])
def test_samples_are_uniform(base: str) -> None:
    """Each item is drawn about equally often (chi-squared, 9 degrees, less for drawing without repeats)."""
    dataset = bases(10)[base]().sample(3, seed=5)
    seen = Counter(item for number in range(1000) for item in dataset.epoch(number))
    assert sum((seen[item] - 300) ** 2 / 300 for item in range(10)) < 35


@pytest.mark.parametrize("base", ["range", "stream", "array"])
@pytest.mark.parametrize("seed", [4, None])
def test_repetitions_differ(base: str, seed: int | None) -> None:
    """Each repetition of a shuffle is another order of all items."""
    items = [int(item) for item in bases(20)[base]().shuffle(seed=seed).repeat(3)]
    orders = [tuple(items[begin : begin + 20]) for begin in (0, 20, 40)]
    assert all(sorted(order) == list(range(20)) for order in orders)
    assert len(set(orders)) == 3


@pytest.mark.parametrize(
    "verbs",
    [
        lambda ds: ds.shuffle(seed=1),
        lambda ds: ds.shuffle(5, seed=1),
        lambda ds: ds.sample(10, seed=1),
        lambda ds: ds.map(drawn, seed=1),
        lambda ds: ds.filter(lucky, seed=1),
        lambda ds: Dataset.mux([ds, ds], seed=1),
        lambda ds: ds.shuffle(seed=1).batch(4),
    ],
)
@pytest.mark.parametrize("base", ["range", "stream"])
def test_epochs_differ_and_come_again(base: str, verbs: Any) -> None:
    """Each epoch draws anew, the same whenever it is asked for; `epoch` leaves the dataset as it is."""
    dataset = verbs(bases(30)[base]())
    epochs = [listed(dataset.epoch(number)) for number in range(3)]
    assert len(set(map(repr, epochs))) == 3
    assert listed(dataset) == epochs[0]
    assert listed(dataset.epoch(2).epoch(1)) == epochs[1]
    assert listed(verbs(bases(30)[base]().epoch(2))) == epochs[2] or "mux" in repr(dataset)


def test_epochs_of_members_count() -> None:
    """A member of a join stays in its epoch."""
    dataset = Dataset(range(20)).shuffle(seed=1)
    one, other = dataset.epoch(1), dataset.epoch(2)
    assert (one + other).list() == one.list() + other.list()
    assert Dataset(one, other).list() == [*zip(one, other, strict=True)]
    assert dataset.zip(other).list() == [*zip(dataset, other, strict=True)]


def test_draws_of_functions_differ() -> None:
    """Functions one after the other with the same seed draw different numbers; those of items differ."""
    drawn_twice = Dataset(range(50)).map(drawn, seed=1).map(drawn, seed=1).list()
    assert sum(inner[1] == outer for inner, outer in drawn_twice) < 5
    assert len({inner[1] for inner, _ in drawn_twice}) > 30


def test_draws_do_not_touch_the_global_generator() -> None:
    """Without a seed, passes differ, and NumPy's own generator stays where it is."""
    np.random.seed(3)
    before = np.random.get_state()[1].tolist()
    dataset = Dataset(range(50)).shuffle()
    assert dataset.list() != dataset.list()
    assert np.random.get_state()[1].tolist() == before


def test_a_sample_of_a_cached_stream_stays() -> None:
    """What a seed draws does not depend on whether items have been kept already."""
    dataset = Dataset(Counted(100)).cache()
    for drawing in (dataset.sample(5, seed=1), dataset.shuffle(seed=1), dataset.shuffle(10, seed=1)):
        first = drawing.list()
        assert drawing.list() == first

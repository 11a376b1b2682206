"""What plans, states, shards and samplers refuse, and what they say then."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator
from copy import deepcopy
from typing import Any

import numpy as np
import pytest

from batchup import loader, replay
from batchup.data_source import (
    AbstractDataSource,
    ArrayDataSource,
    CallableDataSource,
    ChoiceDataSource,
    CompositeDataSource,
    IteratorDataSource,
    MixDataSource,
    RandomAccessDataSource,
)
from batchup.errors import (
    BatchUpError,
    InvalidTypeError,
    InvalidValueError,
    StateError,
    UnsupportedError,
)
from batchup.sampling import (
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

from .helpers import fingerprint, first

SAY = pytest.mark.parametrize


def numbers(n: int, begin: int = 0, **keywords: Any) -> ArrayDataSource:
    """Return a source of one column that counts from `begin`."""
    return ArrayDataSource([np.arange(begin, begin + n)], **keywords)


def state_of(ds: AbstractDataSource, k: int = 2, batch_size: int = 3, **keywords: Any) -> Any:
    """Return the state of a pass after k batches."""
    batches: Any = ds.batch_iterator(batch_size, **{"shuffle": 5, **keywords})
    for _ in range(k):
        next(batches)
    return batches.state_dict()


# what differs between the pass of a state and the pass that it is loaded into: name, then both values
OTHERS: dict[str, tuple[AbstractDataSource, dict[str, Any], list[str]]] = {
    "source": (
        ArrayDataSource([np.arange(20)], sampler=SubsetSampler(np.arange(20))),
        {},
        ["source was", "StandardSampler(length=20)", "SubsetSampler("],
    ),
    "samples": (numbers(21), {}, ["samples was 20 and is 21"]),
    "batch_size": (numbers(20), {"batch_size": 4}, ["batch_size was 3 and is 4"]),
    "order, another seed": (numbers(20), {"shuffle": 6}, ["order was 'seed 5' and is 'seed 6'"]),
    "order, of the data": (numbers(20), {"shuffle": None}, ["order was 'seed 5' and is 'in order'"]),
    "order, a RandomState": (
        numbers(20),
        {"shuffle": np.random.RandomState(5)},
        ["order was 'seed 5' and is 'RandomState'"],
    ),
    "order, a Generator": (
        numbers(20),
        {"shuffle": np.random.default_rng(5)},
        ["order was 'seed 5' and is 'Generator'"],
    ),
    "epoch": (numbers(20), {"epoch": 1}, ["epoch was 0 and is 1"]),
    "tail": (numbers(20), {"tail": "wrap"}, ["tail was 'short' and is 'wrap'"]),
    "several": (numbers(20), {"epoch": 3, "tail": "pad"}, ["epoch was 0 and is 3", "tail was 'short' and is 'pad'"]),
}


@SAY("name", OTHERS)
def test_a_state_of_another_plan(name: str) -> None:
    """The message names what differs, and both values; the iterator goes on as if nothing had been tried."""
    ds, keywords, words = OTHERS[name]
    arguments: dict[str, Any] = {"batch_size": 3, "shuffle": 5, **keywords}
    batches = ds.batch_iterator(**arguments)
    head = first(batches, 1)
    state = state_of(numbers(20))
    generator = arguments["shuffle"]
    before = fingerprint(generator) if isinstance(generator, (np.random.RandomState, np.random.Generator)) else None
    with pytest.raises(StateError) as caught:
        batches.load_state_dict(state)
    assert [word for word in words if word not in str(caught.value)] == []
    assert before is None or fingerprint(generator) == before
    assert batches.position == 1
    untouched = {**arguments, "shuffle": {np.random.RandomState: np.random.RandomState(5)}.get(type(generator), 5)}
    if isinstance(generator, np.random.Generator):
        untouched["shuffle"] = np.random.default_rng(5)
    if generator is None or isinstance(generator, int):
        untouched["shuffle"] = generator
    assert head + first(batches) == first(ds.batch_iterator(**untouched))


TREES: dict[str, tuple[AbstractDataSource, AbstractDataSource]] = {
    "members in another order": (
        CompositeDataSource([numbers(9), numbers(12)]),
        CompositeDataSource([numbers(12), numbers(9)]),
    ),
    "one member more": (CompositeDataSource([numbers(9)]), CompositeDataSource([numbers(9), numbers(9)])),
    "choice and composite": (ChoiceDataSource([numbers(9)]), CompositeDataSource([numbers(9)])),
    "stratified or not": (
        ChoiceDataSource([numbers(9), numbers(9)]),
        ChoiceDataSource([numbers(9), numbers(9)], stratified=True),
    ),
    "other weights": (
        numbers(3, sampler=WeightedSampler([1, 2, 3])),
        numbers(3, sampler=WeightedSampler([1, 3, 2])),
    ),
    "other indices": (numbers(9, indices=[1, 2, 3]), numbers(9, indices=[1, 2, 4])),
    "other classes": (
        numbers(6, sampler=StratifiedSampler([0, 0, 0, 1, 1, 1])),
        numbers(6, sampler=StratifiedSampler([0, 1, 0, 1, 0, 1])),
    ),
    "other groups": (
        numbers(6, sampler=GroupSampler([0, 0, 0, 1, 1, 1])),
        numbers(6, sampler=GroupSampler([0, 1, 0, 1, 0, 1])),
    ),
    "other lengths": (
        numbers(6, sampler=BucketSampler([1, 2, 3, 4, 5, 6])),
        numbers(6, sampler=BucketSampler([6, 5, 4, 3, 2, 1])),
    ),
    "other blocks": (
        numbers(12, sampler=BlockShuffleSampler(12, 2, 3)),
        numbers(12, sampler=BlockShuffleSampler(12, 3, 2)),
    ),
    "other repeats": (numbers(6, repeats=-1), numbers(6, sampler=WeightedSampler(np.ones(6)))),
    "other proportions": (
        MixDataSource([numbers(9), numbers(9)], [1, 1]),
        MixDataSource([numbers(9), numbers(9)], [2, 1]),
    ),
    "mapped or not": (numbers(9), numbers(9).map(lambda x: (x,))),
    "maps with other seeds": (
        numbers(9).map(lambda x, rng: (x,), seed=1),
        numbers(9).map(lambda x, rng: (x,), seed=2),
    ),
}


@SAY("name", TREES)
def test_a_state_of_another_tree(name: str) -> None:
    """Sources of the same length that draw otherwise do not take each other's states."""
    one, other = TREES[name]
    for a, b in [(one, other), (other, one)]:
        batches: Any = b.batch_iterator(3, shuffle=5)
        with pytest.raises(StateError, match="source was"):
            batches.load_state_dict(state_of(a, 1))


GOOD = state_of(numbers(20))

# a spoilt state, and what the message says
SPOILT: dict[str, tuple[Any, str]] = {
    "of a later version": ({**GOOD, "version": 2}, "of version 2, this batchup reads version 1"),
    "of a version that is no number": ({**GOOD, "version": "1"}, "of version '1'"),
    "cut off": (json.dumps(GOOD)[:-20], "no valid JSON; is it cut off"),
    "cut off bytes": (json.dumps(GOOD)[:-20].encode(), "no valid JSON"),
    "empty text": ("", "no valid JSON"),
    "text that is no dict": ("[1, 2]", "expected a dict"),
    "a list": ([GOOD], "expected a dict"),
    "None": (None, "expected a dict"),
    "a number": (3, "expected a dict"),
    "an empty dict": ({}, "expected a dict"),
    "without a position": ({k: v for k, v in GOOD.items() if k != "position"}, "position"),
    "without a plan": ({k: v for k, v in GOOD.items() if k != "plan"}, "plan"),
    "a plan that is no dict": ({**GOOD, "plan": "shuffle"}, "the plan of a state is a dict"),
    "a negative position": ({**GOOD, "position": -1}, "position .* integer of at least 0, got -1"),
    "half a position": ({**GOOD, "position": 1.5}, "position .* integer of at least 0, got 1.5"),
    "a position in words": ({**GOOD, "position": "2"}, "position .* integer of at least 0, got '2'"),
    "a bool for a position": ({**GOOD, "position": True}, "position .* integer of at least 0, got True"),
    "bytes that are no text": (b"\xff\xfe\x00", "no valid JSON"),
}


@SAY("name", SPOILT)
def test_a_spoilt_state(name: str) -> None:
    """It is refused with a ValueError that says what is wrong, and the iterator goes on untouched."""
    state, words = SPOILT[name]
    batches = numbers(20).batch_iterator(3, shuffle=5)
    head = first(batches, 3)
    with pytest.raises(StateError, match=words):
        batches.load_state_dict(state)
    assert head + first(batches) == first(numbers(20).batch_iterator(3, shuffle=5))


def test_a_state_as_text() -> None:
    """JSON text, and bytes of it, are taken as they are."""
    for text in (json.dumps(GOOD), json.dumps(GOOD).encode(), json.dumps(GOOD, indent=2)):
        batches = numbers(20).batch_iterator(3, shuffle=5)
        batches.load_state_dict(text)
        assert first(batches) == first(numbers(20).batch_iterator(3, shuffle=5))[2:]


@SAY("spoil", [0, 1, 2, 3, 4, 5, 6, 7, 8, 9])
@SAY("kind", ["state", "generator"])
@SAY("source", ["uniform", "composite", "choice", "groups", "mix"])
def test_a_damaged_stream(source: str, kind: str, spoil: int) -> None:
    """A damaged state of a generator's order is refused with a StateError, and leaves the generator as it was."""
    ds: AbstractDataSource = {
        "uniform": numbers(20, repeats=2),
        "composite": CompositeDataSource([numbers(20), numbers(20)]),
        "choice": ChoiceDataSource([numbers(20), numbers(20)]),
        "groups": numbers(20, sampler=GroupSampler(np.arange(20) // 3)),
        "mix": MixDataSource([numbers(20), numbers(20)], [1, 2]),
    }[source]

    def fresh() -> Any:
        return np.random.RandomState(5) if kind == "state" else np.random.default_rng(5)

    state = json.loads(json.dumps(state_of(ds, 2, shuffle=fresh())))
    broken: list[dict[str, Any]] = [
        {k: v for k, v in state.items() if k != "stream"},
        {k: v for k, v in state.items() if k != "generator"},
        {**state, "stream": None},
        {**state, "stream": "x"},
        {**state, "stream": []},
        {**state, "stream": {}},
        {**state, "generator": {}},
        {**state, "generator": {"bit_generator": "SFC64", "state": 3}},
        {**state, "generator": 7},
        {**state, "generator": {**state["generator"], "state": "gone"}},
    ]
    generator = fresh()
    batches: Any = ds.batch_iterator(3, shuffle=generator)
    head = first(batches, 1)
    before = fingerprint(generator)
    with pytest.raises(StateError, match="damaged"):
        batches.load_state_dict(broken[spoil])
    assert fingerprint(generator) == before
    assert head + first(batches, 8) == first(ds.batch_iterator(3, shuffle=fresh()), 9)


def test_a_generator_of_another_kind() -> None:
    """The state of one bit generator does not go into another one, whose state stays."""
    state = state_of(numbers(20), shuffle=np.random.Generator(np.random.PCG64(1)))
    generator = np.random.Generator(np.random.Philox(1))
    before = fingerprint(generator)
    batches = numbers(20).batch_iterator(3, shuffle=generator)
    with pytest.raises(StateError, match="damaged"):
        batches.load_state_dict(state)
    assert fingerprint(generator) == before


def test_a_generator_at_another_world_size() -> None:
    """With the order of a generator the world size stays, and the message says what it was and is."""
    state = state_of(numbers(20), 1, shuffle=np.random.RandomState(1), shard=(0, 2))
    batches = numbers(20).batch_iterator(3, shuffle=np.random.RandomState(1), shard=(0, 1))
    with pytest.raises(StateError, match="it was 2 and is 1; an int seed"):
        batches.load_state_dict(state)


def test_a_state_between_the_steps_of_a_world() -> None:
    """A position that no step begins with is refused, naming the nearest that would do."""
    state = state_of(numbers(60), 5)
    with pytest.raises(StateError, match=r"after 5 batches in all, .* 4 ranks .* nearest are 4 and 8"):
        numbers(60).batch_iterator(3, shuffle=5, shard=(1, 4)).load_state_dict(state)


# shard, and the error
SHARDS: dict[str, tuple[Any, type[Exception], str]] = {
    "rank equal to world_size": ((2, 2), ValueError, "rank must be less than world_size=2, got 2"),
    "rank beyond world_size": ((7, 3), ValueError, "less than world_size=3, got 7"),
    "negative rank": ((-1, 3), ValueError, "rank must be .* at least 0, got -1"),
    "no ranks": ((0, 0), ValueError, "world_size must be .* at least 1, got 0"),
    "half a rank": ((0.5, 3), ValueError, "rank must be an integer"),
    "a float world_size": ((0, 2.0), ValueError, "world_size must be an integer"),
    "a bool": ((True, 2), TypeError, "rank must be an integer"),
    "words": (("0", "2"), TypeError, "rank must be an integer"),
    "None inside": ((None, 2), TypeError, "rank must be an integer"),
    "one number": (3, TypeError, r"shard must be a tuple \(rank, world_size\), got 3"),
    "one element": ((0,), TypeError, "shard must be a tuple"),
    "three elements": ((0, 1, 2), TypeError, "shard must be a tuple"),
    "text": ("01", TypeError, "shard must be a tuple"),
    "a dict": ({0: 1, 1: 2}, TypeError, "shard must be a tuple"),
}


@SAY("name", SHARDS)
def test_wrong_shards(name: str) -> None:
    """A share that there cannot be is an error at the door."""
    shard, error, words = SHARDS[name]
    for make in (numbers(9).batch_iterator, numbers(9).batch_indices_iterator):
        with pytest.raises(error, match=words or None) as caught:
            make(3, shuffle=1, shard=shard)
        assert isinstance(caught.value, BatchUpError)


@SAY("true", [True, np.bool_(True)])
def test_a_shard_of_nobodys_order(true: Any) -> None:
    """Ranks cannot share the order of the global generator: the message tells to pass a seed."""
    with pytest.raises(ValueError, match=r"shard with shuffle=True .* pass an int seed"):
        numbers(9).batch_iterator(3, shuffle=true, shard=(0, 2))
    with pytest.raises(ValueError, match="pass an int seed"):
        loader([np.arange(9)], 3, shuffle=true, shard=(0, 2))
    assert len(list(numbers(9).batch_iterator(3, shuffle=False, shard=(0, 2)))) == 2


# keywords of batch_iterator, and the error
KEYWORDS: dict[str, tuple[dict[str, Any], type[Exception], str]] = {
    "a negative seed": ({"shuffle": -1}, ValueError, "seed, must be an integer of at least 0, got -1"),
    "a float seed": ({"shuffle": 1.5}, ValueError, "seed, must be an integer of at least 0, got 1.5"),
    "a whole float seed": ({"shuffle": 2.0}, ValueError, "seed, must be an integer"),
    "a NaN seed": ({"shuffle": math.nan}, ValueError, "seed, must be an integer"),
    "a negative NumPy seed": ({"shuffle": np.int64(-3)}, ValueError, "seed, must be an integer"),
    "text for shuffle": ({"shuffle": "yes"}, TypeError, "shuffle must be None, a bool, an int seed"),
    "a list for shuffle": ({"shuffle": [1]}, TypeError, "shuffle must be"),
    "a negative epoch": ({"epoch": -1}, ValueError, "epoch must be an integer of at least 0, got -1"),
    "a float epoch": ({"epoch": 1.0}, ValueError, "epoch must be an integer"),
    "a bool epoch": ({"epoch": True}, TypeError, "epoch must be an integer"),
    "an unknown tail": (
        {"tail": "long"},
        ValueError,
        "tail must be one of 'short', 'drop', 'wrap', 'pad', got 'long'",
    ),
    "no tail": ({"tail": None}, ValueError, "tail must be one of"),
    "a list for a tail": ({"tail": ["short"]}, ValueError, "tail must be one of"),
    "an unknown on_error": (
        {"on_error": "ignore"},
        ValueError,
        "on_error must be one of 'raise', 'skip', 'replace', got 'ignore'",
    ),
    "negative max_errors": ({"max_errors": -1}, ValueError, "max_errors must be .* at least 0, got -1"),
    "a share above 1": ({"max_errors": 1.5}, ValueError, "max_errors, as a share, .* between 0 and 1, got 1.5"),
    "a share below 0": ({"max_errors": -0.1}, ValueError, "between 0 and 1, got -0.1"),
    "a NaN share": ({"max_errors": math.nan}, ValueError, "between 0 and 1, got nan"),
    "text for max_errors": ({"max_errors": "3"}, TypeError, "max_errors must be an int or a share"),
    "a bool for max_errors": ({"max_errors": True}, TypeError, "max_errors must be"),
    "batches of none": ({"batch_size": 0}, ValueError, "batch_size must be .* at least 1, got 0"),
    "half a batch": ({"batch_size": 2.5}, ValueError, "batch_size must be an integer"),
    "an unknown keyword": ({"suffle": 1}, TypeError, "takes no keyword argument 'suffle'"),
}


@SAY("name", KEYWORDS)
def test_wrong_keywords(name: str) -> None:
    """An argument that makes no sense is an error at the door, of every source and of the loader."""
    keywords, error, words = KEYWORDS[name]
    arguments: dict[str, Any] = {"batch_size": 3, **keywords}
    sources: list[Any] = [
        numbers(9),
        CompositeDataSource([numbers(9)]),
        ChoiceDataSource([numbers(9)]),
        numbers(9).map(lambda x: (x,)),
        MixDataSource([numbers(9)], [1]),
    ]
    for ds in sources:
        with pytest.raises(error, match=words or None) as caught:
            ds.batch_iterator(**arguments)
        assert isinstance(caught.value, BatchUpError)
        with pytest.raises(error, match=words):
            loader(ds, **arguments)


def handed(batch_size: int, **keywords: Any) -> Iterator[Any]:
    return iter([(np.arange(batch_size),)] * 3)


OUTSIDERS: dict[str, tuple[Callable[[], AbstractDataSource], str]] = {
    "callable": (lambda: CallableDataSource(handed), "CallableDataSource"),
    "iterator": (lambda: IteratorDataSource(iter([(np.arange(3),)])), "IteratorDataSource"),
    "composite": (lambda: CompositeDataSource([numbers(9), CallableDataSource(handed)]), "CallableDataSource"),
    "choice": (lambda: ChoiceDataSource([numbers(9), CallableDataSource(handed)]), "CallableDataSource"),
    "map": (lambda: CallableDataSource(handed).map(lambda x: (x,)), "CallableDataSource"),
    "deep": (
        lambda: CompositeDataSource(
            [numbers(9), ChoiceDataSource([numbers(9), IteratorDataSource(iter(())).map(lambda x: (x,))])]
        ),
        "IteratorDataSource",
    ),
}
NOT_THEIRS: dict[str, Any] = {
    "tail": "drop",
    "shard": (0, 2),
    "on_error": "skip",
    "epoch": 1,
    "max_errors": 3,
}


@SAY("keyword", NOT_THEIRS)
@SAY("name", OUTSIDERS)
def test_keywords_that_a_callable_cannot_heed(name: str, keyword: str) -> None:
    """A TypeError names the keyword and the source; the defaults pass."""
    make, culprit = OUTSIDERS[name]
    with pytest.raises(TypeError, match=rf"{keyword}= has no meaning for {culprit}"):
        make().batch_iterator(3, **{keyword: NOT_THEIRS[keyword]})
    defaults = {"tail": "short", "shard": None, "on_error": "raise", "epoch": 0, "max_errors": None}
    make().batch_iterator(3, **{keyword: defaults[keyword]})


@SAY("name", OUTSIDERS)
def test_states_of_a_callable(name: str) -> None:
    """There is no state of batches that a callable or an iterator makes: a TypeError that says so."""
    make, culprit = OUTSIDERS[name]
    batches: Any = make().batch_iterator(3)
    with pytest.raises(TypeError, match="state_dict") as caught:
        batches.state_dict()
    with pytest.raises(TypeError, match="state_dict"):
        batches.load_state_dict(GOOD)
    assert "callable" in str(caught.value) or culprit in str(caught.value)


# what cannot be built: the call, the error, the words
BUILT: dict[str, tuple[Callable[[], Any], type[Exception], str]] = {
    "weights for another length": (
        lambda: numbers(5, sampler=WeightedSampler([1, 2, 3])),
        ValueError,
        "one weight per sample, got 3 for 5 samples",
    ),
    "weights and indices": (lambda: WeightedSubsetSampler([1, 2], [3]), ValueError, "got 2 and 1"),
    "weighted indices beyond the data": (
        lambda: numbers(5, sampler=WeightedSubsetSampler([1, 2], [3, 9])),
        IndexError,
        "9 is out of range for 5",
    ),
    "classes for another length": (
        lambda: numbers(5, sampler=BalancedBatchSampler([0, 1, 0], 1, 1)),
        ValueError,
        "one class per sample, got 3 for 5",
    ),
    "groups for another length": (
        lambda: numbers(5, sampler=GroupSampler([0, 1, 0])),
        ValueError,
        "one entry per sample, got 3 for 5",
    ),
    "lengths for another length": (
        lambda: numbers(5, sampler=BucketSampler([1, 1, 1])),
        ValueError,
        "one entry per sample, got 3 for 5",
    ),
    "classes for more than the data": (
        lambda: numbers(2, sampler=StratifiedSampler([0, 1, 0])),
        ValueError,
        "got 3 for 2",
    ),
    "classes for less than the data": (
        lambda: numbers(5, sampler=StratifiedSampler([0, 1, 0])),
        ValueError,
        "got 3 for 5",
    ),
    "blocks for more than the data": (lambda: numbers(5, sampler=BlockShuffleSampler(9, 2, 2)), IndexError, ""),
    "too few classes": (
        lambda: BalancedBatchSampler([0, 1, 0], 3, 1),
        ValueError,
        "a batch needs 3 classes, y has 2",
    ),
    "no classes in a batch": (lambda: BalancedBatchSampler([0, 1], 0, 1), ValueError, "classes_per_batch"),
    "half a sample per class": (lambda: BalancedBatchSampler([0, 1], 1, 0.5), ValueError, "samples_per_class"),
    "float classes": (lambda: StratifiedSampler([0.5, 1.0]), TypeError, "y must be integers, got dtype float64"),
    "classes in a table": (lambda: StratifiedSampler([[0], [1]]), ValueError, r"1-dimensional, got shape \(2, 1\)"),
    "float groups": (lambda: GroupSampler([0.5]), TypeError, "groups must be integers"),
    "a subset beyond the classes": (lambda: StratifiedSampler([0, 1], indices=[2]), IndexError, "2 is out of range"),
    "no repeats": (lambda: StratifiedSampler([0, 1], repeats=0), ValueError, "repeats must be at least 1"),
    "blocks of none": (lambda: BlockShuffleSampler(9, 0, 2), ValueError, "block_size must be .* at least 1, got 0"),
    "a negative window": (lambda: BlockShuffleSampler(9, 2, -1), ValueError, "window must be .* at least 0, got -1"),
    "too small a budget": (
        lambda: BucketSampler([3, 9, 4], max_tokens=8),
        ValueError,
        "max_tokens=8 is less than the longest sequence: number 1 has 9",
    ),
    "too small a budget for a subset": (
        lambda: BucketSampler([99, 3, 4, 9], max_tokens=8, indices=[1, 3]),
        ValueError,
        "number 3 has 9",
    ),
    "negative lengths": (lambda: BucketSampler([3, -2]), ValueError, "negative, got -2 for sequence 1"),
    "edges that do not ascend": (lambda: BucketSampler([3, 2], bucket_edges=[5, 5]), ValueError, "must ascend"),
    "no buckets": (lambda: BucketSampler([3, 2], num_buckets=0), ValueError, "num_buckets"),
    "a mix with a composite": (
        lambda: MixDataSource([numbers(5), CompositeDataSource([numbers(5)])], [1, 1]),
        TypeError,
        "number 1 is CompositeDataSource",
    ),
    "a mix with a mapped composite": (
        lambda: MixDataSource([CompositeDataSource([numbers(5)]).map(lambda x: (x,))], [1]),
        TypeError,
        "number 0 is MapDataSource",
    ),
    "a mix with a choice": (lambda: MixDataSource([ChoiceDataSource([numbers(5)])], [1]), TypeError, "ChoiceData"),
    "a mix with a callable": (lambda: MixDataSource([CallableDataSource(handed)], [1]), TypeError, "CallableData"),
    "a mix with an array": (lambda: MixDataSource([np.arange(5)], [1]), TypeError, "number 0 is ndarray"),
    "a mix of nothing": (lambda: MixDataSource([], []), ValueError, "one weight for each of 0 sources"),
    "a mix with too few weights": (
        lambda: MixDataSource([numbers(5), numbers(5)], [1]),
        ValueError,
        "one weight for each of 2 sources, got 1",
    ),
    "a mix with a weight of 0": (
        lambda: MixDataSource([numbers(5), numbers(5)], [1, 0]),
        ValueError,
        r"weights must be positive numbers, got \[1, 0\]",
    ),
    "a mix with a negative weight": (lambda: MixDataSource([numbers(5)], [-1]), ValueError, "positive numbers"),
    "a mix with a NaN weight": (lambda: MixDataSource([numbers(5)], [math.nan]), ValueError, "positive numbers"),
    "a mix with a weight in words": (lambda: MixDataSource([numbers(5)], ["1"]), ValueError, "positive numbers"),
    "a mix that stops never": (
        lambda: MixDataSource([numbers(5)], [1], stop="never"),
        ValueError,
        "stop must be 'first' or 'all', got 'never'",
    ),
    "a mix of all of what never ends": (
        lambda: MixDataSource([numbers(5, repeats=-1)], [1], stop="all"),
        ValueError,
        "never does",
    ),
    "a mix of all of nothing": (
        lambda: MixDataSource([numbers(5), numbers(0)], [1, 1], stop="all"),
        ValueError,
        "one of them has none",
    ),
    "shares that do not come to 1": (lambda: split(10, [0.5, 0.4]), ValueError, "shares must come to 1, got 0.9"),
    "shares that do not come to n": (lambda: split(10, [5, 4]), ValueError, "must come to n=10, got 9"),
    "negative shares": (lambda: split(10, [1.5, -0.5]), ValueError, "numbers of at least 0"),
    "NaN shares": (lambda: split(10, [math.nan, 1.0]), ValueError, "shares must"),
    "no shares": (lambda: split(10, []), ValueError, "one for each part"),
    "shares in words": (lambda: split(10, ["half", "half"]), ValueError, "shares must be numbers"),
    "one share": (lambda: split(10, 0.5), ValueError, "shares must be numbers"),
    "a negative number of samples": (lambda: split(-1, [1.0]), ValueError, "n must be .* at least 0"),
    "classes for another n": (
        lambda: split(10, [0.5, 0.5], stratify=[0, 1]),
        ValueError,
        "stratify must have one entry per sample, got 2 for 10",
    ),
    "groups for another n": (
        lambda: split(10, [0.5, 0.5], groups=[0, 1]),
        ValueError,
        "groups must have one entry per sample, got 2 for 10",
    ),
    "classes and groups": (
        lambda: split(2, [0.5, 0.5], stratify=[0, 1], groups=[0, 1]),
        ValueError,
        "either stratify or groups",
    ),
    "a negative seed to split": (lambda: split(4, [1.0], seed=-1), ValueError, "seed must be"),
    "a float seed to split": (lambda: split(4, [1.0], seed=1.5), ValueError, "seed must be"),
    "one fold": (lambda: k_fold(10, 1), ValueError, "k must be .* at least 2, got 1"),
    "more folds than samples": (lambda: k_fold(3, 4), ValueError, "n must be .* at least 4, got 3"),
    "classes for other folds": (lambda: k_fold(10, 2, stratify=[0, 1]), ValueError, "got 2 for 10"),
    "a negative seed of a map": (lambda: numbers(4).map(lambda x: (x,), seed=-1), ValueError, "seed must be"),
    "a float seed of a map": (lambda: numbers(4).map(lambda x: (x,), seed=0.5), ValueError, "seed must be"),
}


@SAY("name", BUILT)
def test_what_cannot_be_built(name: str) -> None:
    """Samplers, mixes and splits are checked when they are made, by errors that say what was wanted and what came."""
    make, error, words = BUILT[name]
    with pytest.raises(error, match=words or None) as caught:
        make()
    assert isinstance(caught.value, BatchUpError)


# what cannot be iterated: the source, the keywords, the error, the words
ITERATED: dict[str, tuple[Callable[[], Any], dict[str, Any], type[Exception], str]] = {
    "balanced batches of another size": (
        lambda: numbers(6, sampler=BalancedBatchSampler([0, 1, 0, 1, 0, 1], 2, 2)),
        {"batch_size": 5, "shuffle": 1},
        ValueError,
        "classes_per_batch x samples_per_class = 4, got 5",
    ),
    "balanced batches in order": (
        lambda: numbers(6, sampler=BalancedBatchSampler([0, 1, 0, 1, 0, 1], 2, 2)),
        {"batch_size": 4},
        UnsupportedError,
        "pass shuffle=",
    ),
    "a group too large": (
        lambda: numbers(6, sampler=GroupSampler([4, 9, 9, 9, 4, 2])),
        {"batch_size": 2, "shuffle": 1},
        ValueError,
        "group 9 has 3 samples, more than batch_size=2",
    ),
    "weighted in order": (
        lambda: numbers(2, sampler=WeightedSampler([1, 2])),
        {"batch_size": 2},
        UnsupportedError,
        "pass shuffle=",
    ),
}


@SAY("name", ITERATED)
def test_what_cannot_be_iterated(name: str) -> None:
    """What shows only with the batch size or the order is an error of `batch_iterator`, also deep in a tree."""
    make, keywords, error, words = ITERATED[name]
    for ds in (make(), make().map(lambda x: (x,)), CompositeDataSource([numbers(6), make()])):
        with pytest.raises(error, match=words):
            ds.batch_iterator(**keywords)
        with pytest.raises(error, match=words):
            loader(ds, **keywords)


def test_an_unusable_sampler_by_itself() -> None:
    """Samplers that are asked for batches themselves say the same."""
    with pytest.raises(InvalidValueError, match="group 9 has 3"):
        GroupSampler([9, 9, 9]).in_order_indices_batch_iterator(2)
    with pytest.raises(InvalidValueError, match="= 4, got 5"):
        BalancedBatchSampler([0, 1, 0, 1], 2, 2).shuffled_indices_batch_iterator(5, 1)
    with pytest.raises(InvalidValueError, match="batch_size"):
        StandardSampler(5).in_order_indices_batch_iterator(0)


LOADER_STATES: dict[str, Any] = {
    "None": None,
    "text": "state",
    "empty": {},
    "of an iterator": GOOD,
    "a negative epoch": {"epoch": -1, "iterator": GOOD},
    "half an epoch": {"epoch": 0.5, "iterator": GOOD},
    "an epoch in words": {"epoch": "0", "iterator": GOOD},
    "an iterator of None": {"epoch": 0, "iterator": None},
    "of another epoch": {"epoch": 1, "iterator": GOOD},
}


@SAY("name", LOADER_STATES)
def test_states_that_a_loader_refuses(name: str) -> None:
    """A ValueError (for numbers that are none: a TypeError), and the loader goes on as if nothing had been tried."""
    batches = loader(numbers(20), 3, shuffle=5)
    with pytest.raises((ValueError, TypeError)) as caught:
        batches.load_state_dict(LOADER_STATES[name])
    assert isinstance(caught.value, BatchUpError)
    assert batches.epoch == 0
    assert first(batches) == first(numbers(20).batch_iterator(3, shuffle=5))


def test_loader_arguments() -> None:
    """What cannot be a source, and what a source does not take, is an error when the loader is made."""
    for data in (3, None, object()):
        with pytest.raises(TypeError, match="cannot make a data source"):
            loader(data, 3)
    with pytest.raises(ValueError, match="empty"):
        loader([], 3)
    with pytest.raises(ValueError, match="same number of samples"):
        loader([np.arange(3), np.arange(4)], 2)
    with pytest.raises(TypeError, match="epoch must be"):
        loader([np.arange(3)], 2, epoch="first")
    with pytest.raises(TypeError, match="state_dict"):
        loader(handed, 2).state_dict()


REPLAYED: dict[str, tuple[Any, str]] = {
    "a RandomState's": (state_of(numbers(20), shuffle=np.random.RandomState(1)), "RandomState"),
    "a Generator's": (state_of(numbers(20), shuffle=np.random.default_rng(1)), "Generator"),
    "another source's": (state_of(numbers(21)), "samples was 21 and is 20"),
    "the end": (state_of(numbers(20), 7), "behind the last batch"),
    "nothing": ({}, "expected a dict"),
    "None": (None, "expected a dict"),
    "a plan without an order": (
        {**GOOD, "plan": {k: v for k, v in GOOD["plan"].items() if k != "order"}},
        "expected a dict",
    ),
    "an order of no kind": ({**GOOD, "plan": {**GOOD["plan"], "order": "seed x"}}, ""),
}


@SAY("name", REPLAYED)
def test_states_that_cannot_be_replayed(name: str) -> None:
    """A ValueError that says why."""
    state, words = REPLAYED[name]
    with pytest.raises(ValueError, match=words or None) as caught:
        replay(numbers(20), deepcopy(state))
    assert isinstance(caught.value, BatchUpError)


def test_states_keep_no_arrays() -> None:
    """A state may be changed by whoever holds it: the iterator, and later states, do not."""
    batches = numbers(20).batch_iterator(3, shuffle=np.random.RandomState(1))
    next(batches)
    state = batches.state_dict()
    again = deepcopy(state)
    state["plan"].clear()
    state["generator"].clear()
    assert batches.state_dict() == again


def test_a_source_that_grew() -> None:
    """A state of a source of one length does not load when the source has another."""

    class Any5(RandomAccessDataSource):
        def samples_by_indices_nomapping(self, indices: Any) -> Any:
            return (np.asarray(indices),)

    with pytest.raises(StateError, match=r"source was .*\(5, .* and is .*\(6, .*samples was 5 and is 6"):
        Any5(6).batch_iterator(2, shuffle=1).load_state_dict(state_of(Any5(5), 1, 2, shuffle=1))


def test_the_kinds_of_errors() -> None:
    """A state that does not fit is a ValueError of batchup's own."""
    assert issubclass(StateError, InvalidValueError)
    assert issubclass(InvalidValueError, ValueError)
    assert issubclass(InvalidTypeError, TypeError)

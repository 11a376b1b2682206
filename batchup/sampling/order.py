"""What `shuffle` may be, and the order that it stands for."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from batchup._numbers import whole_number
from batchup.errors import InvalidTypeError

Generator: TypeAlias = "np.random.RandomState | np.random.Generator"
Shuffle: TypeAlias = "bool | int | np.random.RandomState | np.random.Generator | None"


@dataclass(frozen=True)
class Key:
    """What a seeded order depends on: the seed, the epoch, and the place in the tree of sources."""

    seed: int
    epoch: int = 0
    path: tuple[int, ...] = ()

    def member(self, number: int) -> Key:
        """Return the key of a member source."""
        return replace(self, path=(*self.path, number))

    def seeds(self, *place: int) -> np.random.SeedSequence:
        """Return the seeds of a place under this key."""
        return np.random.SeedSequence(self.seed, spawn_key=(self.epoch, len(self.path), *self.path, *place))

    def generator(self, *place: int) -> np.random.RandomState:
        """Return the generator of a place under this key, whose stream no release of NumPy will change (NEP 19)."""
        return np.random.RandomState(np.random.SFC64(self.seeds(*place)))

    def draws(self, place: int = 0) -> np.random.RandomState:
        """Return the generator of independent draws under this key, from a place on.

        It is counter-based (Philox), with four draws to a count, so that any place is entered at once.
        """
        bits = np.random.Philox(self.seeds())
        bits.advance(place // 4)
        generator = np.random.RandomState(bits)
        generator.random(place % 4)
        return generator


Order: TypeAlias = "Key | Generator | None"


def as_order(shuffle: Any, epoch: int = 0) -> Order:
    """Return the order that a `shuffle` argument asks for; None is the order of the data.

    >>> as_order(7, epoch=2)
    Key(seed=7, epoch=2, path=())
    """
    if shuffle is None or shuffle is False or (isinstance(shuffle, np.bool_) and not shuffle):
        return None
    if isinstance(shuffle, (bool, np.bool_)) or shuffle is np.random:
        global_generator: np.random.RandomState = np.random.mtrand._rand
        return global_generator
    if isinstance(shuffle, (np.random.RandomState, np.random.Generator)):
        return shuffle
    if isinstance(shuffle, numbers.Real):
        return Key(whole_number(shuffle, "shuffle, given as a seed,"), epoch)
    raise InvalidTypeError(
        "shuffle must be None, a bool, an int seed, a numpy.random.RandomState or a numpy.random.Generator, "
        f"got {type(shuffle).__name__}"
    )


def raw_state(generator: Generator) -> Any:
    """Return the state of a generator, as it gives it."""
    if isinstance(generator, np.random.RandomState):
        return generator.get_state(legacy=False)
    return generator.bit_generator.state


def generator_state(raw: Any) -> Any:
    """Return the state of a generator as JSON."""
    if isinstance(raw, dict):
        return {name: generator_state(value) for name, value in raw.items()}
    if isinstance(raw, np.ndarray):
        return {"dtype": str(raw.dtype), "values": raw.tolist()}
    return raw.item() if isinstance(raw, np.generic) else raw


def set_generator_state(generator: Generator, state: Any) -> None:
    """Set a generator to a state from `generator_state`."""
    raw = _raw(state)
    if isinstance(generator, np.random.RandomState):
        generator.set_state(raw)
    else:
        generator.bit_generator.state = raw


def _raw(state: Any) -> Any:
    if not isinstance(state, dict):
        return state
    if state.keys() == {"dtype", "values"}:
        return np.array(state["values"], state["dtype"])
    return {name: _raw(value) for name, value in state.items()}

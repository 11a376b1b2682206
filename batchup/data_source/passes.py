"""The keywords of `batch_iterator`, checked and put into frozen objects at the door."""

from __future__ import annotations

import numbers
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from batchup._numbers import whole_number
from batchup.data_source.buffers import Memory
from batchup.data_source.clock import Clock
from batchup.errors import InvalidTypeError, InvalidValueError
from batchup.sampling.order import Key, Order, as_order

SMALL = 100 * 1024  # bytes; batches of up to so many are read together ...
AHEAD = 256 * 1024  # ... so many at a time
GROWTH = 4  # the first batch is read by itself; how many are read together grows by this
TAILS = ("short", "drop", "wrap", "pad")
POLICIES = ("raise", "skip", "replace")


@dataclass(frozen=True)
class Policy:
    """What to do about samples that cannot be read.

    Attributes
    ----------
    on_error : str
        ``'raise'``, ``'skip'`` or ``'replace'``.
    max_errors : int, float or None
        How many may fail in a pass, or which share of its samples; None is any number.
    trace : bool
        Whether errors tell which batch they belong to.
    """

    on_error: str = "raise"
    max_errors: int | float | None = None
    trace: bool = False

    @property
    def tolerant(self) -> bool:
        """Whether it matters which samples of a batch fail."""
        return self.on_error != "raise" or self.trace


@dataclass(frozen=True)
class Pass:
    """One pass over a data source.

    Attributes
    ----------
    batch_size : int
        Samples in a batch.
    order : Key, RandomState, Generator or None
        Where the order comes from; None is the order of the data.
    epoch : int
        Number of the epoch.
    tail : str
        What becomes of the last batch: ``'short'``, ``'drop'``, ``'wrap'`` or ``'pad'``.
    rank, world_size : int
        Which of how many shares of the batches this is.
    copy : bool
        Whether batches belong to their holder; if not, read-only views will do where the order allows them.
    path : tuple of int
        Place of a member in the tree of sources.
    policy : Policy
        What to do about samples that cannot be read.
    clock : Clock
        Counts what is read and how long it takes; shared by all the sources of the tree.
    indices_only : bool
        Whether this source itself is asked for indices; so a subclass that overrides that may ask its base class.
    memory : callable or None
        Where the arrays of batches are to lie, if that matters to whoever reads them.
    """

    batch_size: int
    order: Order = None
    epoch: int = 0
    tail: str = "short"
    rank: int = 0
    world_size: int = 1
    copy: bool = True
    path: tuple[int, ...] = ()
    policy: Policy = Policy()
    clock: Clock = field(default_factory=Clock, compare=False)
    indices_only: bool = False
    memory: Memory | None = field(default=None, compare=False)
    _members: dict[int, Pass] = field(default_factory=dict, compare=False, repr=False, init=False)

    @property
    def drawn(self) -> bool:
        """Whether the order comes from a generator that was handed in."""
        return self.order is not None and not isinstance(self.order, Key)

    def member(self, number: int) -> Pass:
        """Return the pass over a member source: seeded orders differ from member to member."""
        if number not in self._members:
            order = self.order.member(number) if isinstance(self.order, Key) else self.order
            self._members[number] = replace(self, order=order, path=(*self.path, number), indices_only=False)
        return self._members[number]

    def elsewhere(self) -> Pass:
        """Return the pass over the source of a map: its batches lie anywhere."""
        return self if self.memory is None else replace(self, memory=None)

    def key(self, seed: int | None) -> Key | None:
        """Return the key of this place in the tree: under `seed`, or else under that of the order."""
        if seed is None:
            return self.order if isinstance(self.order, Key) else None
        return Key(seed, self.epoch, self.path)


def as_pass(
    batch_size: Any,
    shuffle: Any = None,
    epoch: Any = 0,
    tail: Any = "short",
    shard: Any = None,
    copy: Any = True,
    on_error: Any = "raise",
    max_errors: Any = None,
    trace: Any = False,
) -> Pass:
    """Return the pass that the arguments of `batch_iterator` describe.

    Raises
    ------
    TypeError, ValueError
        If an argument is none of the things that it may be.
    """
    size = whole_number(batch_size, "batch_size", 1)
    epoch = whole_number(epoch, "epoch")
    rank, world_size = _checked_shard(shard, shuffle)
    return Pass(
        size,
        as_order(shuffle, epoch),
        epoch,
        _one_of(tail, TAILS, "tail"),
        rank,
        world_size,
        bool(copy),
        policy=Policy(_one_of(on_error, POLICIES, "on_error"), _checked_budget(max_errors), bool(trace)),
    )


def _one_of(value: Any, choices: tuple[str, ...], what: str) -> str:
    if value not in choices:
        raise InvalidValueError(f"{what} must be one of {', '.join(map(repr, choices))}, got {value!r}")
    return str(value)


def _checked_shard(shard: Any, shuffle: Any) -> tuple[int, int]:
    if shard is None:
        return 0, 1
    if not isinstance(shard, (tuple, list)) or len(shard) != 2:
        raise InvalidTypeError(f"shard must be a tuple (rank, world_size), got {shard!r}")
    rank, world_size = whole_number(shard[0], "rank"), whole_number(shard[1], "world_size", 1)
    if rank >= world_size:
        raise InvalidValueError(f"rank must be less than world_size={world_size}, got {rank}")
    if isinstance(shuffle, (bool, np.bool_)) and shuffle:
        raise InvalidValueError(
            "shard with shuffle=True would give every rank another order: pass an int seed as shuffle"
        )
    return rank, world_size


def _checked_budget(max_errors: Any) -> int | float | None:
    if max_errors is None:
        return None
    if isinstance(max_errors, numbers.Integral):
        return whole_number(max_errors, "max_errors")
    if not isinstance(max_errors, numbers.Real):
        raise InvalidTypeError(f"max_errors must be an int or a share between 0 and 1, got {max_errors!r}")
    if not 0 <= float(max_errors) <= 1:
        raise InvalidValueError(f"max_errors, as a share, must lie between 0 and 1, got {max_errors}")
    return float(max_errors)

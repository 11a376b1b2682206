"""The keywords of `batch_iterator`, checked and put into one frozen object at the door."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

from batchup.data_source.clock import Clock
from batchup.sampling.order import Key, Order, as_order, whole_number


@dataclass(frozen=True)
class Pass:
    """One pass over a data source.

    Attributes
    ----------
    batch_size : int
        Samples in a batch.
    order : Key, RandomState, Generator or None
        Where the order comes from; None is the order of the data.
    copy : bool
        Whether batches belong to their holder; if not, read-only views will do where the order allows them.
    clock : Clock
        Counts what is read and how long it takes; shared by all the sources of the tree.
    """

    batch_size: int
    order: Order = None
    copy: bool = True
    clock: Clock = field(default_factory=Clock, compare=False)

    def member(self, number: int) -> Pass:
        """Return the pass over a member source: seeded orders differ from member to member."""
        return replace(self, order=self.order.member(number)) if isinstance(self.order, Key) else self


def as_pass(batch_size: Any, shuffle: Any = None, epoch: Any = 0, copy: Any = True) -> Pass:
    """Return the pass that the arguments of `batch_iterator` describe.

    Raises
    ------
    TypeError, ValueError
        If the batch size is not a positive integer, the epoch not an integer of 0 or more, or `shuffle` none of
        the things that it may be.
    """
    size = whole_number(batch_size, "batch_size", 1)
    return Pass(size, as_order(shuffle, whole_number(epoch, "epoch")), bool(copy))

"""The data are told which samples will soon be read, as far ahead as the order is known without drawing."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from batchup.data_source.passes import Pass
from batchup.sampling.chunks import batch_count
from batchup.sampling.streams import IndexStream

if TYPE_CHECKING:
    from batchup.data_source.walk import WalkedDataSource

WINDOW = 32 * 2**20  # bytes of samples that are told ahead of those that are read
FEWEST, MOST = 4, 64  # batches ahead
TOGETHER = 8  # batches told at once
WARM = 16  # how often in a row nothing was missing, after which nothing is told any more ahead of need


class Hints:
    """What a pass tells its source.

    If nothing has to be fetched, little is told. Otherwise a second stream of the same indices runs ahead, where
    it draws from nobody's generator.

    Parameters
    ----------
    source : WalkedDataSource
        What is told.
    walk : Pass
        The pass.
    """

    def __init__(self, source: WalkedDataSource, walk: Pass) -> None:
        self._source = source
        self._walk = walk
        self._ahead = most_in_window(source._sample_bytes(walk), walk.batch_size)
        self._runner: IndexStream | None = None
        self._told: float = 0
        self._found = 0

    def taken(self, chunk: Any, taken: int, stream: IndexStream) -> None:
        """Tell what is read now, and what comes next; `taken` batches have been taken from the pass's stream."""
        if taken > self._told:
            self._runner = None
            self._told = taken
            self._note(self._source._expect(chunk))
            if self._found == 0 and not self._walk.drawn and stream.entered:
                self._runner = self._source._steps_of_pass(self._walk)
                self._runner.seek(taken)
        while self._runner is not None and self._told < taken + self._ahead:
            chunk = self._runner.take(TOGETHER)
            if chunk is None:
                self._told = math.inf
            if chunk is None or self._found >= WARM:
                self._runner = None
                return
            self._told += batch_count(chunk)
            self._note(self._source._expect(chunk))

    def _note(self, missing: bool) -> None:
        self._found = 0 if missing else self._found + 1


def most_in_window(sample_bytes: int | None, batch_size: int) -> int:
    """Return for how many batches in a row samples may be told of."""
    if sample_bytes is None:
        return FEWEST
    return min(MOST, max(FEWEST, WINDOW // max(1, sample_bytes * batch_size)))

"""Where the time of a pass goes, counted while it runs."""

from __future__ import annotations

from array import array
from collections import Counter
from typing import Any

import numpy as np

_SETTLED = 4096
_STEPS = 8  # buckets per factor of two: percentiles are good to 5%


class Clock:
    """What was read in a pass, how long that took, and how long the consumer waited for each batch.

    Attributes
    ----------
    samples, bytes : int
        What was read; a few batches of it may not have been handed out yet.
    gathering, mapping, transporting : float
        Seconds spent reading samples, in mapped functions, and bringing batches from a worker.
    waits, counts : array
        Seconds that the consumer waited lately, and for how many batches; `settle` empties them.
    """

    __slots__ = ("_buckets", "_waiting", "bytes", "counts", "gathering", "mapping", "samples", "transporting", "waits")

    def __init__(self) -> None:
        self.samples = self.bytes = 0
        self.gathering = self.mapping = self.transporting = self._waiting = 0.0
        self.waits = array("d")
        self.counts = array("q")
        self._buckets: Counter[int] = Counter()

    def add(self, samples: int, size: int, gathering: float, mapping: float, transporting: float) -> None:
        """Take note of what others read."""
        self.samples += samples
        self.bytes += size
        self.gathering += gathering
        self.mapping += mapping
        self.transporting += transporting

    def wait(self, seconds: float, batches: int = 1) -> None:
        """Take note of how long the consumer waited for some batches."""
        self.waits.append(seconds)
        self.counts.append(batches)
        if len(self.waits) >= _SETTLED:
            self.settle()

    def settle(self) -> None:
        """Put the latest waits into buckets, so that memory stays bounded however long the pass."""
        waits, counts = np.array(self.waits), np.array(self.counts)
        del self.waits[:], self.counts[:]
        self._waiting += float(waits.sum())
        steps = np.floor(_STEPS * np.log2(np.maximum(waits / np.maximum(counts, 1), 1e-9))).astype(int)
        for step, count in zip(steps.tolist(), counts.tolist(), strict=True):
            self._buckets[step] += count

    def report(self) -> dict[str, Any]:
        """Return all figures."""
        self.settle()
        return {
            "batches": self._buckets.total(),
            "samples": self.samples,
            "bytes": self.bytes,
            "waiting": self._waiting,
            "gathering": self.gathering,
            "mapping": self.mapping,
            "transporting": self.transporting,
            **{f"p{percent}": self._percentile(percent) for percent in (50, 95, 99)},
        }

    def _percentile(self, percent: int) -> float:
        rank = percent / 100 * self._buckets.total()
        seen = 0
        for step in sorted(self._buckets):
            seen += self._buckets[step]
            if seen >= rank:
                return float(2 ** ((step + 0.5) / _STEPS))
        return 0.0

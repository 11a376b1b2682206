"""Large arrays that say what is drawn and what it is, over a small file of samples."""

from __future__ import annotations

from types import TracebackType

import numpy as np
from sources import Array, RowsFile

SAMPLE_BYTES = 16


class Metadata:
    """Samples in a memory-mapped file, with labels, and the weights of a permutation of them in memory."""

    def __init__(self, rows: int) -> None:
        rng = np.random.default_rng(0)
        self._file = RowsFile(np.zeros((rows, SAMPLE_BYTES), np.uint8))
        self.samples: Array = np.load(self._file.path, mmap_mode="r")
        self.labels: Array = rng.integers(0, 1000, rows)
        self.indices: Array = rng.permutation(rows)
        self.weights: Array = rng.random(rows)

    def __enter__(self) -> Metadata:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._file.close()

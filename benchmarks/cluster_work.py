"""What the workers of a cluster do when their costs are measured."""

from __future__ import annotations

import functools
import os
import time
from typing import Any

import numpy as np
from numpy.typing import NDArray


@functools.cache
def kept(size: int) -> NDArray[np.uint8]:
    """Return the same array of so many bytes again and again, so that making it is not measured."""
    return np.ones(size, np.uint8)


def nothing() -> None:
    """Return nothing."""


def nap(seconds: float) -> tuple[int, float, float]:
    """Sleep; return who did, when it began and when it ended."""
    begin = time.perf_counter()
    time.sleep(seconds)
    return os.getpid(), begin, time.perf_counter()


class Napping:
    """A function for batches that takes time, but not the processor.

    Parameters
    ----------
    seconds : float
        How long it takes.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds

    def __call__(self, *columns: Any) -> Any:
        time.sleep(self.seconds)
        return columns

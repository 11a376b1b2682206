"""A function of batches that costs time of a processor, the same wherever it is called."""

from __future__ import annotations

import time

from sources import Array

MILLISECONDS = 20


def spun(rows: Array) -> Array:
    """Return rows as they are, after some time of the processor, however long that lasts by the clock."""
    end = time.thread_time() + MILLISECONDS / 1e3
    while time.thread_time() < end:
        pass
    return rows

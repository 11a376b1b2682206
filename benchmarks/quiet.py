"""Waiting until nothing else keeps the processor busy, so that no turn pays for what came before it."""

from __future__ import annotations

import pathlib
import time

STAT = pathlib.Path("/proc/stat")
WINDOW = 0.2
BUSY = 0.1


class Quiet:
    """Waits before turns, for so many seconds in all; `missed` counts the turns that began amid noise."""

    def __init__(self, patience: float) -> None:
        self._patience = patience
        self.missed = 0

    def wait(self) -> None:
        """Wait until the processor was idle for 0.2 s but for a tenth, while there is patience left."""
        begin = time.monotonic()
        while (noisy := _busy() > BUSY) and time.monotonic() - begin < self._patience:
            pass
        self._patience -= time.monotonic() - begin - WINDOW
        self.missed += noisy


def _busy() -> float:
    """Tell the share of time for which the cores are busy; 0 where the system does not tell."""
    before = _ticks()
    time.sleep(WINDOW)
    after = _ticks()
    if before is None or after is None:
        return 0.0
    idle, total = (after[i] - before[i] for i in range(2))
    return 1 - idle / max(total, 1)


def _ticks() -> tuple[int, int] | None:
    try:
        ticks = [int(number) for number in STAT.read_text().partition("\n")[0].split()[1:9]]
    except OSError:
        return None
    return ticks[3] + ticks[4], sum(ticks)

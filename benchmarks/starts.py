"""From nothing to the first batch, step by step, each time in a fresh process: `python starts.py <where> <work>`."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import asdict

from cold import function_named, output_of
from contenders import Trial
from declared import Work, work_from
from records import Shot
from sources import Array, make_rows

START = "start, ms"
UP = "workers up, ms"
SECOND = "second pool, ms"
SOURCE = "source, ms"
FIRST_BATCH = "first batch, ms"
NEXT_EPOCH = "next epoch, ms"


class Laps:
    """A stopwatch that tells how long each step took."""

    def __init__(self) -> None:
        self.shot: Shot = {}
        self._begin = time.perf_counter()

    def note(self, figure: str) -> None:
        """Take note that a step has ended; the next one begins."""
        now = time.perf_counter()
        self.shot[figure] = 1e3 * (now - self._begin)
        self.skip()

    def skip(self) -> None:
        """Let the next step begin now: what was done since the last one counts nowhere."""
        self._begin = time.perf_counter()


Steps = Callable[[Work, Array], Shot]


def in_fresh_process(work: Work, steps: Steps) -> Trial:
    """Make a trial that has a function of a module of contenders take its steps in a process of its own."""
    command = [sys.executable, __file__, f"{steps.__module__}:{steps.__name__}", json.dumps(asdict(work))]

    def trial() -> Shot:
        told: Shot = json.loads(output_of(command).splitlines()[-1])
        return told

    return trial


def check_first(work: Work, batch: Array) -> None:
    """Raise `ValueError` unless this is a full batch."""
    if batch.shape != (work.batch, *work.shape):
        raise ValueError(f"wrong batch of shape {batch.shape}")


def main(where: str, work: str) -> None:
    """Tell how long the steps took; imports are over, and the rows are made, before the first."""
    steps: Steps = function_named(where)
    given = work_from(json.loads(work))
    shot = steps(given, make_rows(given))
    print(json.dumps(shot))


if __name__ == "__main__":
    main(*sys.argv[1:])

"""A first batch from nothing, each time in a fresh process: `python cold.py <module>:<function> <work> <file>`."""

from __future__ import annotations

import importlib
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict
from typing import Any

import numpy as np
from contenders import Trial
from declared import Work, work_from
from sources import Array, RowsFile

# Makes all that is needed from the rows of a file; returns the batches, and what closes it all.
Start = Callable[[Work, Array], tuple[Iterator[Any], Callable[[], object]]]
FIGURE = "first batch, ms"
PATIENCE = 120


def in_fresh_process(work: Work, file: RowsFile, start: Start) -> Trial:
    """Make a trial that runs a function of a module of contenders in a process of its own."""
    command = [sys.executable, __file__, f"{start.__module__}:{start.__name__}", json.dumps(asdict(work)), file.path]

    def trial() -> dict[str, float]:
        return {FIGURE: float(output_of(command))}

    return trial


def output_of(command: list[str]) -> str:
    """Run a command and return what it says; raise RuntimeError with the last line of its complaint."""
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    if done.returncode:
        raise RuntimeError(done.stderr.strip().rpartition("\n")[2] or f"exit status {done.returncode}")
    return done.stdout


def function_named(where: str) -> Any:
    """Import `<module>:<function>`."""
    module, _, function = where.partition(":")
    return getattr(importlib.import_module(module), function)


def main(where: str, work: str, path: str) -> None:
    """Tell the milliseconds until the first batch is there; imports, and opening the file, are over by then."""
    start: Start = function_named(where)
    given, rows = work_from(json.loads(work)), np.load(path, mmap_mode="r")
    begin = time.perf_counter()
    batches, close = start(given, rows)
    batch = next(batches)
    elapsed = time.perf_counter() - begin
    held = np.array(batch[0] if isinstance(batch, (tuple, list)) else batch)
    if held.shape != (given.batch, *given.shape):
        raise ValueError(f"wrong batch of shape {held.shape}")
    del batch, batches
    close()
    print(1e3 * elapsed)


if __name__ == "__main__":
    main(*sys.argv[1:])

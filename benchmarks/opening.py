"""A data set opened, each time in a fresh process: `python opening.py <module>:<function> <work> <path>`."""

from __future__ import annotations

import json
import sys
import time
import zipfile  # noqa: F401  NumPy imports it, and numpy.random, when they are used first
from collections.abc import Callable
from dataclasses import asdict

import memory
import numpy.random  # noqa: F401
from cold import function_named, output_of
from contenders import Trial
from declared import Work, work_from
from images import ImageFiles, wrong_first_batch
from processes import held_by_family
from records import Shot
from slices import Epoch

Open = Callable[[Work, str], Epoch]  # opens what lies there; what it returns holds it, and begins an epoch


def in_fresh_process(work: Work, files: ImageFiles, path: str, opened: Open) -> Trial:
    """Make a trial that lets a function of a module of contenders open a path, in a process of its own."""
    where = f"{opened.__module__}:{opened.__name__}"
    command = [sys.executable, __file__, where, json.dumps(asdict(work)), path]

    def trial() -> Shot:
        files.make_ready()
        told: Shot = json.loads(output_of(command))
        return told

    return trial


def main(where: str, work: str, path: str) -> None:
    """Tell how long it takes, and how much more is held then; imports are over by then."""
    opened: Open = function_named(where)
    given = work_from(json.loads(work))
    held()  # which itself takes some memory when it is called first
    before = held()
    begin = time.perf_counter()
    epoch = opened(given, path)
    seconds = time.perf_counter() - begin
    after = held()
    begin = time.perf_counter()
    batch = next(epoch())
    first = time.perf_counter() - begin
    with_batch = held()
    for wrong in wrong_first_batch(given, batch[0] if isinstance(batch, (tuple, list)) else batch):
        raise ValueError(f"wrong batch: {wrong}")
    rss, pss = ((now - then) / 1e6 for now, then in zip(after, before, strict=True))
    shot = {
        "open, ms": 1e3 * seconds,
        "first batch, ms": 1e3 * first,
        "RSS, MB": rss,
        "PSS, MB": pss,
        "with a batch, MB": (with_batch[0] - before[0]) / 1e6,
    }
    print(json.dumps(shot))


def held() -> tuple[int, int]:
    """Give the bytes that this process holds: those in memory (RSS), and those that count as its own (PSS)."""
    return memory.held() or 0, held_by_family()


if __name__ == "__main__":
    main(*sys.argv[1:])

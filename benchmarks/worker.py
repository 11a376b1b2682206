"""The child process of one environment: reads requests as JSON lines, answers each with one line.

Usage: python worker.py <contender module>[,...] <distribution whose version is told>[,...]
"""

from __future__ import annotations

import gc
import importlib
import importlib.metadata
import json
import os
import platform
import re
import sys
import time
from typing import Any, TextIO

import memory
import numpy as np
from checks import check
from contenders import Trial, Way, Ways
from declared import OF_NUMBERS, OF_SEQUENCES, Work, work_from
from files import RowFiles, ToCreate, ToWrite
from images import ImageFiles
from items import numbers_of
from jpegs import make_jpegs
from records import Build, Shot, Slice
from sequences import Sequences
from served import Served
from slices import Epoch, timed_slice
from sources import RowsFile, make_rows


def make_source(work: Work, folder: str) -> Any:
    """Make what contenders read, anew in every process but for the files of rows, which lie in `folder`."""
    if work.kind == "open_images":
        return ImageFiles(work, folder)
    if work.from_files:
        return RowFiles(work, folder)
    if work.kind in OF_SEQUENCES:
        return Sequences(work, folder)
    if work.kind in OF_NUMBERS:
        return numbers_of(work)
    if work.kind == "create":
        return ToCreate(work, folder)
    if work.kind == "write":
        return ToWrite(work, folder)
    if work.kind == "fetch":
        return Served(work, folder)
    if work.kind == "decode":
        return make_jpegs(work.rows)
    if work.kind == "weighted":
        return np.random.default_rng(0).random(work.rows)
    if work.kind == "cold":
        return RowsFile(make_rows(work))
    if work.kind in ("order", "enter", "metadata", "started"):
        return np.empty(0)
    return make_rows(work)


class Prepared:
    """One piece of work with its source, and the contenders built so far."""

    def __init__(self, work: Work, ways: dict[str, Way], folder: str) -> None:
        self.work = work
        self.ways = ways
        self.source = make_source(work, folder)
        self.epochs: dict[str, Epoch] = {}
        self.trials: dict[str, Trial] = {}

    def build(self, name: str) -> Build | None:
        """Make a contender and have it give a first batch, measuring both; then check what it gives."""
        if self.work.one_shot:
            self.trials[name] = self.ways[name](self.work, self.source)
            return None
        gc.collect()
        before = memory.held()
        memory.reset_peak()
        begin = time.perf_counter()
        epoch = self.epochs[name] = self.ways[name](self.work, self.source)
        next(epoch())
        seconds, peak = time.perf_counter() - begin, memory.peak()
        gc.collect()
        held = memory.held()
        check(name, self.work, self.source, epoch)
        return Build(seconds=seconds, held=_difference(held, before), peak=_difference(peak, before))

    def slice(self, name: str, seconds: float, stride: int, whole: bool, once: bool) -> Slice:
        """Time one slice of a contender that was built."""
        # what earlier slices left behind, prefetching threads included, is not to run during this one
        gc.collect()
        cached = getattr(self.source, "make_ready", lambda: None)()
        taken = timed_slice(self.epochs[name], seconds, stride, whole, once, self.work.batches)
        return {**taken, "cached": cached}

    def shoot(self, name: str) -> Shot:
        """Run one trial of a contender that was built."""
        gc.collect()
        return self.trials[name]()

    def close(self) -> None:
        """Close the contenders that hold something, then the source."""
        for running in [*self.epochs.values(), *self.trials.values(), self.source]:
            getattr(running, "close", lambda: None)()


class Station:
    """What the worker has at hand: the ways of its modules and the work that was prepared last."""

    def __init__(self, modules: list[str], distributions: list[str]) -> None:
        self.versions = {"python": platform.python_version(), **_versions(distributions)}
        self.failed: dict[str, str] = {}
        self.ways: list[Ways] = []
        for module in modules:
            self._load(module)
        self.prepared: Prepared | None = None

    def _load(self, module: str) -> None:
        try:
            self.ways.append(importlib.import_module(f"contenders.{module}").WAYS)
        except Exception as error:  # noqa: BLE001  a peer may fail in any way; its row says how
            self.failed[module] = _told(error)

    def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do what one request asks; whatever goes wrong is the answer."""
        try:
            return {"answer": self._do(**request)}
        except Exception as error:  # noqa: BLE001  a peer may fail in any way; its row says how
            return {"error": _told(error)}

    def _do(self, what: str, **arguments: Any) -> Any:
        if what == "hello":
            return {"versions": self.versions, "failed": self.failed}
        if what == "prepare":
            return self._prepare(**arguments)
        if what == "close":
            return self.close()
        if self.prepared is None:
            raise ValueError(f"{what} was asked for before any work was prepared")
        does = {"build": self.prepared.build, "slice": self.prepared.slice, "shoot": self.prepared.shoot}
        return does[what](**arguments)

    def close(self) -> None:
        """Close what was prepared last, if anything is still open."""
        prepared, self.prepared = self.prepared, None
        if prepared is not None:
            prepared.close()

    def _prepare(self, work: dict[str, Any], folder: str) -> dict[str, str]:
        self.close()
        gc.collect()
        given = work_from(work)
        ways = {name: way for ways in self.ways for name, way in ways.get(given.kind, {}).items()}
        if ways:
            self.prepared = Prepared(given, ways, folder)
        return {name: (way.__doc__ or "").partition("\n")[0] for name, way in ways.items()}


def _versions(distributions: list[str]) -> dict[str, str]:
    return {name: _version(name) for name in distributions}


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "from the tree"


def _difference(after: int | None, before: int | None) -> int | None:
    return None if after is None or before is None else after - before


def _told(error: Exception) -> str:
    """Tell an error in one short line that holds no path."""
    line = f"{type(error).__name__}: {error}".partition("\n")[0]
    return re.sub(r"(/[\w.+-]+){2,}", "<path>", line)[:160]


def serve(station: Station, inbox: TextIO, outbox: TextIO) -> None:
    """Answer requests until there are no more, then close what was prepared."""
    for line in inbox:
        print(json.dumps(station.answer(json.loads(line))), file=outbox, flush=True)
    station.close()


def main(modules: str, distributions: str) -> None:
    """Serve over standard input and output."""
    with os.fdopen(os.dup(1), "w") as outbox:
        # what a peer prints must not come between the answers
        os.dup2(2, 1)
        serve(Station(modules.split(","), distributions.split(",")), sys.stdin, outbox)


if __name__ == "__main__":
    main(*sys.argv[1:])

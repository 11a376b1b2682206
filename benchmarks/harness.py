"""The measuring itself: contenders take turns in shuffled rounds, each in the process of its environment."""

from __future__ import annotations

import contextlib
import random
import sys
import tempfile
import time
from dataclasses import asdict, dataclass
from typing import Any

from crew import Crew, Worker, WorkerError
from declared import Bench, Case, Work
from environments import ENVIRONMENTS, OURS, SLICE_COLD, SLICE_PEERS, slice_seconds
from machine import describe
from quiet import Quiet
from records import BenchRecord, CaseRecord, Entry, Shot, Slice

SECONDS_PER_STRIDE = 0.001
LONGEST_STRIDE = 4096
DEAR_BEGINNING = 0.05
PATIENCE = 60.0


@dataclass(frozen=True)
class Pace:
    """How a contender's slices run: how often the clock is read, whether epochs are run to their end or only once."""

    seconds: float
    stride: int = 1
    whole: bool = False
    once: bool = False


@dataclass
class Contender:
    """One contender in its worker, and the record it fills."""

    worker: Worker
    entry: Entry
    pace: Pace
    one_shot: bool = False

    def build(self) -> None:
        """Make it and let it prove itself."""
        self.entry["build"] = self._ask("build")

    def turn(self, work: Work, *, warm_up: bool) -> None:
        """Take a turn, unless out; keep what it gave, or set the pace by it."""
        if warm_up and work.warmed_up:
            return
        if self.one_shot:
            shot: Shot | None = self._ask("shoot")
            if shot is not None and not warm_up:
                self.entry["shots"].append(shot)
            return
        taken: Slice | None = self._ask("slice", **asdict(self.pace))
        if taken is not None and warm_up and not work.cold:
            self.pace = set_pace(self.pace.seconds, taken, work)
        elif taken is not None and not warm_up:
            self.entry["slices"].append(taken)

    def _ask(self, what: str, **arguments: Any) -> Any:
        if self.entry["why"] is not None:
            return None
        try:
            return self.worker.ask(what, name=self.entry["name"], **arguments)
        except WorkerError as error:
            self.entry["why"] = str(error)
            return None


def set_pace(seconds: float, warm_up: Slice, work: Work) -> Pace:
    """Choose the pace from the warm-up.

    What workers do ahead is run to the end of an epoch: nothing made ahead is then left over, or owed. So is an
    epoch whose beginning (a permutation, a buffer to fill) is more than a twentieth of a slice, so that the
    beginning is charged once per epoch as in training, unless that would last 16 slices; and so is what is read
    from files, with the same exception: the first pass over a mapped file costs more than the next. It is 40 slices
    where windows of batches are read at once, which begin small.
    """
    first = warm_up["first"]
    more = warm_up["batches"] - 1
    steady = (warm_up["elapsed"] - first) / max(more, 1)
    stride = min(max(int(SECONDS_PER_STRIDE / max(steady, 1e-7)), 1), LONGEST_STRIDE)
    if more == 0:  # all that is known is that the first took longer than a slice
        stride = 1 if work.batches is None else 256
    # a first batch that is merely large, or a little late, is no dear beginning
    dear = first > 2 * steady and first - steady > DEAR_BEGINNING * seconds
    affordable = work.batches is not None and first + work.batches * steady < work.longest_epoch * seconds
    return Pace(seconds, stride, whole=work.by_workers or ((dear or work.from_files) and affordable))


def first_pace(name: str, work: Work) -> Pace:
    """Choose the pace of the warm-up of a contender in an environment."""
    if work.cold:
        return Pace(SLICE_COLD, once=True)
    if work.by_workers or work.from_files:
        return Pace(SLICE_PEERS, whole=work.by_workers or (work.compressed and name.startswith(OURS)))
    return Pace(slice_seconds(name))


def enter(crew: Crew, work: Work, folder: str) -> tuple[list[Contender], list[Entry], list[str]]:
    """Prepare the work everywhere: the contenders, the entries that failed, who has nothing to enter."""
    contenders, absent = [], []
    failed = [_failed(name, why) for name, why in crew.failed.items()]
    for name, worker in crew.workers.items():
        try:
            ways = worker.ask("prepare", work=asdict(work), folder=folder)
        except WorkerError as error:
            failed.append(_failed(name, str(error)))
            continue
        if not ways:
            absent.append(ENVIRONMENTS[name].label)
        pace = first_pace(name, work)
        for way, how in ways.items():
            entry = Entry(name=way, how=how, environment=name, build=None, slices=[], shots=[], why=None)
            contenders.append(Contender(worker, entry, pace, work.one_shot))
    return contenders, failed, absent


def _failed(name: str, why: str) -> Entry:
    label = ENVIRONMENTS[name].label if name in ENVIRONMENTS else name
    return Entry(name=label, how="", environment=name, build=None, slices=[], shots=[], why=why)


def measure_case(crew: Crew, case: Case, rounds: int, rng: random.Random, folder: str) -> CaseRecord:
    """Measure one case: build all, one round to warm up that is thrown away, then the rounds that count.

    Files that are measured lie in `folder`.
    """
    contenders, failed, absent = enter(crew, case.work, folder)
    for contender in contenders:
        contender.build()
    quiet = Quiet(PATIENCE)
    for number in range(rounds + 1):
        rng.shuffle(contenders)
        for contender in contenders:
            if (case.work.by_workers or case.work.from_files) and contender.entry["why"] is None:
                quiet.wait()
            contender.turn(case.work, warm_up=number == 0)
    for worker in crew.workers.values():
        with contextlib.suppress(WorkerError):  # its rows say what is wrong
            worker.ask("close")
    entries = sorted((contender.entry for contender in contenders), key=lambda entry: entry["name"])
    return CaseRecord(
        label=case.label,
        work=asdict(case.work),
        targets=[asdict(target) for target in case.targets],
        entries=entries + failed,
        absent=absent,
        amid_noise=quiet.missed,
    )


def measure(
    bench: Bench, names: list[str], rounds: int, shrunk: int = 1, seed: int = 0, data: str | None = None
) -> BenchRecord:
    """Measure one bench with those of its environments that are named; the others get a row that says so.

    Files that are measured lie in a folder of their own below `data`.
    """
    rng = random.Random(seed)
    ours = bench.environments[0]  # the limits live in it, and no ratio could be formed without them
    wanted = [name for name in bench.environments if name == ours or name in names]
    left_out = {name: "not run (left out by --peers)" for name in bench.environments if name not in wanted}
    with Crew(wanted) as crew:
        crew.failed.update(left_out)
        cases = []
        for case in bench.cases:
            print(f"{bench.name}: {case.label}", file=sys.stderr)
            smaller = Case(case.label, case.work.shrunk(shrunk), case.targets)
            with tempfile.TemporaryDirectory(dir=data) as folder:
                cases.append(measure_case(crew, smaller, rounds, rng, folder))
    return BenchRecord(
        name=bench.name,
        title=bench.title,
        note=bench.note,
        unit=bench.unit,
        limits=list(bench.limits),
        shows_memory=bench.shows_memory,
        shows_rate=bench.shows_rate,
        main=bench.main,
        date=time.strftime("%Y-%m-%d"),
        rounds=rounds,
        shrunk=shrunk,
        machine=describe(),
        environments=crew.versions,
        cases=cases,
    )

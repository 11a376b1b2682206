"""The measuring itself: contenders take turns in shuffled rounds, each in the process of its environment."""

from __future__ import annotations

import random
import sys
import time
from dataclasses import asdict, dataclass

from crew import Crew, Worker, WorkerError
from declared import Bench, Case, Work
from environments import ENVIRONMENTS, slice_seconds
from machine import describe
from records import BenchRecord, CaseRecord, Entry, Slice

SECONDS_PER_STRIDE = 0.001
LONGEST_STRIDE = 4096
DEAR_BEGINNING = 0.05


@dataclass(frozen=True)
class Pace:
    """How a contender's slices run: how often the clock is read, and whether epochs are run to their end."""

    seconds: float
    stride: int = 1
    whole: bool = False


@dataclass
class Contender:
    """One contender in its worker, and the record it fills."""

    worker: Worker
    entry: Entry
    pace: Pace

    def build(self) -> None:
        """Make it and let it prove itself."""
        try:
            self.entry["build"] = self.worker.ask("build", name=self.entry["name"])
        except WorkerError as error:
            self.entry["why"] = str(error)

    def slice(self) -> Slice | None:
        """Run one slice, None when this contender is out."""
        if self.entry["why"] is not None:
            return None
        try:
            answer: Slice = self.worker.ask("slice", name=self.entry["name"], **asdict(self.pace))
        except WorkerError as error:
            self.entry["why"] = str(error)
            return None
        return answer


def set_pace(seconds: float, warm_up: Slice, work: Work) -> Pace:
    """Choose the pace from the warm-up.

    An epoch whose beginning (a permutation, a buffer to fill) is more than a twentieth of a slice is run to
    its end, so that the beginning is charged once per epoch as in training, unless that would last 16 slices.
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
    return Pace(seconds, stride, whole=dear and affordable)


def enter(crew: Crew, work: Work) -> tuple[list[Contender], list[Entry], list[str]]:
    """Prepare the work everywhere: the contenders, the entries that failed, who has nothing to enter."""
    contenders, absent = [], []
    failed = [_failed(name, why) for name, why in crew.failed.items()]
    for name, worker in crew.workers.items():
        try:
            ways = worker.ask("prepare", work=asdict(work))
        except WorkerError as error:
            failed.append(_failed(name, str(error)))
            continue
        if not ways:
            absent.append(ENVIRONMENTS[name].label)
        for way, how in ways.items():
            entry = Entry(name=way, how=how, environment=name, build=None, slices=[], why=None)
            contenders.append(Contender(worker, entry, Pace(slice_seconds(name))))
    return contenders, failed, absent


def _failed(name: str, why: str) -> Entry:
    label = ENVIRONMENTS[name].label if name in ENVIRONMENTS else name
    return Entry(name=label, how="", environment=name, build=None, slices=[], why=why)


def measure_case(crew: Crew, case: Case, rounds: int, rng: random.Random) -> CaseRecord:
    """Measure one case: build all, one round to warm up that is thrown away, then the rounds that count."""
    contenders, failed, absent = enter(crew, case.work)
    for contender in contenders:
        contender.build()
    for number in range(rounds + 1):
        rng.shuffle(contenders)
        for contender in contenders:
            _turn(contender, case.work, warm_up=number == 0)
    entries = sorted((contender.entry for contender in contenders), key=lambda entry: entry["name"])
    return CaseRecord(
        label=case.label,
        work=asdict(case.work),
        targets=[asdict(target) for target in case.targets],
        entries=entries + failed,
        absent=absent,
    )


def _turn(contender: Contender, work: Work, *, warm_up: bool) -> None:
    taken = contender.slice()
    if taken is None:
        return
    if warm_up:
        contender.pace = set_pace(contender.pace.seconds, taken, work)
    else:
        contender.entry["slices"].append(taken)


def measure(bench: Bench, names: list[str], rounds: int, shrunk: int = 1, seed: int = 0) -> BenchRecord:
    """Measure one bench with the environments named; those left out get a row that says so."""
    rng = random.Random(seed)
    left_out = {name: "not run (left out by --peers)" for name in ENVIRONMENTS if name not in names}
    with Crew(names) as crew:
        crew.failed.update(left_out)
        cases = []
        for case in bench.cases:
            print(f"{bench.name}: {case.label}", file=sys.stderr)
            smaller = Case(case.label, case.work.shrunk(shrunk), case.targets)
            cases.append(measure_case(crew, smaller, rounds, rng))
    return BenchRecord(
        name=bench.name,
        title=bench.title,
        note=bench.note,
        unit=bench.unit,
        limits=list(bench.limits),
        shows_memory=bench.shows_memory,
        date=time.strftime("%Y-%m-%d"),
        rounds=rounds,
        shrunk=shrunk,
        machine=describe(),
        environments=crew.versions,
        cases=cases,
    )

"""Measure what a Ray pool costs its driver: `python benchmarks/cluster_costs.py`, with Ray installed, in 2 minutes."""

from __future__ import annotations

import json
import pathlib
import threading
import time
from collections import defaultdict
from itertools import islice, pairwise
from statistics import median
from typing import Any

import cluster_orders
import numpy as np
from cluster_seats import WAITING, bookkeeping
from cluster_work import Napping, kept, nap, nothing
from environments import ROOT
from machine import describe

from batchup import ArrayDataSource, __version__
from batchup.work_pool import WorkerRayPool

RESULTS = ROOT / "benchmarks" / "results" / "cluster_costs.json"
WORKERS = 2
ROUNDS = 5
BATCH = 256
SEED = 7
SIZES_MB = (1, 4, 16)
SEATS = (2, 16, 128, 512, 2048)
LONG = 64  # batches ahead, with which tasks are of many batches
NAPS_S = (20e-3, 2e-3)
ROW = 100  # numbers in a row where the model is checked, so that a batch is 100 kB
Notes = dict[str, list[float]]


def main() -> None:
    """Measure, and write the raw results."""
    notes: Notes = defaultdict(list)
    with WorkerRayPool(WORKERS, memory="512MiB") as pool:
        pool.pids  # noqa: B018  all are up
        for number in range(ROUNDS + 1):
            taken: Notes = defaultdict(list)
            for measure in (one_task, tasks_and_batches, results):
                measure(pool, taken)
            if number:
                _add(notes, taken)
        checks = [check(pool, seconds) for seconds in NAPS_S]
    for _ in range(3):
        for seats in SEATS:
            for waiting in (0, WAITING):
                notes[f"books_{seats}_{waiting}_s"].append(bookkeeping(seats, waiting, 0.3))
        cluster_orders.figures(lambda name, figure: notes[name].append(figure))
    record = {
        "name": "cluster_costs",
        "date": time.strftime("%Y-%m-%d"),
        "machine": describe(),
        "versions": {"batchup": __version__, "ray": _ray_version()},
        "workers": WORKERS,
        "seats": SEATS,
        "figures": dict(notes),
        "checks": checks,
    }
    RESULTS.write_text(json.dumps(record, indent=1) + "\n")
    for name, figures in notes.items():
        print(f"{name:28} {median(figures):.4g}")
    print(*checks, sep="\n")


def one_task(pool: WorkerRayPool, notes: Notes, count: int = 100) -> None:
    """Measure the way there and back of a task, and what lies between two tasks of a worker that is given two."""
    begin = time.perf_counter()
    for _ in range(count):
        pool.work_stream([(nothing, ())], 1).retrieve()
    notes["latency_s"].append((time.perf_counter() - begin) / count)
    naps = list(pool.work_stream(((nap, (NAPS_S[0],)) for _ in range(count)), 2 * WORKERS).retrieve_iter())
    gaps = [b[1] - a[2] for pid in {n[0] for n in naps} for a, b in pairwise([n for n in naps if n[0] == pid])]
    notes["between_tasks_s"].append(float(np.mean(gaps)))


def tasks_and_batches(pool: WorkerRayPool, notes: Notes) -> None:
    """Measure the driver's processor time for a task, and for a batch, by epochs with small tasks and with large ones.

    Two epochs give two equations.
    """
    small, large = _epoch(pool, 2 * WORKERS, 600), _epoch(pool, LONG, 6000)
    equations = np.array([[each["tasks"], each["batches"]] for each in (small, large)])
    task, batch = np.linalg.solve(equations, [each["busy"] for each in (small, large)])
    notes["task_cpu_s"].append(float(task))
    notes["batch_cpu_s"].append(float(batch))
    notes["python_share"].append(small["python"] / small["busy"])
    notes["batches_per_large_task"].append(large["batches"] / large["tasks"])
    notes["tasks_per_s"].append(small["tasks"] / small["passed"])


def _epoch(pool: WorkerRayPool, ahead: int, batches: int) -> dict[str, float]:
    """Run through tiny batches, once to find the pace and once to measure; return counts, and seconds."""
    source = pool.parallel_data_source(ArrayDataSource([np.zeros(BATCH * (batches + LONG))]), ahead)
    for _ in islice(source.batch_iterator(BATCH, shuffle=SEED), LONG):
        pass
    tasks = _counted(source)
    iterator = source.batch_iterator(BATCH, shuffle=SEED, epoch=1)
    for _ in islice(iterator, LONG):
        pass
    threads = threading.get_native_id(), pool._dispatcher._thread.native_id
    before = len(tasks), sum(map(_thread_time, threads)), time.perf_counter(), time.process_time()
    for _ in islice(iterator, batches):
        pass
    after = len(tasks), sum(map(_thread_time, threads)), time.perf_counter(), time.process_time()
    names = ("tasks", "python", "passed", "busy")
    return {"batches": batches, **{name: b - a for name, a, b in zip(names, before, after, strict=True)}}


def _thread_time(number: int | None) -> float:
    """Return the seconds that a thread has had the processor; 0 where the system does not tell."""
    try:
        status = pathlib.Path(f"/proc/self/task/{number}/schedstat").read_text()
    except OSError:
        return 0.0
    return int(status.split()[0]) / 1e9


def _counted(source: Any) -> list[int]:
    """Have the tasks of a source counted."""
    tasks: list[int] = []
    begin = source._known.begin

    def counting(*arguments: Any) -> Any:
        tasks.append(1)
        return begin(*arguments)

    source._known.begin = counting
    return tasks


def results(pool: WorkerRayPool, notes: Notes, count: int = 24) -> None:
    """Measure how fast results of several sizes get into the store, and are read from it, and what that costs."""
    costs: list[tuple[float, float]] = []
    for size in (0, *SIZES_MB):
        wall, busy, reading = np.median([_result(pool, size * 10**6) for _ in range(count)], axis=0).tolist()
        costs.append((wall, busy))
        if size:
            notes[f"store_{size}MB_Bps"].append(size * 1e6 / max(wall - costs[0][0], 1e-9))
            notes[f"read_{size}MB_Bps"].append(size * 1e6 / reading)
    slope = (costs[-1][1] - costs[1][1]) / (SIZES_MB[-1] - SIZES_MB[0])
    notes["cpu_per_MB_s"].append(max(slope, 0.0))


def _result(pool: WorkerRayPool, size: int) -> tuple[float, float, float]:
    begin, busy = time.perf_counter(), time.process_time()
    result = pool.work_stream([(kept, (size,))], 1).retrieve()
    wall, busy = time.perf_counter() - begin, time.process_time() - busy
    begin = time.perf_counter()
    result.max(initial=0)
    return wall, busy, time.perf_counter() - begin


def check(pool: WorkerRayPool, seconds: float) -> dict[str, Any]:
    """Run epochs whose batches take some time; return what the model needs to foretell them, and what came."""
    batches = int(4 / seconds)
    rows = np.zeros((BATCH * batches, ROW), np.float32)
    source = pool.parallel_data_source(ArrayDataSource([rows]).map(Napping(seconds)))
    list(source.batch_iterator(BATCH, epoch=0, shuffle=SEED))
    tasks, rates, works = _counted(source), [], []
    for epoch in range(1, 4):
        iterator = source.batch_iterator(BATCH, epoch=epoch, shuffle=SEED)
        begin = time.perf_counter()
        for _ in iterator:
            pass
        rates.append(batches / (time.perf_counter() - begin))
        stats = iterator.stats()
        works.append((stats["mapping"] + stats["gathering"]) / batches)
    return {
        "seconds": seconds,
        "bytes": rows[:BATCH].nbytes,
        "ahead": source.batch_buffer_size,
        "together": 3 * batches / len(tasks),
        "work_s": works,
        "batches_per_s": rates,
    }


def _add(notes: Notes, taken: Notes) -> None:
    for name, figures in taken.items():
        notes[name] += figures


def _ray_version() -> str:
    import ray

    return str(ray.__version__)


if __name__ == "__main__":
    main()

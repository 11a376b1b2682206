"""The pool of this tree on a Ray cluster that it starts on this machine, beside its pool of processes."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

from declared import Work
from slices import Epoch
from sources import Array
from spinning import spun
from starts import FIRST_BATCH, NEXT_EPOCH, SECOND, SOURCE, START, UP, Laps, check_first, in_fresh_process

from batchup.data_source import ArrayDataSource
from batchup.work_pool import WorkerProcessPool, WorkerRayPool
from contenders import Closing, Trial, Ways
from contenders.by_hand import shuffled

SEED = 7
WORKERS = 2
AHEAD = 20
BYTES = "64MiB"

MakePool = Callable[[], Any]


def serial(work: Work, rows: Array) -> Epoch:
    """`perm = rng.permutation(n)`, then `X[perm[i:i+B]]`, in the program itself."""
    return shuffled(work, rows)


def by_ray(work: Work, rows: Array) -> Closing:
    """`WorkerRayPool(2).parallel_data_source(ds).batch_iterator(B, shuffle=7, epoch=e)`."""
    return _pooled(_ray(), work, ArrayDataSource([rows]))


def by_ray_in_bytes(work: Work, rows: Array) -> Closing:
    """The same with `parallel_data_source(ds, batch_buffer_size="64MiB")`."""
    return _pooled(_ray(), work, ArrayDataSource([rows]), BYTES)


def by_processes(work: Work, rows: Array) -> Closing:
    """`WorkerProcessPool(2).parallel_data_source(ds).batch_iterator(B, shuffle=7, epoch=e)`."""
    return _pooled(_processes(), work, ArrayDataSource([rows]))


def by_processes_in_bytes(work: Work, rows: Array) -> Closing:
    """The same with `parallel_data_source(ds, batch_buffer_size="64MiB")`."""
    return _pooled(_processes(), work, ArrayDataSource([rows]), BYTES)


def mapped_serially(work: Work, rows: Array) -> Epoch:
    """`spun(X[perm[i:i+B]])`, in the program itself."""
    batches = shuffled(work, rows)
    return lambda: map(spun, batches())


def mapped_by_ray(work: Work, rows: Array) -> Closing:
    """`WorkerRayPool(2).parallel_data_source(ArrayDataSource([X]).map(spun))`, in batches as above."""
    return _pooled(_ray(), work, _mapped(rows))


def mapped_by_processes(work: Work, rows: Array) -> Closing:
    """The same by a `WorkerProcessPool(2)`."""
    return _pooled(_processes(), work, _mapped(rows))


def started_by_ray(work: Work, _: Array) -> Trial:
    """`WorkerRayPool(2)`, which starts a cluster; `pool.pids`; `pool.parallel_data_source(ds)`; a first batch."""
    return in_fresh_process(work, ray_steps)


def started_by_processes(work: Work, _: Array) -> Trial:
    """The same with a `WorkerProcessPool(2)`."""
    return in_fresh_process(work, process_steps)


def ray_steps(work: Work, rows: Array) -> dict[str, float]:
    """Take the steps with a Ray cluster."""
    return _steps(_ray, work, rows)


def process_steps(work: Work, rows: Array) -> dict[str, float]:
    """Take the steps with processes."""
    return _steps(_processes, work, rows)


def _steps(make: MakePool, work: Work, rows: Array) -> dict[str, float]:
    laps = Laps()
    with make() as pool:
        laps.note(START)
        _wait_for_workers(pool)
        laps.note(UP)
        with make() as second:
            _wait_for_workers(second)
            laps.note(SECOND)
        laps.skip()
        source = pool.parallel_data_source(ArrayDataSource([rows]))
        laps.note(SOURCE)
        epoch = _epochs(source, work)
        for figure in (FIRST_BATCH, NEXT_EPOCH):
            laps.skip()
            batches = epoch()
            (batch,) = next(batches)
            laps.note(figure)
            check_first(work, batch)
            batches.close()  # type: ignore[attr-defined]
    return laps.shot


def _wait_for_workers(pool: Any) -> None:
    """Wait until all answer, which their ids are asked for."""
    if len(pool.pids) != WORKERS:
        raise RuntimeError(f"{len(pool.pids)} workers came up")


def _ray() -> Any:
    return WorkerRayPool(WORKERS)


def _processes() -> Any:
    return WorkerProcessPool(WORKERS)


def _mapped(rows: Array) -> Any:
    return ArrayDataSource([rows]).map(spun)


def _pooled(pool: Any, work: Work, source: Any, ahead: int | str = AHEAD) -> Closing:
    return Closing(_epochs(pool.parallel_data_source(source, batch_buffer_size=ahead), work), pool.close)


def _epochs(source: Any, work: Work) -> Callable[[], Iterator[Any]]:
    numbers = itertools.count()
    return lambda: iter(source.batch_iterator(batch_size=work.batch, shuffle=SEED, epoch=next(numbers)))


WAYS: Ways = {
    "transport": {
        "serial by hand": serial,
        "batchup, Ray": by_ray,
        f"batchup, Ray, {BYTES}": by_ray_in_bytes,
        "batchup, processes": by_processes,
        f"batchup, processes, {BYTES}": by_processes_in_bytes,
    },
    "mapped": {"serial": mapped_serially, "batchup, Ray": mapped_by_ray, "batchup, processes": mapped_by_processes},
    "started": {"batchup, Ray": started_by_ray, "batchup, processes": started_by_processes},
}

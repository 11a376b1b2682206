"""Ray as one would use it by hand, with two actors, and its own package for data."""

from __future__ import annotations

import importlib
import os
import secrets
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from declared import Work
from sources import Array
from spinning import spun
from starts import FIRST_BATCH, NEXT_EPOCH, SECOND, SOURCE, START, UP, Laps, check_first, in_fresh_process

from contenders import Closing, Trial, Ways

ray: Any = importlib.import_module("ray")

WORKERS = 2
AHEAD = 20
SEED = 7
COLUMN = "data"

Made = Callable[[Array], Array]


class Gatherer:
    """An actor that gathers rows, and maps a function over them."""

    def __init__(self, made: Made | None) -> None:
        self._made = made

    def know(self, rows: Array) -> None:
        """Take note of the array to read from: a view of the object store."""
        self._rows = rows

    def read(self, indices: Array) -> Array:
        """Return rows."""
        rows = self._rows[indices]
        return rows if self._made is None else self._made(rows)

    def ready(self) -> bool:
        """Answer, once it is up."""
        return True


class LocalCluster:
    """A share in the cluster of this process, which ends with the last share."""

    shares = 0
    folder = ""

    def __init__(self) -> None:
        if LocalCluster.shares == 0:
            LocalCluster.folder = tempfile.mkdtemp(prefix="ray-", dir="/tmp")  # Ray makes sockets in it: short
            _start(LocalCluster.folder)
        LocalCluster.shares += 1

    def close(self) -> None:
        """Give up the share."""
        LocalCluster.shares -= 1
        if LocalCluster.shares == 0:
            ray.shutdown()
            shutil.rmtree(LocalCluster.folder, ignore_errors=True)


def _start(folder: str) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # or else Ray writes one into the home
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    ray.init(
        address="local",
        num_cpus=WORKERS,
        include_dashboard=False,
        log_to_driver=False,
        logging_level="ERROR",
        _node_ip_address="127.0.0.1",
        _temp_dir=folder,
    )


def actors(work: Work, rows: Array) -> Closing:
    """`ray.put(X)`, two actors that return `X[indices]` in turn, 20 batches asked for ahead, `ray.get` in order."""
    return _by_actors(work, rows, None)


def mapped(work: Work, rows: Array) -> Closing:
    """The same with actors that return `spun(X[indices])`."""
    return _by_actors(work, rows, spun)


def _by_actors(work: Work, rows: Array, made: Made | None) -> Closing:
    cluster = LocalCluster()
    gatherers = _gatherers(made)
    _tell(gatherers, rows)

    def close() -> None:
        for gatherer in gatherers:
            ray.kill(gatherer)
        cluster.close()

    return Closing(_epochs(gatherers, work), close)


def _gatherers(made: Made | None) -> list[Any]:
    kind = ray.remote(num_cpus=0)(Gatherer)
    gatherers = [kind.remote(made) for _ in range(WORKERS)]
    ray.get([gatherer.ready.remote() for gatherer in gatherers])
    return gatherers


def _tell(gatherers: list[Any], rows: Array) -> None:
    stored = ray.put(rows)
    ray.get([gatherer.know.remote(stored) for gatherer in gatherers])


def _epochs(gatherers: list[Any], work: Work) -> Callable[[], Iterator[Array]]:
    rng = np.random.RandomState(1)

    def epoch() -> Iterator[Array]:
        permutation = rng.permutation(work.rows)
        asked: deque[Any] = deque()
        for number, start in enumerate(range(0, work.rows, work.batch)):
            gatherer = gatherers[number % WORKERS]
            asked.append(gatherer.read.remote(permutation[start : start + work.batch]))
            if len(asked) > AHEAD:
                yield ray.get(asked.popleft())
        while asked:
            yield ray.get(asked.popleft())

    return epoch


def data(work: Work, rows: Array) -> Closing:
    """`ray.data.from_numpy(X).iter_batches(batch_size=B, batch_format="numpy", local_shuffle_buffer_size=20*B)`."""
    from_numpy = importlib.import_module("ray.data").from_numpy
    cluster = LocalCluster()
    importlib.import_module("ray.data").DataContext.get_current().enable_progress_bars = False
    dataset = from_numpy(rows)

    def epoch() -> Iterator[Array]:
        batches = dataset.iter_batches(
            batch_size=work.batch,
            batch_format="numpy",
            local_shuffle_buffer_size=AHEAD * work.batch,
            local_shuffle_seed=SEED,
        )
        for batch in batches:
            yield batch[COLUMN]

    return Closing(epoch, cluster.close)


def started(work: Work, _: Array) -> Trial:
    """`ray.init()`; two actors; `ray.put(X)`, of which they are told; a first batch, with 20 asked for ahead."""
    return in_fresh_process(work, steps)


def steps(work: Work, rows: Array) -> dict[str, float]:
    """Take the steps by hand."""
    laps = Laps()
    cluster = LocalCluster()
    laps.note(START)
    gatherers = _gatherers(None)
    laps.note(UP)
    for gatherer in _gatherers(None):
        ray.kill(gatherer)
    laps.note(SECOND)
    _tell(gatherers, rows)
    laps.note(SOURCE)
    epoch = _epochs(gatherers, work)
    for figure in (FIRST_BATCH, NEXT_EPOCH):
        laps.skip()
        batches = epoch()
        batch = next(batches)
        laps.note(figure)
        check_first(work, batch)
    cluster.close()
    return laps.shot


WAYS: Ways = {
    "transport": {"Ray by hand": actors, "Ray Data": data},
    "mapped": {"Ray by hand": mapped},
    "started": {"Ray by hand": started},
}

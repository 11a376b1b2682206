"""Clusters of several nodes on this machine, which come and go, for the tests of the Ray pool; and a soak of it.

``python -m tests.nodes --seconds 600`` removes a node and adds one every 20 s, and checks every epoch.
"""

from __future__ import annotations

import argparse
import os
import secrets
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest

# one for all clusters: Ray reads it once
os.environ.setdefault("RAY_AUTH_MODE", "token")
os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))
STORE = 160 * 2**20  # bytes of the object store of each node
SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_health_check_period_ms": "500",  # so that a killed node is noticed in seconds, and not in 20
    "RAY_health_check_failure_threshold": "3",
}


class Nodes:
    """A cluster of a head without workers, where this program is, and of nodes that may be lost."""

    def __init__(self, folder: str, count: int, cpus: int = 1, variables: Iterable[dict[str, str]] = ()) -> None:
        from ray.cluster_utils import Cluster

        self._cpus = cpus
        self.lost = 0
        self.cluster = Cluster(
            initialize_head=True,
            shutdown_at_exit=False,  # it handles signals, which the main thread alone may set up
            head_node_args={
                "num_cpus": 0,
                "include_dashboard": False,
                "object_store_memory": STORE,
                "temp_dir": folder,
            },
        )
        self.address: str = self.cluster.address
        self.nodes: list[Any] = []
        given = [*variables]
        for number in range(count):
            self.add(given[number] if given else None)

    def add(self, variables: dict[str, str] | None = None) -> Any:
        """Add a node, whose programs have environment variables of their own; return it."""
        environment = None if variables is None else {**os.environ, **variables}
        node = self.cluster.add_node(num_cpus=self._cpus, object_store_memory=STORE, env_vars=environment)
        self.nodes.append(node)
        return node

    def lose(self, number: int = 0, graceful: bool = False) -> None:
        """Lose a node: all its processes are killed."""
        self.cluster.remove_node(self.nodes.pop(number), allow_graceful=graceful)
        self.lost += 1

    def close(self) -> None:
        """End all nodes."""
        self.cluster.shutdown()


@contextmanager
def nodes(count: int, **keywords: Any) -> Iterator[Nodes]:
    """Yield a cluster, which ends with the block."""
    with tempfile.TemporaryDirectory(prefix="batchup-nodes-") as folder, pytest.MonkeyPatch.context() as patch:
        for name, value in {**SETTINGS, "RAY_TMPDIR": folder}.items():
            patch.setenv(name, value)
        os.mkdir(f"{folder}/ray")  # where the address is noted, which a cluster of this kind does not make
        cluster = Nodes(folder, count, **keywords)
        try:
            yield cluster
        finally:
            cluster.close()


def checksum(batches: Iterable[Any]) -> int:
    """Return the checksum of the bytes of all batches in their order."""
    found = 0
    for batch in batches:
        for column in batch.values() if isinstance(batch, dict) else batch:
            found = zlib.crc32(np.ascontiguousarray(column), found)
    return found


def heavy(x: Any, y: Any, rng: np.random.Generator) -> Any:
    """Return a batch with noise, after work that takes a while."""
    time.sleep(0.004)
    return x + rng.integers(9, size=len(x))[:, None], y


def soak(seconds: float, period: float, say: Callable[[str], None]) -> int:
    """Take epochs while nodes are lost and added; return how many went wrong."""
    from batchup import ArrayDataSource
    from batchup.work_pool import WorkerRayPool

    data = np.random.default_rng(0).integers(2**31, size=(4096, 2048))
    ds = ArrayDataSource([data, np.arange(len(data))]).map(heavy)
    wrong = epochs = batches = 0
    with nodes(2) as cluster, WorkerRayPool(2, cluster.address) as pool:
        stop = threading.Event()
        changer = threading.Thread(target=_change, args=(cluster, period, stop, say))
        changer.start()
        begin = time.monotonic()
        try:
            par = pool.parallel_data_source(ds, batch_buffer_size="32MiB")
            while time.monotonic() - begin < seconds:
                expected = checksum(ds.batch_iterator(64, shuffle=7, epoch=epochs))
                iterator = par.batch_iterator(64, shuffle=7, epoch=epochs)
                wrong += checksum(iterator) != expected
                epochs, batches = epochs + 1, batches + iterator.position
        finally:
            stop.set()
            changer.join()
        say(
            f"{time.monotonic() - begin:.0f} s: {epochs} epochs of 64 batches of 1 MiB, {batches} batches, "
            f"{cluster.lost} nodes lost, {wrong} epochs differ from the serial ones"
        )
    return wrong


def _change(cluster: Nodes, period: float, stop: threading.Event, say: Callable[[str], None]) -> None:
    """Every so many seconds lose a node, killed or ended, and add another one."""
    begin = time.monotonic()
    while not stop.wait(period):
        graceful = cluster.lost % 2 == 1
        cluster.lose(graceful=graceful)
        cluster.add()
        say(f"{time.monotonic() - begin:6.1f} s: a node was {'ended' if graceful else 'killed'}, and another one added")


def main(arguments: list[str]) -> int:
    """Run the soak; the exit status is 0 if all epochs were right."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--period", type=float, default=20)
    given = parser.parse_args(arguments)
    return int(soak(given.seconds, given.period, _say) > 0)


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

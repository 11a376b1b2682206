"""The job for a cluster in examples/ goes on where it was stopped, with workers and without, to the same weights."""

from __future__ import annotations

from pathlib import Path

from ..nodes import nodes
from ..test_examples import run

SMALL = ("--samples", "3000", "--epochs", "2")


def test_cluster_job(tmp_path: Path) -> None:
    """Stopped on a cluster, the job is ended without one, and the other way round: loss and weights are the same."""
    serial = run("cluster_job", *SMALL, "--serial", "--checkpoint", "serial.npz", cwd=tmp_path)
    assert "checksum" in serial
    with nodes(2) as cluster:
        job = ("--address", cluster.address, "--checkpoint", "job.npz")
        assert "stopped after 30" in run("cluster_job", *SMALL, *job, "--stop-after", "30", cwd=tmp_path)
        resumed = run("cluster_job", *SMALL, "--serial", "--checkpoint", "job.npz", cwd=tmp_path)
        on_cluster = run("cluster_job", *SMALL, *job[:2], "--checkpoint", "other.npz", cwd=tmp_path)
    assert on_cluster == serial
    assert resumed.splitlines()[0] == "going on in epoch 0"
    assert resumed.splitlines()[-1] == serial.splitlines()[-1]

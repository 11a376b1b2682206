"""Train on a Ray cluster, and go on where it was stopped: ``python cluster_job.py --address auto``.

Batches are prepared by all nodes. The state lies in a file: run it again, on any number of nodes, or on none
(``--serial``), and it goes on with the very next batch.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

import batchup
from batchup import ArrayDataSource
from batchup.work_pool import WorkerRayPool

CLASSES = 10


def made_up_data(samples: int) -> tuple[Any, Any]:
    """Return images of ten kinds, with noise, and their kinds."""
    rng = np.random.default_rng(0)
    kinds = rng.integers(CLASSES, size=samples)
    return rng.normal(size=(CLASSES, 32 * 32))[kinds] + rng.normal(0, 2, (samples, 32 * 32)), kinds


def augment(batch_X: Any, batch_y: Any, rng: np.random.Generator) -> Any:
    """Add noise: the same on any node, for it follows from the seed, the epoch and the batch."""
    return (batch_X + rng.normal(0, 0.5, batch_X.shape)).astype(np.float32), batch_y


def train_step(weights: Any, batch_X: Any, batch_y: Any) -> float:
    """Make a step of softmax regression; return the loss."""
    scores = batch_X @ weights
    scores = np.exp(scores - scores.max(axis=1, keepdims=True))
    shares = scores / scores.sum(axis=1, keepdims=True)
    loss = -np.log(shares[np.arange(len(batch_y)), batch_y] + 1e-9).mean()
    shares[np.arange(len(batch_y)), batch_y] -= 1
    weights -= 0.01 * batch_X.T @ shares / len(batch_y)
    return float(loss)


@contextlib.contextmanager
def pool_of(arguments: argparse.Namespace) -> Iterator[WorkerRayPool | None]:
    """Yield the pool that the command line asks for."""
    if arguments.serial:
        yield None
    else:
        with WorkerRayPool(arguments.workers, arguments.address) as pool:
            yield pool


def save(path: Path, weights: Any, state: dict[str, Any]) -> None:
    """Keep where the training is, whole or not at all."""
    partial = path.with_suffix(".partial")
    with partial.open("wb") as file:
        np.savez(file, weights=weights, state=json.dumps(state))
        file.flush()
        os.fsync(file.fileno())
    os.replace(partial, path)


def main() -> None:
    """Train for some epochs, from where the file says."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", help="'auto' or host:port; without it a cluster of this machine is started")
    parser.add_argument("--workers", type=int, help="as many as there are processors, by default")
    parser.add_argument("--serial", action="store_true", help="without any workers")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--stop-after", type=int, default=-1, help="batches after which to stop, as if it were killed")
    parser.add_argument("--checkpoint", type=Path, default=Path("cluster_job.npz"))
    arguments = parser.parse_args()

    ds = ArrayDataSource([*made_up_data(arguments.samples)]).map(augment)
    weights = np.zeros((32 * 32, CLASSES), np.float32)
    step = 0
    with pool_of(arguments) as pool, batchup.loader(ds, 128, shuffle=1234, pool=pool) as batches:
        if arguments.checkpoint.exists():
            with np.load(arguments.checkpoint) as kept:
                weights = kept["weights"]
                batches.load_state_dict(json.loads(str(kept["state"])))
            print(f"going on in epoch {batches.state_dict()['epoch']}")
        for epoch in range(int(batches.state_dict().get("epoch", 0)), arguments.epochs):
            loss = 0.0
            for batch_X, batch_y in batches:
                loss = train_step(weights, batch_X, batch_y)
                step += 1
                if step % 20 == 0:
                    save(arguments.checkpoint, weights, batches.state_dict())
                if step == arguments.stop_after:
                    print(f"stopped after {step} batches")
                    return
            print(f"epoch {epoch}: loss {loss:.6f}")
    print(f"checksum of the weights: {float(np.abs(weights).sum()):.4f}")


if __name__ == "__main__":
    main()

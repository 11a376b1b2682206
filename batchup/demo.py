"""Train a small network on real handwritten digits: batchup's main job, on one page."""

from __future__ import annotations

import hashlib
import json
import os
from itertools import islice, pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from batchup.data_source import ArrayDataSource
from batchup.errors import MissingExtraError
from batchup.sampling import WeightedSampler, split

Array = NDArray[Any]
SEED = 1234
BATCH_SIZE = 64
CHECKPOINT = Path("batchup-demo.npz")
BESIDE = CHECKPOINT.with_suffix(".part.npz")
SAVE_EVERY = 10


def load_digits() -> tuple[Array, Array]:
    """Return the 1,797 images of 8x8 pixels, scaled to 0..1, and the digits that they show."""
    try:
        from sklearn import datasets
    except ImportError as error:
        raise MissingExtraError('the demo needs scikit-learn: pip install "batchup[demo]"') from error
    digits = datasets.load_digits()
    return digits.images.astype(np.float32) / 16, digits.target


class Network:
    """Two layers with a ReLU between them, trained by gradient descent with momentum."""

    def __init__(self, sizes: tuple[int, int, int] = (64, 96, 10)) -> None:
        rng = np.random.default_rng(SEED)
        self.weights = [rng.normal(0, np.sqrt(2 / n), (n, m)).astype(np.float32) for n, m in pairwise(sizes)]
        self.biases = [np.zeros(m, np.float32) for m in sizes[1:]]
        self.speeds = [np.zeros_like(p) for p in self.weights + self.biases]

    def parameters(self) -> list[Array]:
        """Return all that a training step changes."""
        return [*self.weights, *self.biases, *self.speeds]

    def digest(self) -> str:
        """Return a few characters that tell one set of weights from another."""
        return hashlib.sha256(b"".join(p.tobytes() for p in self.parameters())).hexdigest()[:12]

    def forward(self, X: Array) -> tuple[Array, Array]:
        """Return the hidden layer and the probability of each class."""
        hidden = np.maximum(X.reshape(len(X), -1) @ self.weights[0] + self.biases[0], 0)
        scores = hidden @ self.weights[1] + self.biases[1]
        exp = np.exp(scores - scores.max(axis=1, keepdims=True))
        return hidden, exp / exp.sum(axis=1, keepdims=True)

    def train(self, X: Array, y: Array, rate: float) -> tuple[float, int]:
        """Take one step; return the mean loss and the number of right answers before it."""
        hidden, p = self.forward(X)
        loss, right = float(log_loss(p, y).mean()), int((p.argmax(axis=1) == y).sum())
        error = (p - np.eye(10, dtype=np.float32)[y]) / len(X)
        back = error @ self.weights[1].T * (hidden > 0)
        gradients = [X.reshape(len(X), -1).T @ back, hidden.T @ error, back.sum(axis=0), error.sum(axis=0)]
        for parameter, speed, gradient in zip(self.weights + self.biases, self.speeds, gradients, strict=True):
            speed *= 0.9
            speed -= rate * gradient
            parameter += speed
        return loss, right


def log_loss(p: Array, y: Array) -> Array:
    """Return the loss of each sample."""
    losses: Array = -np.log(p[np.arange(len(y)), y] + 1e-9)
    return losses


def confusion(truth: Array, predicted: Array) -> str:
    """Return a table: a row for each digit, with what it was taken for."""
    counts = np.zeros((10, 10), int)
    np.add.at(counts, (truth, predicted), 1)
    head = "     " + " ".join(f"{digit:3d}" for digit in range(10))
    rows = [f"{digit:3d}  " + " ".join(f"{n:3d}" if n else "  ." for n in row) for digit, row in enumerate(counts)]
    return "\n".join([head, *rows])


def augment(batch_X: Array, batch_y: Array, rng: np.random.Generator) -> tuple[Array, Array]:
    """Move some digits by a pixel; a batch is ours to write into, and `rng` is the same whenever it is made."""
    for axis in (1, 2):
        moved = rng.random(len(batch_X)) < 0.3
        batch_X[moved] = np.roll(batch_X[moved], rng.choice([-1, 1]), axis=axis)
    return batch_X, batch_y


def save(network: Network, epoch: int, state: dict[str, Any]) -> None:
    """Write a checkpoint beside its name, then give it its name: it is whole, or it is not there."""
    with BESIDE.open("wb") as file:
        np.savez(file, *network.parameters(), run=json.dumps({"epoch": epoch, "state": state}))
        file.flush()
        os.fsync(file.fileno())
    BESIDE.replace(CHECKPOINT)


def load(network: Network) -> tuple[int, Any]:
    """Take over the checkpoint, if there is one; return the epoch, and the state of its batches."""
    if not CHECKPOINT.exists():
        return 0, None
    with np.load(CHECKPOINT, allow_pickle=False) as saved:
        for i, parameter in enumerate(network.parameters()):
            parameter[...] = saved[f"arr_{i}"]
        run = json.loads(str(saved["run"]))
    return run["epoch"], run["state"]


def main(epochs: int = 15, resume: bool = False) -> float:
    """Train, evaluate and predict; return the share of the test digits that was read correctly."""
    X, y = load_digits()
    train, test = split(len(X), [0.8, 0.2], stratify=y, seed=SEED)

    # Draw every digit equally often, however many of it there are, and move some of them by a pixel.
    sampler = WeightedSampler.class_balancing_sampler(y[train])
    train_ds = ArrayDataSource([X[train], y[train]], sampler=sampler).map(augment)

    network = Network()
    first_epoch, state = load(network) if resume else (0, None)
    n_batches = 4 * len(train) // BATCH_SIZE
    for epoch in range(first_epoch, epochs):
        batches = train_ds.batch_iterator(BATCH_SIZE, shuffle=SEED, epoch=epoch)
        if state is not None:
            batches.load_state_dict(state)
        done, state = batches.position, None
        loss = right = 0.0
        with tqdm(islice(batches, n_batches - done), f"epoch {epoch + 1:2d}/{epochs}", n_batches, initial=done) as bar:
            for step, (batch_X, batch_y) in enumerate(bar, start=1):
                step_loss, step_right = network.train(batch_X, batch_y, rate=0.05 * (1 - epoch / epochs))
                loss, right = loss + step_loss, right + step_right
                bar.set_postfix(loss=f"{loss / step:.3f}", accuracy=f"{right / step / BATCH_SIZE:.1%}", refresh=False)
                if batches.position % SAVE_EVERY == 0:
                    save(network, epoch, batches.state_dict())
    CHECKPOINT.unlink(missing_ok=True)
    BESIDE.unlink(missing_ok=True)

    def evaluate(batch_X: Array, batch_y: Array) -> list[float]:
        _, p = network.forward(batch_X)
        return [float(log_loss(p, batch_y).sum()), float((p.argmax(axis=1) == batch_y).sum())]

    test_loss, accuracy = ArrayDataSource([X[test], y[test]]).batch_map_mean(evaluate, batch_size=256)
    (predicted,) = ArrayDataSource([X[test]]).batch_map_concat(lambda X: network.forward(X)[1].argmax(axis=1), 256)

    print(f"\ntest loss {test_loss:.3f}, test accuracy {accuracy:.2%} on {len(test)} digits")
    print(f"digest of the weights {network.digest()} (the same after a kill and --resume)\n")
    print("what was taken for what (rows: the digit; columns: what the network read)")
    print(confusion(y[test], predicted))
    return float(accuracy)


if __name__ == "__main__":
    main()

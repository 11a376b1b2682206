"""Train on handwritten digits that are read from TFRecord files, item by item; leave it in the middle, and go on.

    python examples/lazy_pipeline.py [FOLDER]

The files go into FOLDER, or into a temporary folder. Neither writing nor reading them needs TensorFlow.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup import Dataset

try:
    from sklearn.datasets import load_digits
except ImportError as error:
    raise SystemExit('this example needs scikit-learn and crc32c: pip install "batchup[demo,tfrecord]"') from error

EPOCHS = 5
BATCH_SIZE = 32
SHARDS = 4
TRAIN = 1437  # of 1,797 images


def write(folder: Path) -> None:
    """Write the digits to files: some shards to train on, and one to test with."""
    data = load_digits()
    digits = Dataset(image=data.images.astype(np.uint8), label=data.target).shuffle(seed=1)
    train, test = digits.take(TRAIN), digits.skip(TRAIN)
    for shard in range(SHARDS):
        train[shard::SHARDS].write.tfrecord(folder / f"train-{shard}.tfrecord", compression="gzip")
    test.write.tfrecord(folder / "test.tfrecord", compression="gzip")
    size = sum(path.stat().st_size for path in folder.glob("*.tfrecord"))
    print(f"wrote {len(train):,} and {len(test)} digits to {SHARDS + 1} files, {size:,} bytes")


def read(pattern: Path) -> Dataset:
    """Return the digits of some files: images between 0 and 1, and labels."""
    records = Dataset.read.tfrecord(pattern, keys=["image", "label"], compression="gzip")
    return records.starmap(lambda image, label: (image.reshape(8, 8).astype(np.float32) / 16, label[0]))


def moved(item: Any, rng: np.random.Generator) -> Any:
    """Return an image moved by a pixel at most, with its label."""
    image, label = item
    return np.roll(image, rng.integers(-1, 2), axis=rng.integers(2)), label


class Softmax:
    """A linear classifier, trained by gradient descent."""

    def __init__(self) -> None:
        self.weights = np.zeros((65, 10))

    def scores(self, images: NDArray[Any]) -> NDArray[Any]:
        """Return a score for each class."""
        pixels = images.reshape(len(images), -1)
        scores: NDArray[Any] = pixels @ self.weights[:-1] + self.weights[-1]
        return scores

    def train(self, images: NDArray[Any], labels: NDArray[Any]) -> float:
        """Take one step; return the mean loss before it."""
        scores = self.scores(images)
        chances = np.exp(scores - scores.max(axis=1, keepdims=True))
        chances /= chances.sum(axis=1, keepdims=True)
        rows = np.arange(len(labels))
        loss = -np.log(chances[rows, labels]).mean()
        chances[rows, labels] -= 1
        pixels = np.hstack([images.reshape(len(images), -1), np.ones((len(images), 1))])
        self.weights -= 0.2 * pixels.T @ chances / len(labels)
        return float(loss)

    def accuracy(self, batches: Dataset) -> float:
        """Return the share of images that are read correctly."""
        right = [self.scores(images).argmax(axis=1) == labels for images, labels in batches]
        return float(np.concatenate(right).mean())


def steps(model: Softmax, items: Iterator[Any]) -> list[float]:
    """Train on what is left of a pass; return the losses."""
    return [model.train(images, labels) for images, labels in items]


def main(folder: Path) -> None:
    """Write, read, train; leave an epoch in the middle and come to the same weights."""
    write(folder)
    train = read(folder / "train-*.tfrecord").map(moved, seed=1, num_threads=2).shuffle(seed=2).batch(BATCH_SIZE)
    test = read(folder / "test.tfrecord").batch(256)
    train.explain()

    model = Softmax()
    for epoch in range(EPOCHS):
        losses = steps(model, iter(train.epoch(epoch)))
        print(f"epoch {epoch}: {len(losses)} batches, loss {np.mean(losses):.3f}, accuracy {model.accuracy(test):.1%}")

    again = Softmax()
    for epoch in range(EPOCHS - 1):
        steps(again, iter(train.epoch(epoch)))
    with iter(train.epoch(EPOCHS - 1)) as left:
        for _ in range(20):
            again.train(*next(left))
        state = json.dumps(left.state_dict())  # to be kept beside the weights
    resumed = iter(train)
    resumed.load_state_dict(json.loads(state))
    print(f"the same from {len(state)} characters of state: {len(steps(again, resumed))} batches were left")
    print(f"the same weights: {np.array_equal(model.weights, again.weights)}")


if __name__ == "__main__":
    if len(sys.argv) > 1:
        main(Path(sys.argv[1]))
    else:
        with tempfile.TemporaryDirectory() as temporary:
            main(Path(temporary))

"""Make a data set of one's own out of a file: converted once, opened at once ever after, scaled while it is read.

    python examples/own_dataset.py [FOLDER]

The file is one of handwritten digits that comes with scikit-learn. Data go into FOLDER, or into a temporary folder.
"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

import numpy as np

from batchup import ArrayDataSource, split
from batchup.columns import ScaledArray
from batchup.datasets import CopySourceFile, fetch_and_convert_dataset

try:
    import sklearn.datasets
except ImportError as error:
    raise SystemExit('this example needs scikit-learn: pip install "batchup[demo]"') from error

EPOCHS = 20
BATCH_SIZE = 64
DIGITS = Path(sklearn.datasets.__file__).parent / "data" / "digits.csv.gz"


@fetch_and_convert_dataset([CopySourceFile("digits.csv.gz", source_path=DIGITS)], "digits")
def fetch_digits(source_paths: list[str], target_path: str) -> str:
    """Make a folder of arrays: images (n, 1, 8, 8) of uint8, and the digits that they show."""
    print("converting, once")
    table = np.loadtxt(source_paths[0], delimiter=",", dtype=np.uint8)
    folder = Path(target_path)
    folder.mkdir()
    np.save(folder / "X_u8.npy", table[:, :-1].reshape(-1, 1, 8, 8) * 15)  # from 0 to 240
    np.save(folder / "y.npy", table[:, -1].astype(np.int32))
    return target_path


def main() -> None:
    """Open the data set twice; train on it by softmax regression, and test."""
    for _ in range(2):
        folder = Path(fetch_digits())
    X = ScaledArray(np.load(folder / "X_u8.npy", mmap_mode="r"), 0, 255 / 240)
    y = np.load(folder / "y.npy")
    print(f"{len(X):,} images of {X.shape[1:]}, {X.dtype}, from {X[:100].min():.1f} to {X[:100].max():.1f}")

    train, test = split(len(y), [0.8, 0.2], stratify=y, seed=1)
    weights = np.zeros((64, 10), np.float32)
    digits = ArrayDataSource([X, y], indices=train)
    for epoch in range(EPOCHS):
        for batch_X, batch_y in digits.batch_iterator(BATCH_SIZE, shuffle=1234, epoch=epoch):
            flat = batch_X.reshape(len(batch_X), -1)
            shares = np.exp(flat @ weights)
            shares /= shares.sum(axis=1, keepdims=True)
            weights -= 0.3 / len(flat) * flat.T @ (shares - np.eye(10, dtype=np.float32)[batch_y])
    right = (X[test].reshape(len(test), -1) @ weights).argmax(axis=1) == y[test]
    print(f"{right.mean():.1%} of {len(test)} others are told right")


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        os.environ["BATCHUP_HOME"] = os.path.abspath(sys.argv[1]) if len(sys.argv) > 1 else temporary
        main()

"""The examples that users of batchup 0.2 know run as they stand, but for a table of what never ran or is gone."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tqdm

from batchup import data_source, sampling

PAGE = (Path(__file__).parent / "data" / "batchup_0_2_examples.md").read_text()
BLOCKS = re.findall(r"```py3\n(.*?)```", PAGE, re.DOTALL)

NOTE = "seen.append({name: value for name, value in globals().items() if name.startswith('batch_')})"
REPLACED = [
    # a loop needs a body: note the batch
    ("# Processes batches here...", NOTE),
    ("# Process batches here...", NOTE),
    # a slip: the images are to be flipped, not the flags
    ("= flip_flags[flip_flags, :, :, ::-1]", "= batch_X[flip_flags, :, :, ::-1]"),
    # SciPy has no imread any more; the images of the test are .npy files
    ("from scipy.misc import imread", "from numpy import load as imread"),
    ("glob.glob('/path/to/my/images/*.jpg')", "sorted(glob.glob(str(images / '*.npy')))"),
    # Python 3 has no long
    ("(int, long)", "int"),
    # slips: one bracket too few, one too many
    ("'not a {}'.format(type(index))\n", "'not a {}'.format(type(index)))\n"),
    ("for p in image_paths)]", "for p in image_paths]"),
]


def f_pred(batch_X: Any) -> Any:
    return batch_X.sum(axis=(1, 2, 3))


def f_eval(batch_X: Any, batch_y: Any) -> list[Any]:
    return [np.abs(batch_X.mean(axis=(1, 2, 3)) - batch_y).sum(), (batch_y == 1).sum()]


def page(images: Path) -> dict[str, Any]:
    """Return what the page takes for granted, with images of cats (even) and dogs (odd) in a folder."""
    rng = np.random.RandomState(1)
    for i in range(20):
        np.save(images / f"{'dog' if i % 2 else 'cat'}{i:02}.npy", np.full((4, 5), i))
    return {
        "np": np,
        "tqdm": tqdm,
        "data_source": data_source,
        "sampling": sampling,
        "images": images,
        "seen": [],
        "train_X": np.arange(25_000 * 4.0, dtype=np.float32).reshape(25_000, 1, 2, 2),
        "train_y": np.arange(25_000) % 7 % 3,
        "train_w": rng.random_sample(25_000),
        "lab_X": np.arange(30 * 2.0).reshape(30, 2),
        "lab_y": np.arange(30),
        "unlab_X": np.arange(500),
        "test_X": rng.random_sample((600, 1, 2, 2)),
        "val_X": rng.random_sample((600, 1, 2, 2)),
        "val_y": np.arange(600) % 3,
        "modify_weights": lambda weights: weights * np.arange(1, 25_001),
        "f_pred": f_pred,
        "f_eval": f_eval,
    }


def code_of(number: int) -> str:
    code = BLOCKS[number]
    for old, new in REPLACED:
        code = code.replace(old, new)
    return code


def first_sample(names: dict[str, Any]) -> np.ndarray[Any, Any]:
    """Return the number that each image of `train_X` begins with, over 4: its index."""
    return np.concatenate([batch["batch_X"][:, 0, 0, 0] / 4 for batch in names["seen"]]).astype(int)


def whole_epoch(names: dict[str, Any]) -> None:
    assert first_sample(names).tolist() == np.random.RandomState(12345).permutation(25_000).tolist()
    assert all((b["batch_y"] == (b["batch_X"][:, 0, 0, 0] // 4) % 7 % 3).all() for b in names["seen"])
    assert [len(b["batch_y"]) for b in names["seen"]] == [64] * 390 + [40]


def subset(names: dict[str, Any]) -> None:
    order = np.random.RandomState(12345).permutation(20_000)
    assert first_sample(names).tolist() == names["subset_a"][order].tolist()


def augmented(names: dict[str, Any]) -> None:
    images = np.concatenate([batch["batch_X"] for batch in names["seen"]])
    flipped = images[:, 0, 0, 0] > images[:, 0, 0, 1]
    assert 0.45 < flipped.mean() < 0.55
    images[flipped] = images[flipped][:, :, :, ::-1].copy()
    assert images.tolist() == names["train_X"][np.random.RandomState(12345).permutation(25_000)].tolist()
    assert names["train_X"].ravel().tolist() == list(range(100_000))


def with_indices(names: dict[str, Any]) -> None:
    indices = np.concatenate([batch["batch_ndx"] for batch in names["seen"]])
    assert first_sample(names).tolist() == indices.tolist()
    whole_epoch(names)


def endless(names: dict[str, Any]) -> None:
    batches = names["ds"].batch_iterator(batch_size=64, shuffle=np.random.RandomState(12345))
    assert sum(len(batch_y) for (_, batch_y), _ in zip(batches, range(400), strict=False)) == 64 * 400


def nothing_yet(names: dict[str, Any]) -> None:
    assert len(names["weights"]) == 25_000


def drawn(weights: Callable[[dict[str, Any]], Any], indices: Callable[[dict[str, Any]], Any]) -> Any:
    """Return a check of the first batches of an endless loop against `choice`."""

    def check(names: dict[str, Any]) -> None:
        rng, p = np.random.RandomState(12345), weights(names)
        for batch in names["seen"]:
            places = rng.choice(len(p), size=64, p=p / p.sum())
            assert (batch["batch_X"][:, 0, 0, 0] / 4).tolist() == indices(names)[places].tolist()

    return check


def everything(names: dict[str, Any]) -> Any:
    return np.arange(25_000)


def balancing(names: dict[str, Any]) -> Any:
    return 1 / (np.bincount(names["train_y"])[names["train_y"]] * 3)


def semi_supervised(names: dict[str, Any]) -> None:
    unlabelled = np.concatenate([batch["batch_unlab_X"] for batch in names["seen"]])
    assert sorted(unlabelled.tolist()) == list(range(500))
    for batch in names["seen"]:
        assert (batch["batch_lab_X"][:, 0] == batch["batch_lab_y"] * 2).all()
    lengths = [(len(batch["batch_lab_y"]), len(batch["batch_unlab_X"])) for batch in names["seen"]]
    assert lengths[:-1] == [(64, 64)] * 7
    assert lengths[-1][1] == 52


def from_disk(names: dict[str, Any]) -> None:
    for batch in names["seen"]:
        for image, dog in zip(batch["batch_X"], batch["batch_y"], strict=True):
            assert image.shape == (4, 5)
            assert dog == image[0, 0] % 2
    order = [int(image[0, 0]) for batch in names["seen"] for image in batch["batch_X"]]
    assert sorted(order) == list(range(20))
    assert order != sorted(order)
    for index in (3, slice(2, 9), np.array([5, 1])):  # what the page says an array-like takes
        assert np.array_equal(names["train_X"][index], names["train_X"][np.arange(20)][index])


def predicted(names: dict[str, Any]) -> None:
    np.testing.assert_allclose(names["pred_y"], names["test_X"].sum(axis=(1, 2, 3)))


def evaluated(names: dict[str, Any]) -> None:
    X, y = names["val_X"], names["val_y"]
    np.testing.assert_allclose(names["mean_log_loss"], np.abs(X.mean(axis=(1, 2, 3)) - y).mean())
    np.testing.assert_allclose(names["mean_err_rate"], 1 / 3)


CHECKS: list[Callable[[dict[str, Any]], None]] = [
    whole_epoch,
    subset,
    augmented,
    with_indices,
    endless,
    drawn(lambda names: names["train_w"], everything),
    drawn(lambda names: names["train_w"][names["subset_a"]], lambda names: names["subset_a"]),
    drawn(balancing, everything),
    drawn(lambda names: balancing(names) * np.arange(1, 25_001), everything),
    semi_supervised,
    semi_supervised,
    semi_supervised,
    from_disk,
    predicted,
    predicted,
    evaluated,
]


class EnoughError(Exception):
    """Leaves a loop that never ends."""


class Seen(list[Any]):
    """Notes batches; of endless loops only the first 50."""

    endless = False

    def append(self, batch: Any) -> None:
        super().append({name: value.copy() for name, value in batch.items() if hasattr(value, "copy")})
        if self.endless and len(self) == 50:
            raise EnoughError


def run(number: int, names: dict[str, Any]) -> None:
    names["seen"] = Seen()
    names["seen"].endless = "sampler=" in BLOCKS[number]
    state = np.random.get_state()
    np.random.seed(5)  # the page draws subsets and flips from the global generator
    try:
        exec(compile(code_of(number), f"example {number}", "exec"), names)
    except EnoughError:
        pass
    finally:
        np.random.set_state(state)


def test_every_example_has_a_check() -> None:
    """No example is left out, and nothing is replaced that is not there."""
    assert len(BLOCKS) == len(CHECKS) == 16
    assert [old for old, _ in REPLACED if not any(old in block for block in BLOCKS)] == []


# the examples that others build on
NEEDED = {6: [1], 10: [9], 11: [9, 10], 14: [13]}


@pytest.mark.parametrize("number", range(len(BLOCKS)))
def test_example(number: int, tmp_path: Path) -> None:
    """An example runs behind those that it builds on, and does what its page says."""
    names = page(tmp_path)
    for earlier in [*NEEDED.get(number, []), number]:
        run(earlier, names)
    CHECKS[number](names)

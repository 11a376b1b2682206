"""The examples of standard data sets that users of batchup 0.2 know run as they stand, over a server on loopback."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from batchup import config

from . import archives
from .web import Server

PAGE = (Path(__file__).parent / "data" / "batchup_0_2_datasets.md").read_text()
BLOCKS = dict(re.findall(r"#### (\S+) dataset\n```py3\n(.*?)```", PAGE, re.DOTALL))
ENOUGH = {"mnist": 10_050, "svhn": 10_040, "cifar10": 5_030, "cifar100": 5_020, "stl": 40, "usps": 760}  # samples
VALIDATION = {"mnist": 10_000, "svhn": 10_000, "cifar10": 5_000, "cifar100": 5_000, "stl": 8, "usps": 729}
MODULES = {
    "MNIST": "mnist",
    "SVHN": "svhn",
    "CIFAR-10": "cifar10",
    "CIFAR-100": "cifar100",
    "STL": "stl",
    "USPS": "usps",
}
SHAPES = {
    "mnist": (1, 28, 28),
    "svhn": (3, 32, 32),
    "cifar10": (3, 32, 32),
    "cifar100": (3, 32, 32),
    "stl": (3, 96, 96),
    "usps": (1, 16, 16),
}


def test_the_page_has_them_all() -> None:
    """There is an example for each data set."""
    assert MODULES.keys() <= BLOCKS.keys()


# what 0.2 does not tell, or has not
BLOCKS["Fashion-MNIST"] = "from batchup.datasets import fashion_mnist\nds = fashion_mnist.FashionMNIST(n_val=10000)"
BLOCKS["SVHN extra"] = "from batchup.datasets import svhn\nds = svhn.SVHNExtra()"


@pytest.mark.parametrize("heading", BLOCKS)
def test_example(heading: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example fetches the data set; it has the attributes, shapes and types that the page promises."""
    name = {**MODULES, "Fashion-MNIST": "fashion_mnist", "SVHN extra": "svhn_extra"}[heading]
    case = archives.CASES[name]
    files, expected = case.files(ENOUGH.get(name, ENOUGH["mnist"]))
    archives.believed(case, files, monkeypatch)
    monkeypatch.setenv("BATCHUP_HOME", str(tmp_path))
    namespace: dict[str, Any] = {}
    with Server({f"{case.folder}/{file}": data for file, data in files.items()}).running() as server:
        monkeypatch.setenv("BATCHUP_MIRROR", server.url)
        exec(BLOCKS[heading], namespace)
        assert sorted(request.path for request in server.requests) == sorted(server.files)
    ds = namespace["ds"]
    if name == "svhn_extra":
        assert (ds.X.shape, ds.X.dtype, ds.y.dtype) == ((10_050, 3, 32, 32), np.float32, np.int32)
    else:
        check_attributes(name, ds, expected)
    exec(BLOCKS[heading], namespace)  # the server is not there any more
    assert repr(namespace["ds"]) == repr(ds)
    assert sorted(path.name for path in Path(config.get_data_dir()).iterdir()) == [name]


def check_attributes(name: str, ds: Any, expected: archives.Arrays) -> None:
    """Check shapes, types, numbers of samples and some of the values."""
    n_val = VALIDATION.get(name, 10_000)
    pixels, dtype = ("_X_u8", np.uint8) if name == "stl" else ("_X", np.float32)
    for part in ("train", "val", "test"):
        X, y = getattr(ds, part + pixels), getattr(ds, f"{part}_y")
        assert X.shape == (len(y), *SHAPES.get(name, (1, 28, 28)))
        assert X.dtype == dtype
        assert y.dtype == np.int32
    assert len(ds.val_y) == n_val
    assert len(ds.test_y) == len(expected["test_y"])
    if name != "stl":
        assert len(ds.train_y) == len(expected["train_y"]) - n_val
        np.testing.assert_array_equal(ds.train_y, expected["train_y"][:-n_val])
        np.testing.assert_array_equal(ds.val_y, expected["train_y"][-n_val:])
    if "train_X_u8" in expected and name != "stl":
        some = expected["train_X_u8"][[3, 1]].astype(np.float32) * np.float32(1 / 255)
        np.testing.assert_array_equal(ds.train_X[[3, 1]], some)
    if name == "cifar100":
        np.testing.assert_array_equal(ds.val_y_coarse, expected["train_y_coarse"][-n_val:])
        assert ds.train_y_coarse.dtype == ds.test_y_coarse.dtype == np.int32
        assert ds.class_names_coarse == archives.COARSE
    assert len(ds.class_names) == (100 if name == "cifar100" else 10)

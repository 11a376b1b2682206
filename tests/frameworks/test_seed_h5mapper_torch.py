"""The examples that users of h5mapper know, as far as they need PyTorch."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from batchup import typed_files as h5m

from ..hsq import child
from ..images import image_folder
from ..test_seed_h5mapper import BLOCKS

NAMES = [f"{kind}/{number:02}.png" for kind in ("cats", "planes") for number in range(40)]


class MyInputFeature(h5m.Image):
    """Stands for a feature of the user's; each image is a row of the dataset."""

    def __init__(self, parameter: int) -> None:
        super().__init__("L")
        self.parameter = parameter

    def load(self, source: str) -> np.ndarray[Any, Any]:
        return super().load(source)[None]


@pytest.mark.parametrize("use", ["a_file_as_a_dataset", "what_is_served"])
def test_with_workers(use: str, tmp_path: Path) -> None:
    """Both examples run in a program of their own: the workers of PyTorch are forked off, beside no other framework."""
    child(f"import sys; from tests.frameworks.test_seed_h5mapper_torch import {use}; {use}(sys.argv[1])", tmp_path)


def a_file_as_a_dataset(folder: str) -> None:
    """Check that a class that is a dataset of PyTorch, too, is read by the processes of a DataLoader."""
    os.chdir(folder)
    sources = image_folder(Path(), NAMES)
    names: dict[str, Any] = {
        "h5m": h5m, "torch": torch, "MyInputFeature": MyInputFeature, "sources": sources, "__name__": "example",
    }  # fmt: skip
    code = BLOCKS[6].replace("pin_memory=True", "pin_memory=False").replace("num_workers=8", "num_workers=2")
    exec(code, names)
    ds = names["ds"]
    assert len(ds) == 80
    found = [(images, labels) for images, labels in names["dl"]]
    assert torch.equal(torch.cat([images for images, _ in found]), torch.from_numpy(ds.x[:]))
    assert torch.equal(torch.cat([labels for _, labels in found]), torch.from_numpy(ds.labels[:]))
    ds.close()


def what_is_served(folder: str) -> None:
    """Check that a batch object comes back with tensors in the place of its inputs, each id once per epoch."""
    os.chdir(folder)
    sources = image_folder(Path(), NAMES)
    schema = {"data": h5m.Group(image=h5m.Image("L"), labels=h5m.DirLabels())}
    h5m.typedfile("Train", schema).create("train.h5", sources, parallelism="threads")
    names: dict[str, Any] = {"h5m": h5m, "TypedFile": h5m.TypedFile}
    exec(BLOCKS[7].replace("num_workers=8", "num_workers=2"), names)
    file = names["f"]
    images, labels = file.data.image[:].reshape(80, 32, 32), file.data.labels[:]
    seen = []
    for batch in names["loader"]:
        assert batch["x"].shape == (len(batch["labels"]), 32, 32)
        for image, label in zip(batch["x"], batch["labels"], strict=True):
            place = int((images == image.numpy()).all((1, 2)).nonzero()[0][0])
            assert labels[place] == label.item()
            seen.append(place)
    assert sorted(seen) == list(range(80))

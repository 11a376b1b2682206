"""WebDataset's tar shards and the package webdataset: each reads what the other writes."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import webdataset as wds
from PIL import Image

from batchup.formats.webdataset.table import read_webdataset, write_webdataset

pytestmark = [  # it leaves its files open
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


def theirs(path: Path) -> list[dict[str, Any]]:
    """Return the samples that webdataset decodes."""
    return list(wds.WebDataset(str(path), shardshuffle=False, empty_check=False).decode("l8"))


def test_read_by_webdataset(tmp_path: Path) -> None:
    """It finds arrays, texts, bytes and images under their keys; our comment is none of its samples."""
    rng = np.random.default_rng(0)
    rows = [
        {"x": rng.random((2, n)), "y": n, "t": f"text {n} ü", "b": bytes([n]), "image": np.full((3, 4), n, np.uint8)}
        for n in range(5)
    ]
    write_webdataset(rows, tmp_path / "a.tar", encode={"image": "png"})
    read = theirs(tmp_path / "a.tar")
    assert [sample["__key__"] for sample in read] == [f"{n:09d}" for n in range(5)]
    for sample, row in zip(read, rows, strict=True):
        np.testing.assert_array_equal(sample["x.npy"], row["x"])
        np.testing.assert_array_equal(sample["image.png"], row["image"])
        assert (int(sample["y.npy"]), sample["t.txt"], sample["b.bin"]) == (row["y"], row["t"], row["b"])
    write_webdataset([], tmp_path / "a.tar")
    assert theirs(tmp_path / "a.tar") == []


def test_written_by_webdataset(tmp_path: Path) -> None:
    """What its writer makes of arrays, texts, classes, JSON and images is read."""
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (8, 8), np.uint8)
    with wds.TarWriter(str(tmp_path / "a.tar.gz")) as writer:
        for n in range(5):
            file = io.BytesIO()
            Image.fromarray(image).save(file, "PNG")
            writer.write(
                {
                    "__key__": f"folder/{n}",
                    "x.npy": np.full((2, n), n),
                    "cls": n,
                    "txt": f"text {n} ü",
                    "json": [n, 0.5],
                    "png": file.getvalue(),
                }
            )
    read = list(read_webdataset(tmp_path / "a.tar.gz", keys=True))
    assert [sample["__key__"] for sample in read] == [f"folder/{n}" for n in range(5)]
    for n, sample in enumerate(read):
        assert (int(sample["cls"]), sample["txt"], sample["json"].tolist()) == (n, f"text {n} ü", [n, 0.5])
        assert sample["x"].tolist() == np.full((2, n), n).tolist()
        np.testing.assert_array_equal(sample["png"], image)

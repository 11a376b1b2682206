"""What is said about chunks: the figures are those of reading, and nothing is said where all is well."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from batchup.columns import chunk_advice
from batchup.columns.advice import decoded


@pytest.mark.parametrize(
    ("length", "rows", "together"), [(10_000, 10, 64), (10_000, 100, 500), (999, 1000, 7), (90, 1, 5)]
)
def test_the_arithmetic(length: int, rows: int, together: int) -> None:
    """Rows decoded for each that is wanted are, on average, those of chunks that random rows touch."""
    rng = np.random.default_rng(0)
    touched = [len(np.unique(rng.integers(0, length, together) // rows)) for _ in range(300)]
    assert decoded(length, rows, together) == pytest.approx(np.mean(touched) * min(rows, length) / together, rel=0.05)


def large(path: Path, mode: str = "r", **options: Any) -> Any:
    """Make a dataset of 2 GB, none of which is written, and open it."""
    with h5py.File(path / "a.h5", "w") as file:
        file.create_dataset("x", (2_600_000, 200), "f4", **options)
    return h5py.File(path / "a.h5", mode)["x"]


@pytest.mark.parametrize(
    ("options", "ratio", "chunks"),
    [
        ({"chunks": (163, 200), "compression": "gzip"}, 31, (20, 200)),
        ({"chunks": (163, 50)}, 31, (20, 200)),
        ({"chunks": (5000, 200), "compression": "lzf"}, 31, (20, 200)),
        ({"chunks": (163, 200), "compression": "gzip", "mode": "r+"}, 162, (20, 200)),
    ],
)
def test_dear_chunks(options: dict[str, Any], ratio: int, chunks: tuple[int, ...], tmp_path: Path) -> None:
    """Chunks that hold many rows, few of which are wanted, are told, with a better shape."""
    advice = chunk_advice(large(tmp_path, **options), batch_size=256)
    assert advice is not None
    assert (round(advice.ratio), advice.chunks) == (ratio, chunks)
    assert advice.better <= advice.ratio
    assert f"chunks={chunks}" in str(advice)


def test_where_all_is_well(tmp_path: Path) -> None:
    """Nothing is said of arrays, of small datasets, of chunks of few rows."""
    assert chunk_advice(np.arange(9)) is None
    assert chunk_advice(large(tmp_path, chunks=(2, 200), compression="gzip")) is None
    with h5py.File(tmp_path / "b.h5", "w") as file:
        file.create_dataset("small", data=np.zeros((1000, 200)), chunks=(500, 200), compression="gzip")
        file.create_dataset("plain", data=np.zeros((100_000, 200)), chunks=(500, 200))
    with h5py.File(tmp_path / "b.h5", "r") as file:
        assert chunk_advice(file["small"]) is None
        assert chunk_advice(file["plain"]) is None
    with pytest.raises(ValueError, match="batch_size"):
        chunk_advice(np.arange(9), 0)

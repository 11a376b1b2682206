"""Folders of real images for the tests."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image
from sklearn.datasets import load_digits


def image_folder(folder: Path, names: list[str], size: int = 32) -> list[str]:
    """Write handwritten digits, enlarged, as images of these names; return the names."""
    digits = load_digits().images
    for number, name in enumerate(names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        grey = np.asarray(digits[number % len(digits)] * 15, np.uint8)
        Image.fromarray(grey).resize((size, size)).save(path)
    return names

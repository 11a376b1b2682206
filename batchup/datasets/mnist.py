"""MNIST: handwritten digits, 60,000 to train on and 10,000 to test, of 28 x 28 pixels."""

from __future__ import annotations

from batchup.datasets import idx
from batchup.datasets.dataset import fetch_and_convert_dataset
from batchup.datasets.splits import ImageDataset

__all__ = ["MNIST", "delete_cache", "fetch_mnist"]

SOURCES = idx.sources_of(
    "mnist",
    [
        "https://ossci-datasets.s3.amazonaws.com/mnist/",
        "https://storage.googleapis.com/cvdf-datasets/mnist/",
    ],
    [
        "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609",
        "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c",
        "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6",
        "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6",
    ],
)


@fetch_and_convert_dataset(SOURCES, "mnist")
def fetch_mnist(source_paths: list[str], target_path: str) -> str:
    """Fetch MNIST if need be, and return the folder that it lies in."""
    return idx.convert(source_paths, target_path)


delete_cache = fetch_mnist.delete_cache


class MNIST(ImageDataset):
    """The handwritten digits of MNIST; images are (1, 28, 28). See `ImageDataset`."""

    _fetch = fetch_mnist
    _class_names = tuple("0123456789")

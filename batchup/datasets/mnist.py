"""MNIST: handwritten digits, 60,000 to train on and 10,000 to test, of 28 x 28 pixels."""

from __future__ import annotations

from batchup.datasets import idx
from batchup.datasets.dataset import fetch_and_convert_dataset
from batchup.datasets.parts import PlainParts

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


def delete_cache() -> None:
    """Remove MNIST from this machine."""
    fetch_mnist.delete_cache()


class MNIST(PlainParts):
    """The handwritten digits of MNIST; see `Parts` for its attributes. Images are (1, 28, 28).

    Parameters
    ----------
    n_val : int or None, default 10000
        How many of the samples to train on, the last ones, are for validation.
    val_lower, val_upper : float, default 0 and 1
        What the pixels 0 and 255 become.

    Raises
    ------
    FetchError
        If it is not on this machine and cannot be fetched; the message says what to do.
    ValueError
        If there are fewer than `n_val` samples.
    """

    def __init__(self, n_val: int | None = 10000, val_lower: float = 0.0, val_upper: float = 1.0) -> None:
        super().__init__(fetch_mnist(), n_val, val_lower, val_upper)
        self.class_names = [str(digit) for digit in range(10)]

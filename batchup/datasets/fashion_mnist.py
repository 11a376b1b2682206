"""Fashion-MNIST: pictures of clothes, in the manner of MNIST."""

from __future__ import annotations

from batchup.datasets import idx
from batchup.datasets.dataset import fetch_and_convert_dataset
from batchup.datasets.splits import ImageDataset

__all__ = ["FashionMNIST", "delete_cache", "fetch_fashion_mnist"]

SOURCES = idx.sources_of(
    "fashion_mnist",
    ["http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/"],
    [
        "3aede38d61863908ad78613f6a32ed271626dd12800ba2636569512369268a84",
        "a04f17134ac03560a47e3764e11b92fc97de4d1bfaf8ba1a3aa29af54cc90845",
        "346e55b948d973a97e58d2351dde16a484bd415d4595297633bb08f03db6a073",
        "67da17c76eaffca5446c3361aaab5c3cd6d1c2608764d35dfb1850b086bf8dd5",
    ],
)


@fetch_and_convert_dataset(SOURCES, "fashion_mnist")
def fetch_fashion_mnist(source_paths: list[str], target_path: str) -> str:
    """Fetch Fashion-MNIST if need be, and return the folder that it lies in."""
    return idx.convert(source_paths, target_path)


delete_cache = fetch_fashion_mnist.delete_cache


class FashionMNIST(ImageDataset):
    """The clothes of Fashion-MNIST; images are (1, 28, 28). See `ImageDataset`."""

    _fetch = fetch_fashion_mnist
    _class_names = (
        *("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat"),
        *("Sandal", "Shirt", "Sneaker", "Bag", "Ankle boot"),
    )

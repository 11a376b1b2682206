"""Standard data sets, fetched once and opened at once ever after; and the same machinery for one's own.

>>> from batchup.datasets import mnist
>>> mnist.SOURCES[0].filename
'train-images-idx3-ubyte.gz'
"""

from batchup.datasets.cifar10 import CIFAR10
from batchup.datasets.cifar100 import CIFAR100
from batchup.datasets.dataset import (
    AbstractSourceFile,
    CopySourceFile,
    DownloadSourceFile,
    ExistingSourceFile,
    FetchedDataset,
    delete_dataset_cache,
    fetch_and_convert_dataset,
)
from batchup.datasets.fashion_mnist import FashionMNIST
from batchup.datasets.mnist import MNIST
from batchup.datasets.splits import ImageDataset, ImageSplits
from batchup.datasets.stl import STL
from batchup.datasets.svhn import SVHN, SVHNExtra
from batchup.datasets.usps import USPS

__all__ = [  # noqa: RUF022  in the order of the alphabet
    "AbstractSourceFile",
    "CIFAR10",
    "CIFAR100",
    "CopySourceFile",
    "DownloadSourceFile",
    "ExistingSourceFile",
    "FashionMNIST",
    "FetchedDataset",
    "ImageDataset",
    "ImageSplits",
    "MNIST",
    "STL",
    "SVHN",
    "SVHNExtra",
    "USPS",
    "delete_dataset_cache",
    "fetch_and_convert_dataset",
]

"""The standard data sets by name, and what is on this machine of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

from batchup.datasets import cifar10, cifar100, fashion_mnist, mnist, stl, svhn, usps
from batchup.datasets.dataset import FetchedDataset
from batchup.errors import InvalidValueError


class Standard(NamedTuple):
    """A standard data set.

    Attributes
    ----------
    fetch : FetchedDataset
        What brings it here.
    opened : callable
        Opens all of it, without validation samples.
    what : str
        What it is.
    """

    fetch: FetchedDataset
    opened: Callable[[], Any]
    what: str


STANDARD = {
    "mnist": Standard(mnist.fetch_mnist, lambda: mnist.MNIST(n_val=0), "handwritten digits, 28 x 28"),
    "fashion_mnist": Standard(
        fashion_mnist.fetch_fashion_mnist, lambda: fashion_mnist.FashionMNIST(n_val=0), "clothes, 28 x 28"
    ),
    "svhn": Standard(svhn.fetch_svhn_train_test, lambda: svhn.SVHN(n_val=0), "house numbers, 32 x 32, colour"),
    "svhn_extra": Standard(svhn.fetch_svhn_extra, svhn.SVHNExtra, "more house numbers, easier ones"),
    "cifar10": Standard(cifar10.fetch_cifar10, lambda: cifar10.CIFAR10(n_val=0), "10 kinds of things, 32 x 32, colour"),
    "cifar100": Standard(
        cifar100.fetch_cifar100, lambda: cifar100.CIFAR100(n_val=0), "100 kinds of things, 32 x 32, colour"
    ),
    "stl": Standard(stl.fetch_stl, lambda: stl.STL(n_val_folds=0), "10 kinds of things, 96 x 96, colour"),
    "usps": Standard(usps.fetch_usps, lambda: usps.USPS(n_val=0), "handwritten digits, 16 x 16"),
}


def standard(name: str) -> Standard:
    """Return a standard data set by its name.

    Raises
    ------
    InvalidValueError
        If there is none of that name.
    """
    if name not in STANDARD:
        raise InvalidValueError(f"there is no data set {name!r}: there are {', '.join(STANDARD)}")
    return STANDARD[name]


def size_of(path: str) -> int:
    """Return how many bytes a folder has, with all in it."""
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)


def listed() -> list[tuple[str, str, str, str]]:
    """Return a table of the standard data sets: name, bytes on this machine, samples, and what it is."""
    rows = []
    for name, one in STANDARD.items():
        there = one.fetch.is_there()
        size = f"{size_of(one.fetch.target_path) / 1e6:,.1f} MB" if there else "-"
        rows.append((name, size, counts_of(one.opened()) if there else "-", one.what))
    return rows


def counts_of(data: Any) -> str:
    """Return how many samples a data set has, as its `repr` tells them."""
    return repr(data).rpartition("# ")[2].replace(", 0 val", "")

"""The standard data sets by name, and what is on this machine of them."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, NamedTuple

from batchup.datasets import cifar10, cifar100, fashion_mnist, mnist, stl, svhn, usps
from batchup.datasets.dataset import FetchedDataset
from batchup.errors import BatchUpError, InvalidValueError


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
    "mnist": Standard(mnist.fetch_mnist, partial(mnist.MNIST, 0), "handwritten digits, 28 x 28"),
    "fashion_mnist": Standard(
        fashion_mnist.fetch_fashion_mnist, partial(fashion_mnist.FashionMNIST, 0), "clothes, 28 x 28"
    ),
    "svhn": Standard(svhn.fetch_svhn_train_test, partial(svhn.SVHN, 0), "house numbers, 32 x 32, colour"),
    "svhn_extra": Standard(svhn.fetch_svhn_extra, svhn.SVHNExtra, "more house numbers, easier ones"),
    "cifar10": Standard(cifar10.fetch_cifar10, partial(cifar10.CIFAR10, 0), "10 kinds of things, 32 x 32, colour"),
    "cifar100": Standard(
        cifar100.fetch_cifar100, partial(cifar100.CIFAR100, 0), "100 kinds of things, 32 x 32, colour"
    ),
    "stl": Standard(stl.fetch_stl, partial(stl.STL, 0), "10 kinds of things, 96 x 96, colour"),
    "usps": Standard(usps.fetch_usps, partial(usps.USPS, 0), "handwritten digits, 16 x 16"),
}


def standard(names: Iterable[str]) -> dict[str, Standard]:
    """Return standard data sets by their names.

    Raises
    ------
    InvalidValueError
        If there is none of a name.
    """
    for name in names:
        if name not in STANDARD:
            raise InvalidValueError(f"there is no data set {name!r}: there are {', '.join(STANDARD)}")
    return {name: STANDARD[name] for name in names}


def there() -> list[str]:
    """Return the names of those that are on this machine."""
    return [name for name, one in STANDARD.items() if one.fetch.is_there()]


def size_of(path: str) -> int:
    """Return how many bytes a folder has, with all in it."""
    return sum(os.path.getsize(os.path.join(folder, name)) for folder, _, names in os.walk(path) for name in names)


def listed() -> list[tuple[str, str, str, str]]:
    """Return a table of the standard data sets: name, bytes on this machine, samples, and what it is."""
    return [(name, *_state_of(one), one.what) for name, one in STANDARD.items()]


def _state_of(one: Standard) -> tuple[str, str]:
    if not one.fetch.is_there():
        return "-", "-"
    size = f"{size_of(one.fetch.target_path) / 1e6:,.1f} MB"
    try:
        return size, counts_of(one.opened())
    except BatchUpError:
        return size, "damaged"


def counts_of(data: Any) -> str:
    """Return how many samples a data set has, as text."""
    return ", ".join(f"{count} {split}" for split, count in data.counts.items() if count)

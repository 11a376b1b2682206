"""The data sets of this tree: batches of scaled images, opening, fetching."""

from __future__ import annotations

import os

from declared import Work
from files import RowFiles
from images import ImageFiles, held_back
from opening import in_fresh_process
from served import Served
from slices import Epoch

from batchup.columns import ScaledArray
from batchup.data_source import ArrayDataSource
from batchup.datasets import MNIST
from batchup.datasets.fetching import fetch
from batchup.formats import read_npy
from contenders import Trial, Ways

SEED = 7


def scaled(work: Work, files: RowFiles) -> Epoch:
    """`ArrayDataSource([ScaledArray(X)]).batch_iterator(B, shuffle=7)`, X a memory map, as `ds.train` has it."""
    source = ArrayDataSource([ScaledArray(read_npy(files.flat).view())])
    return lambda: iter(source.batch_iterator(work.batch, shuffle=SEED))


def open_mnist(work: Work, home: str) -> Epoch:
    """Open MNIST."""
    os.environ["BATCHUP_HOME"] = home
    mnist = MNIST(n_val=held_back(work))
    return lambda: iter(mnist.train.batch_iterator(work.batch, shuffle=SEED))


def opened(work: Work, files: ImageFiles) -> Trial:
    """`MNIST(n_val=10000)`; then `ds.train.batch_iterator(256, shuffle=7)`, with labels."""
    return in_fresh_process(work, files, files.home, open_mnist)


def fetched(_: Work, to: Served) -> Epoch:
    """`batchup.datasets.fetching.fetch(path, [url], sha256)`, which hashes while bytes come, and ends with fsync."""

    def write(path: str) -> None:
        fetch(path, [to.url], to.sha256)

    return to.written("npy", write)


WAYS: Ways = {
    "scaled": {"batchup": scaled},
    "open_images": {"batchup": opened},
    "fetch": {"batchup": fetched},
}

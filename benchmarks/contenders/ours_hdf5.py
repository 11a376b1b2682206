"""The data source of this tree over datasets of h5py."""

from __future__ import annotations

import itertools
from functools import partial

from declared import Work
from files import RowFiles
from hdf5_layouts import COMPRESSED, LAYOUTS, file_of

from batchup import data_source, loader
from contenders import Closing, Way, Ways

SEED = 7


def shuffled(work: Work, files: RowFiles, layout: str) -> Closing:
    """`ArrayDataSource([file["rows"], y]).batch_iterator(B, shuffle=7, epoch=e)`."""
    file, numbers = file_of(work, files, layout), itertools.count()
    source = data_source.ArrayDataSource([file["rows"], files.labels])
    return Closing(lambda: iter(source.batch_iterator(work.batch, shuffle=SEED, epoch=next(numbers))), file.close)


def in_threads(work: Work, files: RowFiles, layout: str) -> Closing:
    """`loader([file["rows"], y], B, shuffle=7, workers=2)`, going on through all epochs."""
    file = file_of(work, files, layout)
    batches = loader([file["rows"], files.labels], work.batch, shuffle=SEED, workers=2)

    def close() -> None:
        batches.close()
        file.close()

    return Closing(lambda: iter(batches), close)


def _in_threads(layout: str) -> Way:
    way = partial(in_threads, layout=layout)
    way.__doc__ = in_threads.__doc__
    return way


def _way(layout: str) -> Way:
    way = partial(shuffled, layout=layout)
    way.__doc__ = shuffled.__doc__
    return way


WAYS: Ways = {
    "file_hdf5": {
        **{f"batchup, {layout}": _way(layout) for layout in LAYOUTS},
        **{f"batchup, {layout}, 2 threads": _in_threads(layout) for layout in COMPRESSED},
    }
}

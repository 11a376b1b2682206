"""The typed files of this tree: serving by id, creating, opening."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from declared import Work
from files import RowFiles, ToCreate
from slices import Epoch
from typed import LABELS, ROWS, looked_up, path_of

from batchup import typed_files as h5m
from contenders import Closing, Trial, Way, Ways

SEED = 7
WORKERS = 2


class Rows(h5m.TypedFile):
    """Rows and their labels."""

    x = h5m.Array()
    y = h5m.Array()


class Small(h5m.Feature):
    """What small files hold."""

    __re__ = r"\.npy$"

    def load(self, source: str) -> Any:
        """Read a file."""
        return np.load(source)


def by_torch(work: Work, files: RowFiles) -> Closing:
    """`file.serve(dict(x=Input("x", GetId()), y=...), framework="torch", batch_size=B, shuffle=True)`."""
    return _served(work, files, framework="torch")


def by_torch_workers(work: Work, files: RowFiles) -> Closing:
    """The same with `num_workers=2, persistent_workers=True`."""
    return _served(work, files, framework="torch", num_workers=WORKERS, persistent_workers=True)


def by_torch_anew(work: Work, files: RowFiles) -> Epoch:
    """The first, the file opened and `serve` called anew for each epoch: what was read or kept before is forgotten."""

    def epoch() -> Iterator[Any]:
        served = by_torch(work, files)
        try:
            yield from served()
        finally:
            served.close()

    return epoch


def by_numpy(work: Work, files: RowFiles) -> Closing:
    """`file.serve(dict(x=Input("x", GetId()), y=...), framework="numpy", batch_size=B, shuffle=7)`."""
    return _served(work, files, framework="numpy", shuffle=SEED)


def by_source(work: Work, files: RowFiles) -> Closing:
    """`file.data_source(["x", "y"]).batch_iterator(B, shuffle=7, epoch=e)`."""
    file, numbers = _opened(work, files), itertools.count()
    source = file.data_source([ROWS, LABELS])
    return Closing(lambda: iter(source.batch_iterator(work.batch, shuffle=SEED, epoch=next(numbers))), file.close)


def _served(work: Work, files: RowFiles, **options: Any) -> Closing:
    file = _opened(work, files)
    form = {name: h5m.Input(name, h5m.GetId()) for name in (ROWS, LABELS)}
    loader = file.serve(form, batch_size=work.batch, **{"shuffle": True, **options})

    def epoch() -> Iterator[Any]:
        for batch in loader:
            yield batch[ROWS], batch[LABELS]

    def close() -> None:
        getattr(getattr(loader, "_iterator", None), "_shutdown_workers", lambda: None)()
        file.close()

    return Closing(epoch, close)


def _opened(work: Work, files: RowFiles) -> Rows:
    return Rows(path_of(work, files), "r", keep_open=True)


def created(_: Work, to: ToCreate, parallelism: str) -> Epoch:
    """`TypedFile.create(path, sources, parallelism={!r}, n_workers=2)`, `load` being `np.load`, fsync."""

    def write(path: str) -> None:
        schema = {ROWS: Small()}
        h5m.TypedFile.create(
            path, to.sources, schema=schema, parallelism=parallelism, n_workers=WORKERS, progress=False
        ).close()

    return to.written("h5", write)


def _creating(parallelism: str) -> Way:
    way = partial(created, parallelism=parallelism)
    way.__doc__ = (created.__doc__ or "").format(parallelism)
    return way


def loaded(work: Work, to: ToCreate) -> Epoch:
    """`np.load` of every small file; nothing is written."""
    rows = np.empty_like(to.rows)

    def epoch() -> Iterator[str]:
        for row, source in zip(rows, to.sources, strict=True):
            row[...] = np.load(source)
        yield ""

    return epoch


def one_array(_: Work, to: ToCreate) -> Epoch:
    """`file.create_dataset("rows", data=X)`, X in memory, fsync."""
    h5py: Any = importlib.import_module("h5py")

    def write(path: str) -> None:
        with h5py.File(path, "w") as file:
            file.create_dataset("rows", data=to.rows)

    return to.written("h5", write)


def opened(work: Work, files: RowFiles) -> Trial:
    """`TypedFile(path, keep_open=True)` and `file.x.get(id)`; then 1,000 of them, drawn at random."""
    path = path_of(work, files)
    return looked_up(work, lambda: Rows(path, "r", keep_open=True))


SERVED: dict[str, Way] = {
    "batchup, torch loader": by_torch,
    "batchup, torch loader, 2 workers": by_torch_workers,
    "batchup, torch loader, opened anew": by_torch_anew,
    "batchup, numpy loader": by_numpy,
    "batchup, data source": by_source,
}
WAYS: Ways = {
    "ids": SERVED,
    "ids_gzip": SERVED,
    "create": {
        **{f"batchup, {kind}": _creating(kind) for kind in ("none", "threads", "mp")},
        "np.load alone": loaded,
        "one array by h5py": one_array,
    },
    "open_ids": {"batchup": opened},
}

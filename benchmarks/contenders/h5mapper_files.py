"""h5mapper 0.3: the same typed files, served by its loader, created and opened by it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any

import h5mapper as h5m
import numpy as np
from declared import Work
from files import RowFiles, ToCreate
from slices import Epoch
from typed import LABELS, ROWS, looked_up, path_of

from contenders import Closing, Trial, Way, Ways

WORKERS = 2


class Rows(h5m.TypedFile):
    """Rows and their labels."""

    x = h5m.Array()
    y = h5m.Array()


class Small(h5m.Array):
    """What small files hold."""

    __re__ = r"\.npy$"

    def load(self, source: str) -> Any:
        """Read a file."""
        return np.load(source)


class Smalls(h5m.TypedFile):
    """What small files hold, together."""

    x = Small()


def alone(work: Work, files: RowFiles) -> Closing:
    """`file.serve((dict(x=Input("x", GetId()), y=...),), batch_size=B, shuffle=True)`."""
    return _served(work, files)


def by_workers(work: Work, files: RowFiles) -> Closing:
    """The same with `num_workers=2, persistent_workers=True`."""
    return _served(work, files, num_workers=WORKERS, persistent_workers=True)


def _served(work: Work, files: RowFiles, **options: Any) -> Closing:
    file = Rows(path_of(work, files), "r", keep_open=True)
    form = ({name: h5m.Input(name, h5m.GetId()) for name in (ROWS, LABELS)},)  # a dict alone loses its values there
    loader = file.serve(form, batch_size=work.batch, shuffle=True, **options)

    def epoch() -> Iterator[Any]:
        for (batch,) in loader:
            yield batch[ROWS], batch[LABELS]

    def close() -> None:
        getattr(loader._iterator, "_shutdown_workers", lambda: None)()
        file.close()

    return Closing(epoch, close)


def created(_: Work, to: ToCreate, parallelism: str) -> Epoch:
    """`TypedFile.create(path, sources, parallelism={!r}, n_workers=2)`, `load` being `np.load`, fsync."""
    return to.written(
        "h5", lambda path: Smalls.create(path, to.sources, parallelism=parallelism, n_workers=WORKERS).close()
    )


def _creating(parallelism: str) -> Way:
    way = partial(created, parallelism=parallelism)
    way.__doc__ = (created.__doc__ or "").format(parallelism)
    return way


def opened(work: Work, files: RowFiles) -> Trial:
    """`TypedFile(path, keep_open=True)` and `file.x.get(id)`; then 1,000 of them, drawn at random."""
    path = path_of(work, files)
    return looked_up(work, lambda: Rows(path, "r", keep_open=True))


SERVED: dict[str, Way] = {"h5mapper, torch loader": alone, "h5mapper, torch loader, 2 workers": by_workers}
WAYS: Ways = {
    "ids": SERVED,
    "ids_gzip": SERVED,
    "create": {f"h5mapper, {kind}": _creating(kind) for kind in ("none", "threads", "mp")},
    "open_ids": {"h5mapper": opened},
}

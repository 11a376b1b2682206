"""What workers in other processes are told of the passes over a source."""

from __future__ import annotations

import pickle
from dataclasses import fields

from batchup.data_source.passes import Pass
from batchup.sampling.order import Key

_SENT = [field.name for field in fields(Pass) if field.init and field.name not in ("order", "clock", "memory")]


class Headers:
    """What is sent with each chunk of a source: the number of that, and its pass; a generator stays here.

    Parameters
    ----------
    source : int
        The number.
    """

    def __init__(self, source: int) -> None:
        self._source = source
        self._latest: tuple[Pass | None, bytes] = None, b""

    def of(self, walk: Pass) -> bytes:
        """Return the header of a pass; it is made once for all its chunks."""
        latest, header = self._latest
        if walk is not latest:
            order = walk.order if isinstance(walk.order, Key) else None
            header = pickle.dumps((self._source, {"order": order, **{name: getattr(walk, name) for name in _SENT}}), 5)
            self._latest = walk, header
        return header

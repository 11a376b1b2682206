"""What a worker on a node of a cluster does: it reads chunks of data sources and calls functions."""

from __future__ import annotations

import glob
import io
import math
import os
import pickle
import platform
import random
import socket
import sys
import threading
import traceback
from collections.abc import Sequence
from contextlib import suppress
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.data_source.passes import Pass
from batchup.data_source.shard import here
from batchup.data_source.shards import shard_length
from batchup.errors import InvalidTypeError, SharedMemoryError
from batchup.work_pool.chunks import Figures, read
from batchup.work_pool.cluster.shipping import Files, Shipped, is_same, unpacked
from batchup.work_pool.cluster.views import Reply
from batchup.work_pool.packing import ALIGNED, portable
from batchup.work_pool.pickling import Pickler
from batchup.work_pool.worker import flush

KEPT = 64 * 2**20  # bytes of memory for batches that a worker keeps from one task to the next
_WALKS = 64  # passes that a worker remembers
SPARE = 2**20  # bytes of an object beside its arrays


def versions() -> dict[str, str]:
    """Return the versions that must be the same here and there: pickles hold what depends on them."""
    from batchup import __version__

    return {"Python": platform.python_version().rpartition(".")[0], "batchup": __version__}


class Worker:
    """The actor: it is told of sources and passes, and does one task at a time.

    Parameters
    ----------
    path : list of str
        Where the main program looks for modules.
    """

    def __init__(self, path: Sequence[str]) -> None:
        sys.path += [entry for entry in path if entry not in sys.path]
        random.seed()
        np.random.seed()
        self._shipped: dict[int, Shipped] = {}
        self._sources: dict[int, Any] = {}
        self._walks: dict[bytes, tuple[int, Pass]] = {}
        self._block = Block()
        self._busy: int | None = None  # the thread that is at a task; another one may ask where that is

    def about(self) -> dict[str, Any]:
        """Return who this is."""
        import ray

        node = ray.get_runtime_context().get_node_id()
        return {"node": node, "host": socket.gethostname(), "pid": os.getpid(), "versions": versions()}

    def do(self, kind: str, room: int, *arguments: Any) -> Reply:
        """Do a task; return its result, or what went wrong.

        Parameters
        ----------
        kind : str
            ``'read'`` or ``'call'``.
        room : int
            Bytes that the object store holds, in all.
        """
        self._busy = threading.get_ident()
        self._block.begin()
        try:
            result, figures = getattr(self, f"_{kind}")(*arguments)
            begin = perf_counter()
            reply = _packed(result, room)
            return reply._replace(figures=figures._replace(transporting=perf_counter() - begin))
        except BaseException as error:  # noqa: BLE001  it is raised where the result is asked for
            pickled, text = portable(error)
            return Reply(b"", failure=(pickled, f"in process {os.getpid()} on {socket.gethostname()}:\n{text}"))
        finally:
            self._busy = None
            flush()  # the end of a worker comes without notice

    def forget(self, number: int) -> None:
        """Let go of a source."""
        self._sources.pop(number, None)
        self._shipped.pop(number, None)

    def sees(self, paths: Sequence[str]) -> list[bool]:
        """Return which files there are on this node."""
        return [os.path.exists(here(path)) for path in paths]

    def which(self, files: Files) -> list[bool]:
        """Return which files on this node are as they are said to be."""
        return [is_same(path, status) for path, status in files]

    def find(self, pattern: str, opener: bytes) -> dict[str, int]:
        """Return the shard files on this node that fit a pattern, and how many samples they have."""
        open_shard = pickle.loads(opener)
        paths = (path for path in glob.glob(here(pattern), recursive=True) if not os.path.isdir(path))
        return {os.path.abspath(path): shard_length(path, open_shard) for path in paths}

    def stack(self) -> str:
        """Return where the task in work is."""
        frame = sys._current_frames().get(self._busy or 0)
        return "(it does not say where)" if frame is None else "".join(traceback.format_stack(frame))

    def _call(self, pickled: bytes) -> tuple[Any, Figures]:
        function, arguments = pickle.loads(pickled)
        return function(*arguments), Figures()

    def learn(self, number: int, shipped: Shipped) -> None:
        """Take note of a source; what is wrong with it is told when it is to be read."""
        self._shipped[number] = shipped
        with suppress(Exception):
            self._sources[number] = unpacked(shipped)

    def _read(self, header: bytes, chunk: bytes) -> tuple[Any, Figures]:
        if header not in self._walks:
            if len(self._walks) >= _WALKS:
                self._walks.clear()
            number, fields = pickle.loads(header)
            self._walks[header] = number, Pass(**fields, memory=self._block.empty)
        number, walk = self._walks[header]
        if number not in self._sources:
            self._sources[number] = unpacked(self._shipped[number])
        return read(self._sources[number], pickle.loads(chunk), walk)


class Block:
    """Memory for the batches of a task, which is used again for the next one: by then Ray has a copy of the result.

    Memory that is new to the process is dear, since the system gives it page by page.
    """

    def __init__(self) -> None:
        self._memory = np.empty(0, np.uint8)
        self._used = 0

    def begin(self) -> None:
        """Have all of it used again, and as much more as the last task lacked."""
        wanted = min(self._used, KEPT)
        if wanted > len(self._memory):
            self._memory = np.empty(wanted, np.uint8)
        self._used = 0

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array in the block if it has room for it, else anywhere."""
        size = math.prod(shape) * dtype.itemsize
        start = self._used
        self._used += -(-size // ALIGNED) * ALIGNED
        if self._used > len(self._memory) or dtype.hasobject or not size:
            return np.empty(shape, dtype)
        array: NDArray[Any] = np.ndarray(shape, dtype, self._memory, start)
        return array


def _packed(result: Any, room: int) -> Reply:
    """Return a result with its arrays beside it, which go into the store as they are."""
    buffers: list[pickle.PickleBuffer] = []
    file = io.BytesIO()
    try:
        Pickler(file, buffers.append).dump(result)
    except (TypeError, AttributeError, pickle.PicklingError) as error:
        raise InvalidTypeError(f"a result that cannot be sent back from a worker process: {error}") from error
    reply = Reply(file.getvalue(), [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers])
    wanted = reply.bytes + len(reply.pickled) + SPARE
    if wanted > room:
        raise SharedMemoryError(
            f"a result of {wanted:,} bytes does not fit into the object store of {room:,} bytes that the nodes have; "
            "make batches smaller, or start the nodes with a larger object_store_memory"
        )
    return reply

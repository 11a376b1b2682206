"""How results travel: arrays lie in shared memory, the rest is pickled beside them."""

from __future__ import annotations

import pickle
import traceback
from collections.abc import Callable, Sequence
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from batchup.data_source.tolerance import BadSamplesError
from batchup.errors import WorkerError
from batchup.work_pool.arena import Slot, Span
from batchup.work_pool.pickling import Pickler

ALIGNED = 64
INLINE = 16 * 1024  # bytes of results that are quicker to send along than to put elsewhere


class Packed(NamedTuple):
    """A result: its pickle, and its arrays, sent along, or the spans of shared memory in which they lie."""

    pickled: bytes
    arrays: Sequence[Any]
    in_slot: bool
    bytes: int


class Room:
    """The slot that a worker may write its results to.

    Parameters
    ----------
    arena : ndarray of uint8
        All the shared memory.
    more : callable
        ``more(size)`` returns a slot of at least so many bytes in the place of this one, None if there is none.
    """

    def __init__(self, arena: NDArray[np.uint8], more: Callable[[int], Slot | None]) -> None:
        self._arena = arena
        self._address = _address(arena)
        self._more = more
        self._slot = Slot(0, 0)
        self._used = 0

    def enter(self, slot: Slot | None) -> None:
        """Begin to write to a slot."""
        self._slot = slot or Slot(0, 0)
        self._used = 0

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return an array in the slot if it has room for it, else anywhere."""
        size = int(np.prod(shape, dtype=np.int64)) * dtype.itemsize
        start = self._place(size)
        if start is None or dtype.hasobject or size == 0:
            return np.empty(shape, dtype)
        array: NDArray[Any] = np.ndarray(shape, dtype, self._arena, start)
        return array

    def pack(self, result: Any) -> Packed:
        """Return a result whose arrays lie in the slot, or are sent along."""
        buffers: list[pickle.PickleBuffer] = []
        file = BytesIO()
        Pickler(file, buffers.append).dump(result)
        parts = [np.frombuffer(buffer.raw(), np.uint8) for buffer in buffers]
        total = sum(part.nbytes for part in parts)
        if total <= INLINE:
            return Packed(file.getvalue(), [bytearray(part) for part in parts], False, total)
        spans = self._put(parts)
        if spans is None:
            slot = self._more(sum(part.nbytes + ALIGNED for part in parts))
            if slot is None:
                return Packed(file.getvalue(), [bytearray(part) for part in parts], False, total)
            self.enter(slot)
            spans = self._put(parts)
            assert spans is not None
        return Packed(file.getvalue(), spans, True, total)

    def _put(self, parts: Sequence[NDArray[np.uint8]]) -> list[Span] | None:
        """Bring arrays into the slot that are not there already; None if they do not fit."""
        spans = []
        for part in parts:
            there = _address(part) - self._address
            if not self._slot.start <= there < self._slot.start + self._slot.size:
                place = self._place(part.nbytes)
                if place is None:
                    return None
                there = place
                self._arena[there : there + part.nbytes] = part
            spans.append(Span(there, part.nbytes))
        return spans

    def _place(self, size: int) -> int | None:
        start = self._slot.start + self._used
        if start + size > self._slot.start + self._slot.size:
            return None
        self._used += -(-size // ALIGNED) * ALIGNED
        return start


def unpack(packed: Packed) -> Any:
    """Return a result, over the arrays that came with it."""
    return pickle.loads(packed.pickled, buffers=packed.arrays)


class WorkerTraceback(Exception):  # noqa: N818  it is shown as the cause of an error, and no error by itself
    """Where in the worker an error was raised."""

    def __str__(self) -> str:
        return f"\n{self.args[0]}"


def portable(error: BaseException) -> tuple[bytes, str]:
    """Return an error as bytes, and its traceback as text."""
    text = "".join(traceback.format_exception(type(error), error, error.__traceback__))
    if isinstance(error, BadSamplesError):
        error = BadSamplesError({row: (stage, _sent(found)) for row, (stage, found) in error.rows.items()})
    return _pickled(_sent(error)), text


def carried_over(pickled: bytes, text: str) -> BaseException:
    """Return the error that a worker raised, with its traceback as the cause."""
    trace = WorkerTraceback(text)
    try:
        error: BaseException = pickle.loads(pickled)
        error.__cause__ = trace
    except Exception as trouble:  # noqa: BLE001  it was rebuilt without trouble where it came from
        error = WorkerError(f"a worker raised an error that cannot be rebuilt here: {trouble!r}")
        error.__cause__ = trace
    return error


def _sent(error: Any) -> Any:
    """Return an error that can be sent: itself, or one like it that is rebuilt without its constructor, or another."""
    for candidate in (error, _Rebuilt(error)):
        try:
            if type(pickle.loads(_pickled(candidate))) is type(error):
                return candidate
        except Exception:  # noqa: BLE001  whatever a user's class does when it is rebuilt
            continue
    return WorkerError(f"a worker raised {type(error).__name__}, which cannot be pickled: {error}")


class _Rebuilt:
    """Pickles as an error whose constructor takes other arguments than it keeps."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> Any:
        return _rebuilt, (type(self._error), self._error.args, self._error.__dict__)


def _rebuilt(kind: type[BaseException], arguments: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    error = kind.__new__(kind, *arguments)
    error.args = arguments
    error.__dict__.update(attributes)
    return error


def _pickled(value: Any) -> bytes:
    file = BytesIO()
    Pickler(file).dump(value)
    return file.getvalue()


def _address(array: NDArray[Any]) -> int:
    address: int = array.__array_interface__["data"][0]
    return address

"""What has been loaded for a file that is not whole yet, kept beside it so that it need not be loaded again.

A row of frames: 4 bytes CRC-32, 8 bytes length, and so many bytes, which are those of a line of JSON and of the arrays
that it lists. Whatever follows a frame that is cut short or damaged is dropped.
"""

from __future__ import annotations

import json
import os
import re
import struct
import zlib
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from batchup._files import leave, opened_alone, remove
from batchup.typed_files.feature import Feature, leaves

LOADED = ".loaded"  # behind the name of the file that is made
_HEAD = struct.Struct("<IQ")
Place = tuple[int, int]


class Journal:
    """What has been loaded of each source; it can be looked up in a later call.

    Parameters
    ----------
    path : str
        Name of the file that is made.
    kept : bool
        Whether anything is kept at all.
    """

    def __init__(self, path: str, kept: bool) -> None:
        self._name = path + LOADED
        self._places: dict[str, Place] = {}
        self._file: BinaryIO | None = opened_alone(self._name, anew=True) if kept else None
        if not kept:
            with suppress(FileNotFoundError):
                os.remove(self._name)
        self._end = 0
        self._stamps: dict[str, list[int] | None] = {}
        self.done = False  # whether it is no longer needed

    def begin(self, schema: Mapping[str, Feature], sources: Iterable[str]) -> None:
        """Look up what earlier calls have loaded with the same features; forget what came from others."""
        if self._file is None:
            return
        self._stamps = {source: _stamp(source) for source in sources}  # as they are before they are loaded
        described = json.dumps([[path, described_as(feature)] for path, feature in leaves(schema)])
        frames = self._frames()
        first = next(frames, None)
        if first is None or first[0] != described:
            self._file.truncate(0)
            self._end = 0
            self._append(described, [])
            return
        for head, place in frames:
            source, stamp, _ = json.loads(head)
            self._places.pop(source, None)
            if source in self._stamps and stamp == self._stamps[source]:
                self._places[source] = place
        self._file.truncate(self._end)

    def __contains__(self, source: str) -> bool:
        return source in self._places

    def get(self, source: str) -> dict[str, NDArray[Any]]:
        """Return what was loaded of a source."""
        assert self._file is not None
        start, size = self._places[source]
        payload = os.pread(self._file.fileno(), size, start)
        head, _, data = payload.partition(b"\n")
        found, begin = {}, 0
        for path, dtype, shape, length in json.loads(head)[2]:
            part = data[begin : begin + length]
            begin += length
            found[path] = _array(part, dtype, shape)
        return found

    def put(self, source: str, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Keep what was loaded of a source, unless it is there."""
        if self._file is None or source in self._places:
            return
        parts = [_bytes(array) for array in arrays.values()]
        told = [
            [path, None if array.dtype.hasobject else np.lib.format.dtype_to_descr(array.dtype), array.shape, len(part)]
            for (path, array), part in zip(arrays.items(), parts, strict=True)
        ]
        self._append(json.dumps([source, self._stamps.get(source), told]), parts)

    def __enter__(self) -> Journal:
        return self

    def __exit__(self, *error: object) -> None:
        """Let go of it; remove it unless it is to be kept for a later call."""
        if self._file is not None and not self._file.closed:
            if self.done:
                remove(self._file, self._name)
            leave(self._file)

    def _append(self, head: str, parts: list[bytes]) -> None:
        assert self._file is not None
        payload = b"".join([head.encode(), b"\n", *parts])
        frame = _HEAD.pack(zlib.crc32(payload), len(payload)) + payload
        done = 0
        while done < len(frame):
            done += os.pwrite(self._file.fileno(), frame[done:], self._end + done)
        self._end += len(frame)

    def _frames(self) -> Iterator[tuple[str, Place]]:
        """Yield the first line of each whole frame, and where it lies."""
        assert self._file is not None
        descriptor = self._file.fileno()
        left = os.fstat(descriptor).st_size
        while True:
            head = os.pread(descriptor, _HEAD.size, self._end)
            if len(head) < _HEAD.size:
                return
            checksum, size = _HEAD.unpack(head)
            place = (self._end + _HEAD.size, size)
            payload = os.pread(descriptor, size, place[0]) if sum(place) <= left else b""
            if not size or len(payload) < size or zlib.crc32(payload) != checksum:
                return
            self._end = sum(place)
            yield payload.partition(b"\n")[0].decode(), place


def described_as(feature: Feature) -> str:
    """Return by what it is seen that a feature is another one: its class, its attributes, the code of its methods."""
    told: dict[str, str] = {}
    for base in reversed(type(feature).__mro__[:-1]):
        told.update({name: _described(value) for name, value in vars(base).items() if name not in _NOT_OURS})
    told.update({name: _described(value) for name, value in vars(feature).items()})
    return f"{type(feature).__module__}.{type(feature).__qualname__} {sorted(told.items())}"


_NOT_OURS = ("__dict__", "__weakref__", "__doc__", "__module__", "__annotations__", "__firstlineno__")


def _described(value: Any) -> str:
    """Return a value as text, which is the same for the same value in another run."""
    if isinstance(value, Feature):
        return described_as(value)
    if isinstance(value, np.ndarray) and not value.dtype.hasobject:
        return f"{value.dtype} {value.shape} {zlib.crc32(np.ascontiguousarray(value).tobytes())}"
    if isinstance(value, (list, tuple)):
        return f"{type(value).__name__}{[_described(part) for part in value]}"
    if isinstance(value, Mapping):
        return str([(str(key), _described(part)) for key, part in value.items()])
    function = getattr(value, "__func__", getattr(value, "fget", value))
    code = getattr(function, "__code__", None)
    if code is not None:
        return f"{code.co_code.hex()} {[_described(part) for part in code.co_consts]} {code.co_names}"
    if hasattr(value, "co_code"):
        return f"{value.co_code.hex()} {value.co_names}"
    return re.sub(r" at 0x[0-9a-f]+", "", repr(value))


def _stamp(source: str) -> list[int] | None:
    """Return by what it is seen that a source has changed, if it is a file."""
    with suppress(OSError, ValueError):
        status = os.stat(source)
        return [status.st_size, status.st_mtime_ns]
    return None


def _bytes(array: NDArray[Any]) -> bytes:
    return json.dumps(array.tolist()).encode() if array.dtype.hasobject else array.tobytes()


def _array(data: bytes, dtype: Any, shape: list[int]) -> NDArray[Any]:
    if dtype is None:
        from batchup.typed_files.layout import h5py

        return np.array(json.loads(data), h5py().string_dtype()).reshape(shape)
    descr: Any = dtype if isinstance(dtype, str) else [tuple(field) for field in dtype]
    dtype = np.lib.format.descr_to_dtype(descr)
    return np.frombuffer(bytearray(data), dtype).reshape(shape)

"""What has been loaded for a file that is not whole yet, kept beside it so that it need not be loaded again.

A row of frames: 4 bytes CRC-32, 8 bytes length, and so many bytes, which are those of a line of JSON and of the arrays
that it lists. Whatever follows a frame that is cut short or damaged is dropped.
"""

from __future__ import annotations

import json
import os
import struct
import zlib
from collections.abc import Iterator, Mapping
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

    def begin(self, schema: Mapping[str, Feature]) -> None:
        """Look up what earlier calls have loaded with the same features; forget what came from others."""
        if self._file is None:
            return
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
            self._places[source] = place
            if stamp != _stamp(source):
                del self._places[source]
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
        self._append(json.dumps([source, _stamp(source), told]), parts)

    def close(self, keep: bool) -> None:
        """Let go of it; remove it unless it is to be kept."""
        if self._file is not None and not self._file.closed:
            if not keep:
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
            if len(payload) < size or zlib.crc32(payload) != checksum:
                return
            self._end = sum(place)
            yield payload.partition(b"\n")[0].decode(), place


def described_as(feature: Feature) -> str:
    """Return by what it is seen that a feature is another one now."""
    state = {name: repr(value) for name, value in sorted(vars(feature).items())}
    return f"{type(feature).__module__}.{type(feature).__qualname__} {feature.__re__} {state}"


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

"""The samples of one file of many, which is open while it is read from, and some time after that."""

from __future__ import annotations

import errno
import os
import socket
import threading
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, ClassVar
from weakref import WeakKeyDictionary

import numpy as np
from numpy.typing import NDArray

from batchup.columns.files import check_file_status, file_status
from batchup.data_source.abstract import UNKNOWN
from batchup.data_source.buffers import BufferRing
from batchup.data_source.passes import Pass
from batchup.data_source.random_access import RandomAccessDataSource
from batchup.data_source.shard_files import Make, Opener, contents_of, opened
from batchup.data_source.tolerance import BadSamplesError
from batchup.data_source.walk import WalkedDataSource
from batchup.errors import FileFormatError, LengthError
from batchup.sampling.chunks import IndexChunk

MOST_OPEN = 64  # files at a time, in a process


class Shard(RandomAccessDataSource):
    """The samples of one file, which is opened when they are first read.

    Parameters
    ----------
    path : str
        Name of the file.
    length : int
        Number of samples.
    common : Common
        What it shares with other files.
    status : tuple of int, optional
        What the file was when its length was read.
    """

    _kept_as: ClassVar[dict[str, str]] = {"length": "_source_length"}

    def __init__(self, path: str, length: int, common: Common, status: Any = None) -> None:
        super().__init__(length)
        self.path = path
        self._common = common
        self._status = status

    def samples_by_indices_nomapping(self, indices: Any) -> Any:
        return _open_shards.source_of(self).samples_by_indices_nomapping(indices)

    def open_now(self) -> WalkedDataSource:
        """Return the data source of the file; an error if it is not what it should be."""
        name = here(self.path)
        now = status_of(name)
        check_file_status(name, self._status or now, "its length was read")
        self._status = now
        source = opened(name, self._common.open)
        length, make = contents_of(source)
        if length != self._source_length:
            raise LengthError(f"{self.path} should have {self._source_length} samples, and has {length}")
        self._common.check(self.path, make)
        return source

    def _read_chunk(self, chunk: IndexChunk, walk: Pass) -> Iterator[Any]:
        try:
            source = _open_shards.source_of(self)
        except Exception as error:
            # others of this file, which might replace samples, cannot be read either
            if walk.policy.on_error != "skip" or isinstance(error, MemoryError):
                raise
            if not len(chunk):
                return iter((self._common.nothing(error),))
            raise BadSamplesError(dict.fromkeys(range(len(chunk)), ("open", error))) from error
        source._check_pass(walk)
        return source._read_chunk(chunk, walk if walk.memory else replace(walk, memory=self._common.empty))

    def _expect(self, chunk: IndexChunk) -> bool:
        source = _open_shards.get(self)
        return source is not None and source._expect(chunk)

    def _files(self, chunk: Any) -> tuple[str, ...]:
        return (self.path,)

    def _all_files(self) -> tuple[str, ...]:
        return (self.path,)


class Common:
    """What the files of one source share: how they are opened, what they hold, and the memory for batches.

    Parameters
    ----------
    open : callable, optional
        Makes a data source of a path.
    """

    def __init__(self, open: Opener | None) -> None:  # noqa: A002
        self.open = open
        self._first: tuple[str, Make | None] | None = None
        self._rings: dict[Any, BufferRing] = {}

    @property
    def keys(self) -> Any:
        """The keys of batches, as far as they are known."""
        make = None if self._first is None else self._first[1]
        return UNKNOWN if make is None else make.keys

    def check(self, path: str, make: Make | None) -> None:
        """Raise if a file holds something else than the first one that was looked into."""
        if self._first is None or self._first[1] is None:
            self._first = path, make
        elif make is not None and make != self._first[1]:
            name, first = self._first
            raise FileFormatError(f"{path} holds {make}, and {name} {first}: all files must have the same columns")

    def nothing(self, error: Exception) -> Any:
        """Return a batch without samples; `error` is raised if no file tells what that is."""
        if self._first is None:
            raise error
        return opened(here(self._first[0]), self.open).samples_by_indices_nomapping(np.empty(0, np.intp))

    def empty(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> NDArray[Any]:
        """Return memory for a batch: no file keeps any for itself, since there are many."""
        key = shape[1:], dtype
        if key not in self._rings:
            self._rings[key] = BufferRing(*key)
        return self._rings[key].empty(shape[0])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_rings": {}}


class OpenShards:
    """The files that are open in this process: those that were read last.

    A file is closed when nobody has its shard any more, or others have taken its place, and nobody holds its arrays.

    Parameters
    ----------
    most : int
        How many there may be.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self.forget()

    def forget(self) -> None:
        """Begin anew, as in a process that was forked: every process opens its files itself."""
        self._lock = threading.Lock()
        self._sources: WeakKeyDictionary[Shard, WalkedDataSource] = WeakKeyDictionary()

    def get(self, shard: Shard) -> WalkedDataSource | None:
        """Return the source of a shard, if it is open."""
        return self._sources.get(shard)

    def source_of(self, shard: Shard) -> WalkedDataSource:
        """Return the source of a shard, opened if need be."""
        with self._lock:
            source = self._sources.pop(shard, None)
            if source is not None:
                self._sources[shard] = source  # the last one now
                return source
        source = shard.open_now()  # which may take its time: others need not wait for it
        with self._lock:
            self._sources[shard] = source
            while len(self._sources) > self._most:
                self._sources.pop(next(self._sources.keys()), None)
        return source


_open_shards = OpenShards(MOST_OPEN)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_open_shards.forget)


def here(path: str) -> str:
    """Return the name that a file has on this machine: ``~`` and variables may be others elsewhere."""
    return os.path.expandvars(os.path.expanduser(path))


def status_of(path: str) -> tuple[int, int]:
    """Return by what it is seen that a file is another one now; an error that tells where it is missing."""
    try:
        return file_status(path)
    except FileNotFoundError as error:
        raise FileNotFoundError(errno.ENOENT, f"there is no such file on {socket.gethostname()}", path) from error

"""A data set that lies in many files, on one machine or on several: each batch comes from one of them."""

from __future__ import annotations

import glob
import hashlib
import os
import socket
from collections.abc import Mapping, Sequence
from itertools import repeat
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup.data_source.batch_iterator import Count
from batchup.data_source.choice import ChoiceDataSource
from batchup.data_source.passes import Pass
from batchup.data_source.shard import Common, Shard, here, status_of
from batchup.data_source.shard_files import Opener, contents
from batchup.data_source.turns import Turns
from batchup.errors import InvalidTypeError, InvalidValueError, LengthError


class ShardDataSource(ChoiceDataSource):
    """Draw each batch from one of many files.

    The files take turns, spread over the epoch (shuffled: at random). Each gives all its samples once, in batches of
    its own (shuffled: in an order of its own), the last of which is short, or what `tail` makes of it. So a batch is
    read where its file lies. It is a stratified `ChoiceDataSource` of the files.

    A file is opened by the process that reads from it, when it first does; at most 64 are open at a time. Pools of
    processes are sent the names.

    Parameters
    ----------
    paths : str, path-like, or list of those
        The files, in this order; or a pattern, as for `glob.glob`, of which all files that fit are taken, sorted as
        texts are: ``train-10.npy`` comes before ``train-9.npy``. In names, ``~`` and variables such as ``$SCRATCH``
        are those of the machine that reads the file.
    lengths : sequence of int, optional
        The number of samples in each file, which then need not be on this machine. By default it is read from them.
    open : callable, optional
        ``open(path)`` returns the data source of a file, or what `coerce_data_source` makes one of. Without it, files
        are known by their suffix: ``.npy`` is one column; ``.hsq`` is a batch file; ``.h5`` and ``.hdf5`` have
        datasets of one length, the columns by name, or records; any other file must be a record file.

    Raises
    ------
    TypeError, ValueError
        If no file fits the pattern, a file is there twice, or an argument is something else.
    FileNotFoundError
        If a file is not there: at the call if it is asked for its length, else when it is read.
    FileFormatError
        If a file is damaged, or its columns are not those of the others, or it has been written to since its length
        was read: at the call where that is seen, else when it is read.

    Attributes
    ----------
    files : tuple of str
        The paths, absolute but for those with a ``~`` or a variable.

    Examples
    --------
    >>> from batchup.data_source import ShardDataSource
    >>> np.save("part-0.npy", np.arange(4))
    >>> np.save("part-1.npy", np.arange(10, 12))
    >>> [batch.tolist() for (batch,) in ShardDataSource("part-*.npy").batch_iterator(1)]
    [[0], [10], [1], [2], [11], [3]]
    """

    def __init__(
        self,
        paths: Any,
        *,
        lengths: Sequence[int] | None = None,
        open: Opener | None = None,  # noqa: A002
    ) -> None:
        if open is not None and not callable(open):
            raise InvalidTypeError(f"open must be a function of a path, got {type(open).__name__}")
        self.paths = paths
        self.lengths = lengths
        self.open = open
        files = _named_files(paths)
        self._common = Common(open)
        self._statuses: NDArray[np.int64] | None = None
        if lengths is None:
            found = [_looked_into(path, self._common) for path in files]
            self._counts = np.array([length for length, _ in found], np.int64)
            self._statuses = np.array([status for _, status in found], np.int64)
        else:
            self._counts = _checked_lengths(lengths, len(files))
        self._samples = int(self._counts.sum())
        super().__init__(self._shards(files), stratified=True)

    @property
    def files(self) -> tuple[str, ...]:
        return tuple([shard.path for shard in self.datasets])  # type: ignore[attr-defined]

    def num_samples(self, **kwargs: Any) -> Count:
        return self._samples

    def _shards(self, files: Sequence[str]) -> list[Shard]:
        statuses = repeat(None) if self._statuses is None else map(tuple, self._statuses.tolist())
        shards = zip(files, self._counts.tolist(), statuses, strict=False)
        return [Shard(path, length, self._common, status) for path, length, status in shards]

    def _kinds(self) -> Sequence[int]:
        return range(1)

    def _num_batches(self, walk: Pass, keywords: Mapping[str, Any]) -> Count:
        return int(self._batches(walk).sum())

    def _turns(self, walk: Pass, keywords: Mapping[str, Any]) -> Turns:
        return Turns(len(self.datasets), self._batches(walk), walk)

    def _batches(self, walk: Pass) -> NDArray[np.int64]:
        """Return how many batches each file gives."""
        return self._counts // walk.batch_size if walk.tail == "drop" else -(-self._counts // walk.batch_size)

    def _batch_keys(self) -> Any:
        return self._common.keys

    def _column_lengths(self) -> tuple[int, ...]:
        return (self._samples,)

    def _plan_structure(self) -> str:
        digest = hashlib.blake2b(self._counts.astype("<i8").tobytes(), digest_size=8).hexdigest()
        return f"{type(self).__name__}({len(self._counts)} files, lengths #{digest})"

    def __getstate__(self) -> dict[str, Any]:
        files = list(self.files)
        return {
            **self.__dict__,
            "paths": self.paths if isinstance(self.paths, (str, os.PathLike)) else files,
            "datasets": files,
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self.datasets = self._shards(state["datasets"])


def shard_length(path: Any, open: Opener | None = None) -> int:  # noqa: A002
    """Return the number of samples in a file.

    Parameters
    ----------
    path : str or path-like
        Name of the file; where its format has a header, that alone is read.
    open : callable, optional
        As for `ShardDataSource`, which raises the same errors.

    Returns
    -------
    int

    Examples
    --------
    >>> from batchup.data_source.shards import shard_length
    >>> np.save("shard.npy", np.zeros((1000, 3)))
    >>> shard_length("shard.npy")
    1000
    """
    name = os.path.abspath(here(_named(path, "path")))
    status_of(name)
    return contents(name, open).length


def _named_files(paths: Any) -> list[str]:
    """Return the absolute paths of the files that are meant."""
    if isinstance(paths, (str, os.PathLike)):
        names = _matching(_named(paths, "paths"))
    elif isinstance(paths, Sequence) and not isinstance(paths, (bytes, bytearray)):
        names = [_named(path, f"paths[{i}]") for i, path in enumerate(paths)]
    else:
        raise InvalidTypeError(f"paths must be a pattern, or a list of file names, got {type(paths).__name__}")
    if not names:
        raise InvalidValueError("paths must name at least one file, got none")
    files = [name if "$" in name or name[:1] == "~" else os.path.abspath(name) for name in names]
    if len(set(files)) < len(files):
        twice = next(file for i, file in enumerate(files) if file in files[:i])
        raise InvalidValueError(f"a file gives its samples once in an epoch, and {twice} is there twice")
    return files


def _matching(pattern: str) -> list[str]:
    """Return the files that fit a pattern; that of this very name, if there is one."""
    if os.path.isfile(here(pattern)):
        return [pattern]
    names = sorted(name for name in glob.glob(here(pattern), recursive=True) if not os.path.isdir(name))
    if not names:
        raise InvalidValueError(f"no file fits {pattern!r} on {socket.gethostname()}, in {os.getcwd()}")
    return names


def _named(path: Any, what: str) -> str:
    name = os.fspath(path) if isinstance(path, os.PathLike) else path
    if not isinstance(name, str):
        raise InvalidTypeError(f"{what} must be a str or a path, got {type(path).__name__}")
    return name


def _checked_lengths(lengths: Any, files: int) -> NDArray[np.int64]:
    if isinstance(lengths, (str, bytes, Mapping)) or not hasattr(lengths, "__len__"):
        raise InvalidTypeError(f"lengths must be a sequence of integers, got {type(lengths).__name__}")
    if len(lengths) != files:
        raise LengthError(f"there are {files} files, and {len(lengths)} lengths: give one for each")
    return np.array([whole_number(length, f"lengths[{i}]") for i, length in enumerate(lengths)], np.int64)


def _looked_into(path: str, common: Common) -> tuple[int, tuple[int, int]]:
    """Return the length and the status of a file."""
    name = here(path)
    status = status_of(name)
    length, make = contents(name, common.open)
    if length:
        common.check(path, make)
    return length, status

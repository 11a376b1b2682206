"""What files of samples may be: how each kind is opened, and what it tells of itself before that."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from batchup._extras import required
from batchup._hdf5 import checked_dataset
from batchup._npy_header import check_size, read_header, told
from batchup.data_source.abstract import UNKNOWN
from batchup.data_source.array import ArrayDataSource
from batchup.data_source.coerce import coerce_data_source
from batchup.data_source.random_access import RandomAccessDataSource
from batchup.data_source.walk import WalkedDataSource, makes_its_own
from batchup.data_source.wrapped import WrappedSource
from batchup.errors import FileFormatError, InvalidTypeError, InvalidValueError, LengthError
from batchup.sampling import StandardSampler

Opener = Callable[[str], Any]


class Make(NamedTuple):
    """Of what make batches are: their keys, None if they are tuples, and dtype and shape of samples by column."""

    keys: tuple[str, ...] | None
    columns: tuple[tuple[np.dtype[Any] | None, tuple[int, ...] | None], ...]

    def __str__(self) -> str:
        shown = [f"{dtype} {shape}" for dtype, shape in self.columns]
        if self.keys is None:
            return ", ".join(shown) or "tuples"
        return f"{list(self.keys)}: {', '.join(shown)}" if shown else str(list(self.keys))


class Contents(NamedTuple):
    """What is known of a file: its number of samples, and of what make they are, if it tells."""

    length: int
    make: Make | None


class Format(NamedTuple):
    """A kind of files: ``opened(path)`` makes a data source of one, ``contents(path)`` reads no samples."""

    opened: Opener
    contents: Callable[[str], Contents]


def opened(path: str, open: Opener | None = None) -> WalkedDataSource:  # noqa: A002  it is what the user passes
    """Return the data source over the samples of a file, numbered as they lie in it.

    Raises
    ------
    FileFormatError
        If it is damaged, or not what its suffix says.
    InvalidTypeError
        If `open` makes something else than such a source.
    InvalidValueError
        If the suffix is not known, and `open` not given.
    """
    source = coerce_data_source((open or _format_of(path).opened)(path))
    if not isinstance(source, WalkedDataSource) or not _in_file_order(source):
        raise InvalidTypeError(
            f"{path}: open must return an array source, or another one whose samples have one index each, or a map of "
            f"such, without a sampler, indices or repeats of its own, since the order is that of all files together; "
            f"got {source!r}"
        )
    return source


def contents(path: str, open: Opener | None = None) -> Contents:  # noqa: A002
    """Return what is known of a file; of formats with a header, that alone is read."""
    return contents_of(opened(path, open)) if open is not None else _format_of(path).contents(path)


def contents_of(source: Any) -> Contents:
    """Return what is known of a file of which a source was made."""
    keys = source._batch_keys()
    columns = source._gathered_columns if isinstance(source, ArrayDataSource) else ()
    make = None if keys is UNKNOWN else Make(keys, tuple([(c.dtype, c.sample_shape) for c in columns]))
    return Contents(source._flat_length(), make)


def _in_file_order(source: Any) -> bool:
    """Return whether a source has all its samples, one index each, and no order of its own."""
    if isinstance(source, WrappedSource):
        return not makes_its_own(source) and _in_file_order(source.source)
    if not isinstance(source, RandomAccessDataSource) or makes_its_own(source):
        return False
    own = type(source).batch_indices_iterator is not WalkedDataSource.batch_indices_iterator
    sampler = source.sampler
    whole = type(sampler) is StandardSampler and sampler.repeats == 1 and sampler.length == source._source_length
    return whole and not own


def _format_of(path: str) -> Format:
    known = _FORMATS.get(os.path.splitext(path)[1].lower())
    if known is None and not _is_record_file(path):
        raise InvalidValueError(
            f"{path}: the files that can be read without more ado end in {', '.join(_FORMATS)}, or are record files; "
            "for others pass open=, a function that makes a data source of a path"
        )
    return known or Format(_records, lambda path: contents_of(_records(path)))


# .npy


def _npy_contents(path: str) -> Contents:
    with open(path, "rb") as file:
        header = read_header(file, path)
        check_size(header.size, os.fstat(file.fileno()).st_size, path)
    if not header.shape:
        raise FileFormatError(f"{path} holds a single value: an array of samples has at least 1 dimension")
    return Contents(header.shape[0], Make(None, ((header.dtype, header.shape[1:]),)))


def _npy(path: str) -> ArrayDataSource:
    _npy_contents(path)  # says more clearly what is wrong
    with told(path):
        return ArrayDataSource([np.load(path, mmap_mode="r", allow_pickle=False)])


# those of higher rooms


def _hsq(path: str) -> Any:
    from batchup.hypersequence import HyperSequenceFile

    return HyperSequenceFile(path).data_source()


def _is_record_file(path: str) -> bool:
    from batchup.sequences.record_format import MAGIC

    with open(path, "rb") as file:
        return file.read(len(MAGIC)) == MAGIC


def _records(path: str) -> Any:
    from batchup.sequences import FileRecordReader

    return _all_records(FileRecordReader(path))


def _all_records(reader: Any) -> Any:
    return reader.data_source(sampler=StandardSampler(reader.num_records()))


# HDF5


def _hdf5(path: str) -> Any:
    from batchup.sequences import Hdf5RecordReader

    file = _hdf5_file(path)
    if _has_records(file):
        file.close()
        return _all_records(Hdf5RecordReader(path))
    return ArrayDataSource(_datasets(file, path))


def _hdf5_contents(path: str) -> Contents:
    with _hdf5_file(path) as file:
        if not _has_records(file):
            return Contents(len(next(iter(_datasets(file, path).values()))), None)
    return contents_of(_hdf5(path))


def _hdf5_file(path: str) -> Any:
    from batchup.sequences.hdf5_file import opened as opened_hdf5

    return opened_hdf5(path)


def _has_records(file: Any) -> bool:
    from batchup.sequences.hdf5 import MARK
    from batchup.sequences.hdf5_seqp import is_seqp

    return MARK in file.attrs or is_seqp(file)


def _datasets(file: Any, path: str) -> dict[str, Any]:
    """Return the datasets that lie in no group; those without a dimension are no columns."""
    from batchup.sequences.hdf5_file import understood

    with understood(path):
        names = [name for name in file if not _is_group(file, name)]
        found = {name: dataset for name in names if (dataset := checked_dataset(file, name, path)).shape}
    lengths = {name: len(dataset) for name, dataset in found.items()}
    if len(set(lengths.values())) != 1:
        raise LengthError(
            f"{path} must have datasets of one length, outside of groups, has {lengths}: for other files pass open="
        )
    return found


def _is_group(file: Any, name: str) -> bool:
    h5py = required("h5py", "hdf5", "reading HDF5 files")
    inside = file.get(name, getclass=True, getlink=True) is h5py.HardLink
    return inside and file.get(name, getclass=True) is h5py.Group


_FORMATS = {
    ".npy": Format(_npy, _npy_contents),
    ".hsq": Format(_hsq, lambda path: contents_of(_hsq(path))),
    ".h5": Format(_hdf5, _hdf5_contents),
    ".hdf5": Format(_hdf5, _hdf5_contents),
}

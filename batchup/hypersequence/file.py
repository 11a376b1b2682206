"""Reading .hsq files: batch by batch as they lie in the file, or row by row as columns."""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.columns import RecordColumn
from batchup.columns.files import OpenFile
from batchup.columns.storage import MappedStorage, ReadStorage, Storage
from batchup.errors import ChecksumError, FileFormatError, UnsupportedError
from batchup.hypersequence.checksums import Finding, findings, stored_checksums
from batchup.hypersequence.format import Format, read_format
from batchup.hypersequence.remote_storage import RemoteStorage
from batchup.hypersequence.sequence import HyperSequence
from batchup.remote import RemoteFile, is_remote
from batchup.remote.addresses import local_path


class HyperSequenceFile(HyperSequence):
    """A .hsq file, mapped into memory; or one elsewhere, whose batches are fetched ahead of need.

    What the file says of itself is checked when it is opened, the data only on request; what is fetched from elsewhere
    always is. Arrays that were handed out stay valid when the file is closed. A file is pickled as its path; any number
    of threads may read from it. It must not be cut short by others while it is open and mapped: that ends the program.

    Parameters
    ----------
    hyper_seq_file : str, path-like or RemoteFile
        Name of the file, or its address (``https://...``, ``s3://...``); a `RemoteFile` is closed with this.
    use_mmap : bool, default True
        Whether to map the file into memory. Otherwise everything is read when it is asked for. It makes no difference
        for files elsewhere.
    copy_buffer : bool, default False
        Whether ``[i]`` gives copies, aligned and writable, rather than read-only views of the mapping.
    thread_safe : bool, default False
        Makes no difference: threads are always safe.
    verify : bool, default False
        Whether to compare all data with their checksums.

    Raises
    ------
    FileFormatError
        If this is no .hsq file, or what it says of itself cannot be true.
    ChecksumError
        With `verify`: if some batch is not what was written.

    Examples
    --------
    >>> import numpy as np
    >>> from batchup import hypersequence as hs
    >>> with hs.HyperSequenceWriter("ten.hsq", batch_size=4) as writer:
    ...     writer.extend(inputs=np.arange(20).reshape(10, 2), outputs=np.arange(10))
    >>> with hs.HyperSequenceFile("ten.hsq") as hsq:
    ...     for inputs, outputs in hsq:
    ...         print(inputs.shape, outputs)
    ...     for x, y in hsq.data_source().batch_iterator(5, shuffle=1):
    ...         print(y)
    (4, 2) [0 1 2 3]
    (4, 2) [4 5 6 7]
    (2, 2) [8 9]
    [1 9 5 6 2]
    [3 7 0 8 4]
    """

    def __init__(
        self,
        hyper_seq_file: str | os.PathLike[str] | RemoteFile,
        use_mmap: bool = True,
        copy_buffer: bool = False,
        thread_safe: bool = False,
        *,
        verify: bool = False,
    ) -> None:
        self._options = bool(use_mmap), bool(copy_buffer), bool(thread_safe)
        file, self._path = _file_of(hyper_seq_file)
        self._file: OpenFile | RemoteFile | None = file
        try:
            self._format, self._meta_checksum = read_format(file.reader(), self._path)
            super().__init__(np.arange(self._format.batches))
            self._storage = _storage_of(file, self._path, self._format, bool(use_mmap))
        except BaseException:
            if isinstance(file, RemoteFile):
                file.close()
            raise
        self._copy = bool(copy_buffer)
        self._tail, self._record_bytes = self._format.records, self._format.record_bytes
        self._records = self._mapped_records() if isinstance(self._storage, MappedStorage) else None
        if verify:
            self._verify_now()

    def no_inputs(self) -> int:
        return self._format.no_inputs

    def no_outputs(self) -> int:
        return len(self._format.fields) - self._format.no_inputs

    def batch_size(self) -> int:
        return self._format.batch_size

    def dtypes(self) -> tuple[tuple[np.dtype[Any], ...], tuple[np.dtype[Any], ...]]:
        found = tuple(np.dtype((field.dtype, field.shape)) for field in self._format.fields)
        return found[: self.no_inputs()], found[self.no_inputs() :]

    def user_meta(self) -> dict[str, Any]:
        return self._format.user_meta

    @property
    def names(self) -> tuple[str, ...]:
        """What the writer called the inputs and outputs; ``i0``, ... ``o0``, ... if it gave no names."""
        return self._format.names or tuple(field.name for field in self._format.fields)

    @property
    def columns(self) -> Mapping[str, RecordColumn]:
        """The rows of each input (``'i0'``, ``'i1'``, ...) and output (``'o0'``, ...), also under their names."""
        return _Columns(self)

    def verify(self) -> list[Finding]:
        """Compare all data with their checksums.

        Returns
        -------
        list of Finding
            The batches that are not what was written, with the bytes that they take; empty if all is well.

        Raises
        ------
        UnsupportedError
            If the file has no checksums, since the original hypersequence wrote it.
        """
        self._opened()
        if not self._format.has_checksums:
            raise UnsupportedError(
                f"{self._path} has no checksums; a HyperSequenceWriter with mode='a' that is closed at once adds them"
            )
        return list(findings(self._opened().reader(), self._format))

    def close(self) -> None:
        """Let go of the file."""
        self._records = self._file = None
        self._storage.close()

    def __enter__(self) -> HyperSequenceFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        rows, size = self._format.rows, self._format.batch_size
        return f"<{type(self).__name__} {self._path!r}: {rows} rows in batches of {size}>"

    def __reduce__(self) -> Any:
        file = self._opened()
        return _reopened, (
            file if isinstance(file, RemoteFile) else self._path,
            self._options,
            self._identity(),
            self._numbers,
        )

    def _identity(self) -> tuple[int, int]:
        """Return what tells this file from others: checksums of what it says of itself, and of its checksums."""
        table = stored_checksums(self._opened().reader(), self._format) if self._format.has_checksums else b""
        return self._meta_checksum, zlib.crc32(bytes(table))

    def _opened(self) -> OpenFile | RemoteFile:
        self._storage.check_open()
        assert self._file is not None
        return self._file

    @property
    def _columns(self) -> dict[str, Any]:
        return dict(zip(self.names, self.columns.values(), strict=True))

    @property
    def _native_batch_size(self) -> int:
        return self._format.batch_size

    @property
    def _total_rows(self) -> int:
        return self._format.rows

    def _chosen_rows(self, keep_batches: bool) -> NDArray[np.intp] | None:
        shuffled = bool((np.diff(self._numbers) < 0).any())
        return super()._chosen_rows(keep_batches) if shuffled and not keep_batches else None

    def _arrays(self, number: int, rows: slice | None = None) -> list[NDArray[Any]]:
        records = self._records
        if records is None or number == self._tail:
            arrays = self._read(number, rows)
        else:
            self._storage.touch(self._record_bytes)
            arrays = [record[number] for record in records]
            if rows is not None:
                arrays = [array[rows] for array in arrays]
        return [array.copy() for array in arrays] if self._copy else arrays

    def _read(self, number: int, rows: slice | None) -> list[NDArray[Any]]:
        """Return rows of a batch; they are read at once if they are all."""
        start, size = self._format.place(number)
        count = size // self._format.row_bytes
        whole = self._storage.array(start, size) if rows is None else None
        first, stop = (0, count) if rows is None else (rows.start, rows.stop)
        begin, arrays = 0, []
        for field in self._format.fields:
            place, length = begin + first * field.row_bytes, (stop - first) * field.row_bytes
            part = self._storage.array(start + place, length) if whole is None else whole[place : place + length]
            arrays.append(part.view(field.dtype).reshape(stop - first, *field.shape))
            begin += count * field.row_bytes
        return arrays

    def _tell(self, numbers: NDArray[np.intp]) -> None:
        self._storage.readahead.expect(numbers * self._record_bytes, self._record_bytes)

    def _mapped_records(self) -> list[NDArray[Any]]:
        """Return all records of each field as one array over the mapping."""
        found = []
        everything = self._storage.array(0, self._format.data_bytes)
        for number, field in enumerate(self._format.fields):
            shape = (self._format.records, self._format.batch_size, *field.shape)
            strides = (self._format.record_bytes, *field.strides)
            offset = self._format.layout(number).offset
            if self._format.records:
                found.append(np.ndarray(shape, field.dtype, everything.data, offset, strides))
        return found

    def _row_numbers(self, numbers: NDArray[np.intp]) -> NDArray[np.intp]:
        rows = (numbers[:, None] * self._format.batch_size + np.arange(self._format.batch_size)).ravel()
        return rows[rows < self._format.rows]

    def _row_counts(self, numbers: NDArray[np.intp]) -> NDArray[np.intp]:
        return np.where(numbers < self._format.records, self._format.batch_size, self._format.tail_rows)

    def _verify_now(self) -> None:
        try:
            found = self.verify()
            if found:
                raise ChecksumError(f"{self._path}: {len(found)} batches are not what was written, first {found[0]}")
        except BaseException:
            self.close()
            raise


class _Columns(Mapping[str, RecordColumn]):
    """The columns of a file by name: ``i0``, ... ``o0``, ..., or what the writer called them."""

    def __init__(self, hsq: HyperSequenceFile) -> None:
        self._hsq = hsq
        self._numbers = {field.name: number for number, field in enumerate(hsq._format.fields)}
        self._also = {name: number for number, name in enumerate(hsq.names)}

    def __getitem__(self, name: str) -> RecordColumn:
        number = self._numbers.get(name, self._also.get(name))
        if number is None:
            raise KeyError(f"{name!r}; there are {[*self._also]}")
        hsq = self._hsq
        field = hsq._format.fields[number]
        return RecordColumn(
            hsq._storage, hsq._format.layout(number), field.dtype, field.shape, (_column_of, (hsq, field.name))
        )

    def __iter__(self) -> Iterator[str]:
        return iter(self._numbers)

    def __len__(self) -> int:
        return len(self._numbers)

    def __repr__(self) -> str:
        return f"<columns {', '.join(self._also)}>"


def _file_of(file: Any) -> tuple[OpenFile | RemoteFile, str]:
    """Return an open file, of this machine or elsewhere, and its name for messages."""
    if is_remote(file):
        file = RemoteFile(file)
    if isinstance(file, RemoteFile):
        return file, file.name
    path = os.path.abspath(local_path(file))
    return OpenFile(path), path


def _storage_of(file: OpenFile | RemoteFile, path: str, layout: Format, use_mmap: bool) -> Storage:
    if isinstance(file, RemoteFile):
        return RemoteStorage(file, layout)
    return (MappedStorage if use_mmap else ReadStorage)(file, path, layout.data_bytes)


def _reopened(
    file: str | RemoteFile, options: tuple[bool, bool, bool], identity: tuple[int, int], numbers: NDArray[np.intp]
) -> HyperSequenceFile:
    hsq = HyperSequenceFile(file, *options)
    if hsq._identity() != identity:
        raise FileFormatError(f"{hsq._path} is another file now than when it was sent here")
    hsq._numbers = numbers
    return hsq


def _column_of(hsq: HyperSequenceFile, name: str) -> RecordColumn:
    return hsq.columns[name]

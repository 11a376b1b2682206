"""Where the columns of Parquet files are read: by row groups, in any thread and process."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import FileFormatError
from batchup.formats.arrow.columns import Part, joined_chunks
from batchup.formats.arrow.reading import Status, check_status, damage_told, is_local, source_of, status_of
from batchup.formats.arrow.types import part_of_pyarrow
from batchup.formats.arrow.values import Place, values_of
from batchup.formats.table import Field

SMALL = 64 * 2**20  # bytes of a column in a row group that may always be decoded


class Handles:
    """A Parquet file, open once in each thread that reads it, since Arrow's readers are for one thread at a time.

    Parameters
    ----------
    path : str
        Its name.
    status : tuple of int, optional
        By what it is seen whether it was written to since it was first opened.
    """

    def __init__(self, path: str, status: Status | None = None) -> None:
        self.path = path
        self._source = os.path.abspath(path) if is_local(path) else path
        self._process = os.getpid()
        self._ours = threading.local()
        self._footer: Any = None
        self._status = status

    def opened(self) -> Any:
        """Return the file as this thread reads it."""
        if self._process != os.getpid():
            self._process, self._ours = os.getpid(), threading.local()
        file = getattr(self._ours, "file", None)
        if file is None:
            file = self._ours.file = self._open(0)
        return file

    @contextlib.contextmanager
    def fresh(self, ahead: int) -> Iterator[Any]:
        """Open the file anew, to read so many bytes of a column at a time."""
        file = self._open(ahead)
        try:
            yield file
        finally:
            file.close(force=True)

    def _open(self, ahead: int) -> Any:
        source = source_of(self._source)
        if self._status is None:
            self._status = status_of(self._source)
        check_status(self._source, self._status)
        file = part_of_pyarrow("pyarrow.parquet").ParquetFile(
            source, metadata=self._footer, buffer_size=ahead, page_checksum_verification=True
        )
        self._footer = file.metadata
        return file

    def __reduce__(self) -> Any:
        return Handles, (self._source, self._status)


class ParquetPart(Part):
    """A column of a Parquet file, to be read by row groups.

    Parameters
    ----------
    handles : Handles
        The file.
    name, field, bounds
        As for `Part`.
    memory : int
        How many bytes a row group may take when it is decoded.
    """

    def __init__(self, handles: Handles, name: str, field: Field, bounds: NDArray[np.intp], memory: int) -> None:
        super().__init__(handles.path, name, field, bounds)
        self._handles = handles
        self._memory = memory

    def chunk(self, number: int) -> Any:
        """Return the rows of a row group."""
        first, last = self.bounds[number : number + 2].tolist()
        where = f"{group_name(self.path, number, self.bounds)}, column {self.name!r},"
        size = (last - first) * self.field.row_bytes if self.field.fixed else 0
        if size > max(self._memory, SMALL):
            raise FileFormatError(
                f"{where} takes {size:,} bytes when it is decoded, and memory={self._memory:,}: allow for more, or "
                "write the file with smaller row groups"
            )
        with damage_told(where):
            rows = self._handles.opened().read_row_group(number, columns=[self.name], use_threads=False)
        if rows.num_rows != last - first:
            raise FileFormatError(f"{where} is damaged: it has {rows.num_rows:,} rows")
        parts = []
        for piece in rows.column(self.name).chunks:
            parts.append(values_of(piece, self.field, Place(self.path, self.name, first)))
            first += len(piece)
        return joined_chunks(parts, self.field)

    def __reduce__(self) -> Any:
        return ParquetPart, (self._handles, self.name, self.field, self.bounds, self._memory)


def group_name(path: str, number: int, bounds: NDArray[np.intp]) -> str:
    """Return what a row group is called in errors."""
    return f"{path}: row group {number} (rows {bounds[number]:,} to {bounds[number + 1] - 1:,})"

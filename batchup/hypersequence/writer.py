"""Writing .hsq files: rows are collected into records, and the file has its name only when it is whole."""

from __future__ import annotations

import os
import threading
import warnings
from array import array
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import ChecksumError, FileFormatError, InvalidTypeError, InvalidValueError, LengthError
from batchup.hypersequence.checksums import checksums_of, computed_checksums, findings, stored_checksums
from batchup.hypersequence.format import (
    LARGEST_RECORD,
    FaultyMetaError,
    Field,
    Format,
    checked_dtype,
    checked_names,
    encoded,
    read_format,
)
from batchup.hypersequence.partial import Partial
from batchup.sampling.order import whole_number

BLOCK = 8 * 2**20  # bytes of records that are written at once
BATCH_SIZE = 16


class HyperSequenceWriter:
    """Write a .hsq file, row by row or whole arrays at a time.

    Rows are written to ``<path>.partial``, which takes its name at `close`: when the ``with`` block ends well. If it
    ends with an exception, or the program is killed, a file that had the name before stays as it was, and `recover`
    makes a file of the records that had been written. A new writer of the same name begins anew.

    Parameters
    ----------
    path : str or path-like
        Name of the file, commonly ending in ``.hsq``.
    batch_size : int, default 16
        Rows in a native batch, which lie together in the file.
    mode : {'w', 'a'}, default 'w'
        ``'a'`` adds rows to a file that is there, and has its `batch_size`. The file is checked, and copied first,
        which takes its size in time and, while both are there, in space (not on file systems that share blocks).
    names : sequence of str, optional
        What to call the inputs, and then the outputs.

    Raises
    ------
    FileBusyError
        If another writer is at the same file.
    ChecksumError
        If the file to add to is not what was written.

    Examples
    --------
    >>> import numpy as np
    >>> from batchup import hypersequence as hs
    >>> with hs.HyperSequenceWriter("digits.hsq", batch_size=16, names=["image", "label"]) as writer:
    ...     for digit in range(40):
    ...         writer.append(inputs=np.full((8, 8), digit, np.uint8), outputs=np.int64(digit % 10))
    ...     writer.user_meta()["made by"] = "an example"
    >>> with hs.HyperSequenceFile("digits.hsq") as hsq:
    ...     print(len(hsq), hsq.columns["label"][38], hsq.user_meta())
    3 8 {'made by': 'an example'}
    """

    _partial: Partial | None = None

    def __init__(
        self,
        path: str | os.PathLike[str],
        batch_size: int | None = None,
        *,
        mode: str = "w",
        names: Iterable[str] | None = None,
    ) -> None:
        if mode not in ("w", "a"):
            raise InvalidValueError(f"mode must be 'w' (write anew) or 'a' (add rows), got {mode!r}")
        if isinstance(names, str):
            raise InvalidTypeError(f"names must be a sequence of strings, got {names!r}")
        if batch_size is not None:
            whole_number(batch_size, "batch_size", 1)
        self._path = os.fspath(path)
        self._names = None if names is None else tuple(names)
        self._batch_size = BATCH_SIZE if batch_size is None else int(batch_size)
        self._user_meta: dict[str, Any] = {}
        self._layout: Format | None = None
        self._records = self._base_rows = self._filled = 0
        self._sums = array("I")
        self._views: list[NDArray[Any]] = []
        self._block = np.empty(0, np.uint8)
        self._process = os.getpid()
        self._broken: BaseException | None = None
        self._partial = Partial(self._path)
        if mode == "a" and os.path.exists(self._path):
            try:
                self._go_on(batch_size)
            except BaseException:
                self._partial.discard()
                raise

    def user_meta(self) -> dict[str, Any]:
        """Return the dict that is stored with the data; put into it what JSON can hold."""
        return self._user_meta

    @property
    def rows(self) -> int:
        """Number of rows so far."""
        return self._records * self._batch_size + self._filled

    @property
    def closed(self) -> bool:
        """Whether nothing more can be written."""
        return self._partial is None or self._partial.closed

    def append(self, inputs: Any, outputs: Any = ()) -> None:
        """Add a row.

        Parameters
        ----------
        inputs, outputs : array-like or tuple of array-like
            The first row decides on how many there are, and on their shapes and dtypes.

        Raises
        ------
        ValueError
            If the row differs from the first one in that, naming its number. It is left out as a whole.
        """
        self._check_open()
        row = [np.asarray(values) for values in (*_tuple(inputs), *_tuple(outputs))]
        layout = self._layout
        if layout is None:
            layout = self._begin(row, len(_tuple(inputs)))
        self._check(row, len(_tuple(inputs)), [values.shape for values in row], "row")
        if self._filled == self._room:
            self._flush()
        record, place = divmod(self._filled, self._batch_size)
        for view, values in zip(self._views, row, strict=True):
            view[record, place] = values
        self._filled += 1

    def extend(self, inputs: Any, outputs: Any = (), progress_iter_func: Callable[..., Any] | None = None) -> None:
        """Add as many rows as the arrays have.

        Parameters
        ----------
        inputs, outputs : array-like, shape (n, ...), or tuple of array-like
            Also memory maps, HDF5 datasets, and whatever else has a shape and a dtype and can be sliced: they are
            read piece by piece.
        progress_iter_func : callable, optional
            Wraps the loop over the pieces, to show a bar: ``tqdm.tqdm``.

        Raises
        ------
        ValueError
            If the rows differ in shape or dtype from those before, or the arrays in length. No row is added then.
        """
        self._check_open()
        no_inputs = len(_tuple(inputs))
        arrays = [_sliceable(values) for values in (*_tuple(inputs), *_tuple(outputs))]
        lengths = {len(values) for values in arrays}
        if len(lengths) > 1:
            raise LengthError(f"the arrays must have one number of rows, got {[len(values) for values in arrays]}")
        if not arrays:
            raise InvalidValueError("there must be at least one input or output, got none")
        shapes = [tuple(values.shape[1:]) for values in arrays]
        if self._layout is None:
            self._begin(
                [np.empty(shape, values.dtype) for shape, values in zip(shapes, arrays, strict=True)], no_inputs
            )
        self._check(arrays, no_inputs, shapes, "rows from")
        length = lengths.pop()
        pieces: Any = range(0, length, max(1, self._room))
        if progress_iter_func is not None:
            pieces = progress_iter_func(pieces, total=len(pieces), leave=False)
        for start in pieces:
            self._put([np.asarray(values[start : min(length, start + self._room)]) for values in arrays])

    def flush(self) -> None:
        """Write all whole records, so that they can be recovered."""
        self._check_open()
        self._flush()

    def close(self) -> None:
        """Write what is left, and give the file its name; if that is done, do nothing.

        Raises
        ------
        FileFormatError
            If something could not be written before: then the file is not finished.
        """
        if self.closed:
            return
        if self._broken is not None:
            self._leave()
            raise FileFormatError(
                f"{self._path} is not finished, since not all could be written: {self._broken}; "
                f"HyperSequenceWriter.recover makes a file of what is whole"
            )
        try:
            self._finish()
        except BaseException:
            self._leave()
            raise

    def _finish(self) -> None:
        assert self._partial is not None
        encoded(self._user_meta)
        self._flush()
        layout, sums = self._layout, array("I", self._sums)
        if layout is None:
            layout = Format((), 0, self._batch_size)
        layout = replace(layout, records=self._records, tail_rows=self._filled, user_meta=self._user_meta)
        if self._filled:
            tail = b"".join([view[0, : self._filled].tobytes() for view in self._views])
            sums.extend(checksums_of(memoryview(tail), len(tail)))
            self._guarded(self._partial.write, memoryview(tail), layout.place(self._records)[0])
        self._guarded(self._partial.finish, layout, sums)

    @staticmethod
    def recover(path: str | os.PathLike[str]) -> int:
        """Finish a file whose writer did not: with all the records that are whole.

        Parameters
        ----------
        path : str or path-like
            The name that the file was to have.

        Returns
        -------
        int
            Number of rows that the file has.

        Raises
        ------
        FileNotFoundError
            If there is no ``<path>.partial``.
        FileFormatError
            If it holds no whole record, or rows were being added to a file that still holds more.
        FileBusyError
            If its writer is still at it.
        """
        partial = Partial(os.fspath(path), keep=True)
        try:
            layout, sums = partial.recovered()
            partial.finish(layout, sums)
        finally:
            partial.leave()
        return layout.rows

    def __enter__(self) -> HyperSequenceWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            self.close()
        else:
            self._leave()

    def __del__(self) -> None:
        if not self.closed and self._process == os.getpid():
            warnings.warn(
                f"{self!r} was not closed: its file is not finished", ResourceWarning, stacklevel=2, source=self
            )
            self._leave()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._path!r}: {self.rows} rows>"

    @property
    def _room(self) -> int:
        """Number of rows in a block."""
        return self._batch_size * len(self._views[0])

    def _begin(self, row: list[NDArray[Any]], no_inputs: int) -> Format:
        """Take the first row as what all others have to be like."""
        names = [f"i{i}" for i in range(no_inputs)] + [f"o{i}" for i in range(len(row) - no_inputs)]
        fields = []
        for name, values in zip(names, row, strict=True):
            try:
                fields.append(Field(name, checked_dtype(values.dtype), tuple(values.shape)))
            except FaultyMetaError as error:
                raise InvalidTypeError(f"{_label(len(fields), no_inputs)}: {error}") from None
        layout = Format(tuple(fields), no_inputs, self._batch_size)
        if self._names is not None:
            layout = replace(layout, names=checked_names(self._names, layout.fields))
        if not layout.row_bytes:
            raise InvalidValueError("a row must have at least one byte, got no array, or empty ones")
        if layout.record_bytes > LARGEST_RECORD:
            raise InvalidValueError(
                f"{self._batch_size} rows have {layout.record_bytes} bytes, and a native batch must have less than 2 "
                "GiB: take a smaller batch_size"
            )
        return self._take(layout)

    def _take(self, layout: Format) -> Format:
        """Make room for a block of records."""
        self._layout = layout
        records, size = max(1, BLOCK // layout.record_bytes), layout.record_bytes
        self._block = np.empty(records * size, np.uint8)
        for number, field in enumerate(layout.fields):
            shape = (records, layout.batch_size, *field.shape)
            strides = (size, *np.empty(shape[1:], field.dtype).strides)
            offset = layout.layout(number).offset
            self._views.append(np.ndarray(shape, field.dtype, self._block.data, offset, strides))
        return layout

    def _check(self, arrays: list[Any], no_inputs: int, shapes: list[tuple[int, ...]], what: str) -> None:
        """Raise unless arrays are like those of the first row."""
        layout = self._layout
        assert layout is not None
        if no_inputs != layout.no_inputs or len(arrays) != len(layout.fields):
            raise InvalidValueError(
                f"{what} {self.rows}: expected {layout.no_inputs} inputs and {len(layout.fields) - layout.no_inputs} "
                f"outputs, got {no_inputs} and {len(arrays) - no_inputs}"
            )
        for number, (field, values, shape) in enumerate(zip(layout.fields, arrays, shapes, strict=True)):
            if values.dtype != field.dtype or shape != field.shape:
                raise InvalidValueError(
                    f"{what} {self.rows}: {_label(number, no_inputs)} must be {field}, got {values.dtype} of shape "
                    f"{shape}"
                )

    def _put(self, arrays: list[NDArray[Any]]) -> None:
        """Put rows into the block, and write it whenever it is full."""
        start, length, size = 0, len(arrays[0]), self._batch_size
        while start < length:
            if self._filled == self._room:
                self._flush()
            record, place = divmod(self._filled, size)
            whole = 0 if place else min(length - start, self._room - self._filled) // size
            count = whole * size or min(length - start, size - place)
            for view, values in zip(self._views, arrays, strict=True):
                rows = values[start : start + count]
                if whole:
                    view[record : record + whole] = rows.reshape(whole, size, *rows.shape[1:])
                else:
                    view[record, place : place + count] = rows
            self._filled, start = self._filled + count, start + count

    def _flush(self) -> None:
        """Write the whole records of the block, and their checksums meanwhile."""
        layout = self._layout
        whole = self._filled // self._batch_size
        if layout is None or not whole:
            return
        assert self._partial is not None
        size = layout.record_bytes
        data = self._block[: whole * size].data
        sums: list[int] = []
        summing = threading.Thread(target=lambda: sums.extend(checksums_of(data, size)), name="batchup checksums")
        summing.start()
        try:
            self._guarded(self._partial.write, data, self._records * size)
        finally:
            summing.join()
        noted = replace(layout, user_meta=self._user_meta)
        self._guarded(self._partial.note, noted, sums, self._records, self._base_rows)
        self._sums[self._records :] = array("I", sums)
        self._records += whole
        self._filled -= whole * self._batch_size
        if self._filled:
            self._block[:size] = self._block[whole * size : (whole + 1) * size]

    def _guarded(self, write: Callable[..., None], *args: Any) -> None:
        """Write, and remember if that fails: then nothing can be finished any more."""
        try:
            write(*args)
        except BaseException as error:
            self._broken = error
            raise

    def _go_on(self, batch_size: int | None) -> None:
        """Take over the rows of the file that is there."""
        assert self._partial is not None
        with open(self._path, "rb") as file:
            layout, _ = read_format(file, self._path)
            if batch_size not in (None, layout.batch_size):
                raise InvalidValueError(
                    f"{self._path} has native batches of {layout.batch_size} rows, got {batch_size}"
                )
            if self._names not in (None, layout.names) and layout.fields:
                raise InvalidValueError(f"{self._path} has the names {layout.names}, got {self._names}")
            if layout.has_checksums:
                bad = next(findings(file, layout), None)
                if bad is not None:
                    raise ChecksumError(f"{self._path}: {bad}")
                self._sums = array("I", stored_checksums(file, layout).tolist())
            else:
                self._sums = array("I", computed_checksums(file, layout))
            del self._sums[layout.records :]
            self._batch_size, self._user_meta = layout.batch_size, layout.user_meta
            if not layout.fields:
                return
            taken = self._take(replace(layout, records=0, tail_rows=0, has_checksums=True))
            self._partial.copy_from(file, layout.records * layout.record_bytes)
            self._records, self._base_rows = layout.records, layout.rows
            for number, view in enumerate(self._views):
                field = layout.fields[number]
                file.seek(layout.layout(number).tail_offset)
                rows = np.frombuffer(file.read(layout.tail_rows * field.row_bytes), field.dtype)
                view[0, : layout.tail_rows] = rows.reshape(layout.tail_rows, *field.shape)
            self._filled = layout.tail_rows
            if self._records:
                self._partial.note(taken, self._sums, 0, self._base_rows)

    def _leave(self) -> None:
        """Leave the whole records to be recovered."""
        if self.closed:
            return
        assert self._partial is not None
        if self._broken is None:
            with suppress(OSError, InvalidTypeError):
                self._flush()
        if self._records * self._batch_size > self._base_rows:
            self._partial.leave()
        else:
            self._partial.discard()

    def _check_open(self) -> None:
        if self.closed:
            raise InvalidValueError(f"{self!r} is closed; mode='a' adds rows to a file")
        if self._broken is not None:
            raise FileFormatError(f"{self!r}: not all could be written before: {self._broken}") from self._broken


def _label(number: int, no_inputs: int) -> str:
    return f"input {number}" if number < no_inputs else f"output {number - no_inputs}"


def _tuple(arrays: Any) -> tuple[Any, ...]:
    return arrays if isinstance(arrays, tuple) else (arrays,)


def _sliceable(values: Any) -> Any:
    """Return what has a length, a shape, a dtype and slices."""
    if not all(hasattr(values, name) for name in ("shape", "dtype", "__len__", "__getitem__")):
        values = np.asarray(values)
    if not values.shape:
        raise InvalidValueError("extend takes arrays of rows, got a 0-dimensional one; append takes single rows")
    return values

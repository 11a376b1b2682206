"""Writing .hsq files: rows are collected into records, and the file has its name only when it is whole."""

from __future__ import annotations

import json
import os
import warnings
from array import array
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import replace
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from batchup._numbers import whole_number
from batchup.errors import ChecksumError, FileFormatError, InvalidTypeError, InvalidValueError, LengthError
from batchup.hypersequence.block import Block, Summing, check_rows, label
from batchup.hypersequence.checksums import checksums_of, computed_checksums, findings, stored_checksums
from batchup.hypersequence.format import (
    FaultyMetaError,
    Field,
    Format,
    checked_dtype,
    checked_fields,
    checked_names,
    encoded,
    read_format,
)
from batchup.hypersequence.partial import Partial

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

    _partial: Partial

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
        self._noted_meta: dict[str, Any] = {}  # the last that could be stored
        self._layout: Format | None = None
        self._block: Block | None = None  # where rows go; none before the first, and when nothing can be written
        self._records = self._base_rows = self._filled = 0
        self._sums = array("I")
        self._torn = False
        self._process = os.getpid()
        self._partial = Partial(self._path)
        try:
            if mode == "a" and os.path.exists(self._path):
                self._go_on(batch_size)
            else:
                self._partial.begin()
        except BaseException:
            self._partial.give_back()
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
        return self._partial.closed

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
        block = self._block
        if block is None:
            self._check_open()
        elif self._filled == block.room:
            self._flush()
        row = _tuple(inputs) + _tuple(outputs)
        no_inputs = len(inputs) if isinstance(inputs, tuple) else 1
        if block is None or no_inputs != block.no_inputs or not block.put(row, self._filled):
            self._append_slowly(tuple(np.asarray(values) for values in row), no_inputs)
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
        block = self._block
        if block is None:
            block = self._begin([np.empty(shape, v.dtype) for shape, v in zip(shapes, arrays, strict=True)], no_inputs)
        self._check_rows(arrays, no_inputs, shapes, "rows from")
        length = lengths.pop()
        pieces: Any = range(0, length, block.room)
        if progress_iter_func is not None:
            pieces = progress_iter_func(pieces, total=len(pieces), leave=False)
        for start in pieces:
            stop = min(length, start + block.room)
            rows = [np.asarray(values[start:stop]) for values in arrays]
            self._check_rows(rows, no_inputs, [part.shape[1:] for part in rows], "rows from")
            if {len(part) for part in rows} != {stop - start}:
                raise LengthError(f"rows {start} to {stop} of the arrays were {[len(part) for part in rows]} rows")
            done = 0
            while done < stop - start:
                if self._filled == block.room:
                    self._flush()
                count = block.put_rows(rows, done, self._filled)
                self._filled, done = self._filled + count, done + count

    def flush(self) -> None:
        """Bring all whole records to the disk, so that they can be recovered even after a loss of power."""
        self._check_open()
        self._flush()
        self._partial.sync()

    def close(self) -> None:
        """Write what is left, and give the file its name; if that is done, do nothing.

        If it fails, because the disk is full, say, it may be tried again.

        Raises
        ------
        TypeError
            If `user_meta` holds what JSON has not.
        OSError
            If something cannot be written.
        """
        if self.closed:
            return
        self._check_open()
        self._flush()
        layout, sums = self._layout, array("I", self._sums)
        if layout is None:
            layout = Format((), 0, self._batch_size)
        layout = replace(layout, records=self._records, tail_rows=self._filled, user_meta=self._user_meta)
        if self._filled:
            assert self._block is not None
            tail = self._block.tail(self._filled)
            sums.extend(checksums_of(tail, len(tail)))
            self._partial.write(tail, layout.place(self._records)[0])
        self._partial.finish(layout, sums)
        self._block = None

    @staticmethod
    def recover(path: str | os.PathLike[str]) -> int:
        """Finish a file whose writer did not: with all the records that are whole. It replaces a file of that name.

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
        try:
            if error is None:
                self.close()
        finally:
            self._leave()

    def __del__(self) -> None:
        if hasattr(self, "_partial") and not self.closed:
            if self._process == os.getpid():
                warnings.warn(
                    f"{self!r} was not closed: its file is not finished", ResourceWarning, stacklevel=2, source=self
                )
            self._leave()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self._path!r}: {self.rows} rows>"

    def _append_slowly(self, row: tuple[NDArray[Any], ...], no_inputs: int) -> None:
        """Append the first row, or one that is not an array yet; or say what is wrong with it."""
        if self._block is None:
            self._begin(row, no_inputs)
        self._check_rows(row, no_inputs, [values.shape for values in row], "row")
        assert self._block is not None
        self._block.put(row, self._filled)

    def _begin(self, row: Sequence[NDArray[Any]], no_inputs: int) -> Block:
        """Take the first row as what all others have to be like."""
        names = [f"i{i}" for i in range(no_inputs)] + [f"o{i}" for i in range(len(row) - no_inputs)]
        fields: list[Field] = []
        try:
            for name, values in zip(names, row, strict=True):
                fields.append(Field(name, checked_dtype(values.dtype), tuple(values.shape)))
        except FaultyMetaError as error:
            raise InvalidTypeError(f"{label(len(fields), no_inputs)}: {error}") from None
        try:
            layout = Format(checked_fields(tuple(fields), self._batch_size), no_inputs, self._batch_size)
        except FaultyMetaError as error:
            raise InvalidValueError(str(error)) from None
        if self._names is not None:
            layout = replace(layout, names=checked_names(self._names, layout.fields))
        if not layout.row_bytes:
            raise InvalidValueError("a row must have at least one byte, got no array, or empty ones")
        return self._take(layout)

    def _take(self, layout: Format) -> Block:
        """Make room for records."""
        self._layout = layout
        self._block = Block(layout)
        return self._block

    def _check_rows(self, arrays: Sequence[Any], no_inputs: int, shapes: list[Any], what: str) -> None:
        """Raise unless arrays are like those of the first row."""
        layout = self._layout
        assert layout is not None
        row = f"{what} {self.rows}"
        if no_inputs != layout.no_inputs or len(arrays) != len(layout.fields):
            raise InvalidValueError(
                f"{row}: expected {layout.no_inputs} inputs and {len(layout.fields) - layout.no_inputs} "
                f"outputs, got {no_inputs} and {len(arrays) - no_inputs}"
            )
        check_rows(layout.fields, no_inputs, arrays, shapes, row)

    def _flush(self) -> None:
        """Write the whole records of the block; if that fails, it may be done again."""
        layout, block = self._layout, self._block
        whole = self._filled // self._batch_size
        if layout is None or block is None or not whole:
            return
        self._check_open()
        data = block.records(whole)
        summing = Summing(data, layout.record_bytes)
        try:
            self._partial.write(data, self._records * layout.record_bytes)
        finally:
            sums = summing.result()
        self._note(sums)
        self._torn = True  # an interrupt in what follows leaves only what can be recovered
        self._block = None
        self._sums.extend(sums)
        self._records += whole
        self._filled -= whole * self._batch_size
        if self._filled:
            block.shift(whole)
        self._block, self._torn = block, False

    def _note(self, sums: Sequence[int], first: int | None = None) -> None:
        assert self._layout is not None
        with suppress(InvalidTypeError):  # `close` will say so
            self._noted_meta = json.loads(encoded(self._user_meta))
        layout = replace(self._layout, user_meta=self._noted_meta)
        if not self._partial.journaled:  # it was about to be finished, and that failed
            self._partial.note(layout, self._sums, 0, self._base_rows)
        self._partial.note(layout, sums, self._records if first is None else first, self._base_rows)

    def _go_on(self, batch_size: int | None) -> None:
        """Take over the rows of the file that is there."""
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
                sums = array("I", stored_checksums(file, layout).tolist())
            else:
                sums = array("I", computed_checksums(file, layout))
            self._partial.begin()
            self._batch_size, self._user_meta = layout.batch_size, layout.user_meta
            if not layout.fields:
                return
            block = self._take(replace(layout, records=0, tail_rows=0, has_checksums=True))
            self._partial.copy_from(file, layout.records * layout.record_bytes)
            self._sums, self._records, self._base_rows = sums[: layout.records], layout.records, layout.rows
            if layout.tail_rows:
                tail = [_tail(file, layout, number) for number in range(len(layout.fields))]
                self._filled = block.put_rows(tail, 0, 0)
            if self._records:
                self._note(self._sums, 0)

    def _leave(self) -> None:
        """Leave the whole records to be recovered."""
        if self.closed:
            return
        if self._process != os.getpid():  # what was inherited is the parent's to finish
            self._partial.forget()
            return
        try:
            if not self._torn:
                self._flush()
                if self._records:
                    self._note([])
        except (OSError, ValueError):
            pass  # it was to be left anyway, or had been in part when it was interrupted
        finally:
            self._block = None
            if self._torn or self._records * self._batch_size > self._base_rows:
                self._partial.leave()
            else:
                self._partial.discard()

    def _check_open(self) -> None:
        if self.closed:
            raise InvalidValueError(f"{self!r} is closed; mode='a' adds rows to a file")
        if self._process != os.getpid():
            raise InvalidValueError(f"{self!r} was made by another process, which alone may use it")
        if self._torn:
            raise FileFormatError(f"{self!r} was interrupted while it wrote: leave it, and recover what is whole")


def _tail(file: BinaryIO, layout: Format, number: int) -> NDArray[Any]:
    """Return the rows of a field that fill no record."""
    field = layout.fields[number]
    file.seek(layout.layout(number).tail_offset)
    rows = np.frombuffer(file.read(layout.tail_rows * field.row_bytes), field.dtype)
    return rows.reshape(layout.tail_rows, *field.shape)


def _tuple(arrays: Any) -> tuple[Any, ...]:
    return arrays if isinstance(arrays, tuple) else (arrays,)


def _sliceable(values: Any) -> Any:
    """Return what has a length, a shape, a dtype and slices."""
    if not all(hasattr(values, name) for name in ("shape", "dtype", "__len__", "__getitem__")):
        values = np.asarray(values)
    if not values.shape:
        raise InvalidValueError("extend takes arrays of rows, got a 0-dimensional one; append takes single rows")
    return values

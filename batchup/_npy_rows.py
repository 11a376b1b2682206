"""An .npy file that is written row by row, before it is known how many there are."""

from __future__ import annotations

from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from batchup.errors import InvalidTypeError, InvalidValueError


class NpyRows:
    """An .npy file that is written row by row.

    Parameters
    ----------
    file
        Where it is written, from the beginning on.
    which : str, optional
        What errors say behind the number of the item.
    """

    def __init__(self, file: IO[bytes], which: str = "") -> None:
        self._file = file
        self._which = which
        self._rows = 0
        self._shape: tuple[int, ...] = ()
        self._dtype: np.dtype[Any] = np.dtype(np.float64)

    def add(self, item: Any) -> None:
        """Write a row."""
        array = self._as_array(item)
        self._check(array.shape, array.dtype)
        self._file.write(array.tobytes())
        self._rows += 1

    def extend(self, rows: NDArray[Any]) -> None:
        """Write rows."""
        self._check(rows.shape[1:], rows.dtype)
        self._file.write(np.ascontiguousarray(rows).reshape(-1).view(np.uint8).data)  # dates have no buffers
        self._rows += len(rows)

    def _check(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        """Raise an error unless rows are what the first one was."""
        if self._rows == 0:
            self._shape, self._dtype = shape, dtype
            self._file.seek(0)
            self._write_header()
        elif (shape, dtype) != (self._shape, self._dtype):
            texts = dtype.kind == self._dtype.kind and dtype.kind in "US" and shape == self._shape
            remedy = f": give all one length, such as np.array(text, '{dtype.kind}32')" if texts else ""
            raise InvalidValueError(
                f"item {self._rows}{self._which}: all items must be {self._dtype} {self._shape} as item 0 is, got "
                f"{dtype} {shape}{remedy}"
            )

    def finish(self) -> IO[bytes]:
        """Write the number of rows into the header."""
        end = self._file.tell()
        self._file.seek(0)
        self._write_header()
        self._file.seek(max(end, self._file.tell()))
        return self._file

    def _write_header(self) -> None:
        # NumPy makes headers with room for any number of rows: they are equally long
        shape = (self._rows, *self._shape)
        header = {"descr": np.lib.format.dtype_to_descr(self._dtype), "fortran_order": False, "shape": shape}
        write: Any = np.lib.format.write_array_header_1_0
        if self._dtype.names and len(repr(header)) > 2**15:
            write = np.lib.format.write_array_header_2_0
        write(self._file, header)

    def _as_array(self, item: Any) -> NDArray[Any]:
        try:
            array = np.asarray(item)
        except ValueError as error:
            raise InvalidValueError(f"item {self._rows}{self._which} is no array: {error}") from None
        if array.dtype.hasobject:
            raise InvalidTypeError(
                f"item {self._rows}{self._which}: .npy files take numbers and strings, got {type(item).__name__} with "
                "Python objects"
            )
        return array
